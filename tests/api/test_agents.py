"""What agents say to the orchestrator and hear from it: sessions, long polls, reports, boots, fences, epochs, losses."""
# Slow: silence has to last for its limit.
import json
import concurrent.futures
import re
import time
import unittest

import fake_agent
from fake_agent import GIB, FakeAgent
from rackcase import Rack


class Losing(Rack):
    def test_a_detach_that_gives_nothing_back_is_no_200(self):
        a = self.attach()
        donor, lender = self.nodes["n2"], fake_agent.LENDER
        try:
            donor.lender = "lender-2"  # another process: the memory is gone, and the borrower holds on to it
            donor.buffers.clear()
            self.wait_for(lambda: self.admin.get(f"/v1/attachments/{a['id']}").json["state"] == "lost")
            self.nodes["n1"].held = True
            answer = self.admin.delete(f"/v1/attachments/{a['id']}?wait=2")
            self.assertEqual(answer.status, 202 if answer.json["holds"] else 200, answer.json)
            self.assertTrue(answer.json["holds"])
        finally:
            donor.lender = lender
            self.nodes["n1"].held = False


class WithoutHotplug(Rack):
    agents = False

    def test_a_kernel_without_memory_hot_plug_is_no_borrower_and_registers(self):
        agent = FakeAgent(self.server, "n3", self.join)
        registration = agent.registration
        agent.registration = lambda: {**registration(), "block_bytes": 0}
        self.assertEqual(agent.register().status, 200)
        self.assertEqual(agent.report().status, 204)
        other = FakeAgent(self.server, "n4", self.join)
        self.assertEqual(other.register().status, 200)
        self.assertEqual(other.report().status, 204)
        [c] = self.admin.post("/v1/placements", {"compute_node": "n3", "size_bytes": GIB}).json["candidates"]
        self.assertEqual((c["node"], c["reason"]), ("n4", "no_compute_adapter"))
        self.assertIn("without memory hot-plug", c["detail"])
        self.refused(self.admin.post("/v1/attachments", {"compute_node": "n3", "size_bytes": GIB}), 409, "no_donor")
        agent.registration = lambda: {**registration(), "block_bytes": 3 << 20}
        self.refused(agent.register(), 422, "field_invalid")
        for a in (agent, other):
            a.reports.close()
            a.polls.close()


class Agents(Rack):
    def n_waiting(self):
        return int(re.search(r"^memlane_http_waiting_requests (\d+)", self.admin.get("/metrics").body.decode(), re.M)[1])

    def test_a_long_poll_ends_when_there_is_news(self):
        self.nodes["n2"].stop()
        agent = self.nodes["n2"]
        first = agent.poll(wait=0, after="0.0").json
        agent.apply(first)
        began = time.monotonic()
        self.assertEqual(agent.poll(wait=1).status, 204)
        self.assertGreater(time.monotonic() - began, 0.9)
        self.wait_for(lambda: self.n_waiting() == 1)  # the other agent's
        waiting = concurrent.futures.ThreadPoolExecutor(1).submit(agent.poll, 20)
        self.wait_for(lambda: self.n_waiting() == 2)
        began = time.monotonic()
        id = self.admin.post("/v1/attachments", {"compute_node": "n1", "size_bytes": GIB}).json["id"]
        answer = waiting.result(10)
        self.assertLess(time.monotonic() - began, 8)  # of 20
        self.assertEqual([b["id"] for b in answer.json["buffers"]], [id])
        other_epoch = agent.poll(wait=20, after=f"{answer.json['epoch'] + 7}.{answer.json['revision']}")
        self.assertEqual(other_epoch.status, 200)
        agent.stopping.clear()
        agent.run()
        self.wait_for(lambda: self.admin.get(f"/v1/attachments/{id}").json["state"] == "attached")
        self.detach(id)

    def test_old_sessions_and_sequences_are_stale(self):
        agent = FakeAgent(self.server, "n3", self.join)
        self.assertEqual(agent.register().status, 200)
        self.assertEqual(agent.report().status, 204)
        agent.sequence -= 1
        self.refused(agent.report(), 409, "session_stale")
        old = agent.session
        self.assertEqual(agent.register().status, 200)
        agent.session = old
        self.refused(agent.report(), 409, "session_stale")
        agent.stop()
        self.wait_for(lambda: self.admin.delete("/v1/nodes/n3").status in (200, 404))
        self.refused(self.admin.get("/v1/agents/n3/desired", token=agent.token), 401, "unauthenticated")

    def test_what_a_terminal_would_obey_is_no_text(self):
        agent = FakeAgent(self.server, "n9", self.join)
        for version in ("1\x1b[31m", "1\x9b31m", "1\x7f", "1\n2"):
            problem = self.refused(agent.reports.post("/v1/agents/register", {**agent.registration(), "version": version},
                                                      token=self.join), 422, "field_invalid")
            self.assertIn("control character", problem["detail"])
        agent.reports.close()

    def test_bad_reports_are_refused(self):
        agent = self.nodes["n1"]
        for change in ({"colour": 1}, {"free_bytes": -1}, {"adapters": "x"}, {"sequence": "1"}):
            body = {**agent.observed(), **change}
            answer = self.admin.put("/v1/agents/n1/observed", body, token=agent.token)
            self.assertEqual(answer.status, 422, answer.json)
        self.assertEqual(self.admin.get("/v1/agents/n1/desired?after=nonsense", token=agent.token).status, 422)


    def test_an_agent_that_only_registers_is_unreachable_and_says_why(self):
        agent = FakeAgent(self.server, "mute", self.join)
        node = lambda: self.admin.get("/v1/nodes/mute").json
        self.wait_for(lambda: agent.register().status == 200 and node()["state"] == "unreachable", 30)
        self.assertEqual([f["code"] for f in node()["findings"]], ["no_reports"])
        events = self.admin.get("/v1/events?after=0&limit=1000").json["items"]
        self.assertEqual([e["type"] for e in events if e["object"] == "node/mute"], ["node.registered", "node.state"])
        self.refused(self.admin.post("/v1/nodes/mute/fence", {"boot_id": agent.boot_id}), 409, "conflict")  # it is heard
        self.assertEqual(agent.report().status, 204)
        self.assertEqual((node()["state"], node()["findings"]), ("ready", []))
        agent.stop()


    def test_a_node_with_all_the_buffers_that_its_lender_can_have_reports(self):
        agent = FakeAgent(self.server, "n" + "7" * 60, self.join)
        self.assertEqual(agent.register().status, 200)
        many = [{"id": f"a{i:05}" + "f" * 24, "present": True, "attempt": 0, "adapter": "afu1", "compute_node": "m" * 60,
                 "compute_adapter": "afu0", "section": i % 8, "offset_bytes": i << 28, "size_bytes": 1 << 28,
                 "effective_addr": hex(0x7000_0000_0000 + (i << 28)), "lender_id": "lender-1"} for i in range(4096)]
        body = {**agent.observed(), "buffers": many}
        self.assertGreater(len(json.dumps(body)), 1 << 20)
        put = lambda size: self.admin.request("PUT", f"/v1/agents/{agent.name}/observed", raw=size, token=agent.token,
                                              headers={"Content-Type": "application/json"})
        self.assertEqual(put(json.dumps(body).encode()).status, 204)
        self.assertEqual(self.admin.get(f"/v1/nodes/{agent.name}").json["state"], "ready")
        self.assertEqual(agent.report().status, 204)
        agent.stop()


class Recovery(Rack):
    def test_an_agent_that_knows_a_later_epoch_stops_changes_until_an_operator_adopts(self):
        agent = FakeAgent(self.server, "n4", self.join)
        self.assertEqual(agent.register().status, 200)
        agent.known_epoch = 41
        self.assertEqual(agent.register().status, 200)  # what it holds has to be seen
        self.assertEqual(self.admin.get("/v1/status").json["state"], "recovering")
        self.assertEqual(self.admin.get("/readyz").status, 503)
        self.refused(self.admin.post("/v1/attachments", {"compute_node": "n1", "size_bytes": GIB}), 503, "recovering")
        self.refused(self.admin.patch("/v1/nodes/n1", {"cordoned": True}), 503, "recovering")
        self.assertEqual(self.admin.post("/v1/sessions", {"token": self.server.admin_token}, token=None).status, 201)
        self.assertEqual(self.admin.post("/v1/backup").status, 200)
        self.refused(self.admin.post("/v1/recovery/adopt"), 409, "conflict")  # n4 has not reported
        self.refused(self.admin.post("/v1/recovery/adopt", {"without": ["n9"]}), 422, "node_unknown")
        self.refused(self.admin.post("/v1/recovery/adopt", {"without": [3]}), 422, "field_invalid")
        self.assertEqual(agent.report().status, 204)
        self.assertEqual(agent.poll(wait=0, after="41.0").status, 204)  # no orders meanwhile
        recovery = self.admin.get("/v1/recovery").json
        self.assertEqual((recovery["recovering"], recovery["known_epoch"]), (True, 41))
        self.assertTrue(all(n["reported"] for n in recovery["nodes"]), recovery)
        before = self.admin.get("/v1/nodes").json["as_of"]
        adopted = self.admin.post("/v1/recovery/adopt")
        self.assertEqual((adopted.status, adopted.json["recovering"], adopted.json["epoch"]), (200, False, 42))
        self.refused(self.admin.post("/v1/recovery/adopt"), 409, "conflict")
        self.refused(agent.report(), 409, "session_stale")
        self.assertEqual(agent.register().json["epoch"], 42)
        agent.stop()
        self.wait_for(lambda: {"node/n1", "node/n2"} <= {e["object"] for e in self.admin.get(f"/v1/events?after={before}").json["items"]
                                                        if e["type"] == "node.registered"})  # sessions begin anew
        self.wait_for(lambda: all(a["ok"] for n in ("n1", "n2") for a in self.admin.get(f"/v1/nodes/{n}").json["adapters"]))
        self.detach(self.attach()["id"])

    def test_only_the_boot_of_a_silent_node_can_be_fenced(self):
        n1 = self.nodes["n1"]
        self.refused(self.admin.post("/v1/nodes/n1/fence", {"boot_id": "other"}), 409, "conflict")
        self.refused(self.admin.post("/v1/nodes/n1/fence", {"boot_id": n1.boot_id}), 409, "conflict")
        self.refused(self.admin.post("/v1/nodes/n1/fence", {}), 422, "field_missing")
        self.refused(self.admin.post("/v1/nodes/nowhere/fence", {"boot_id": "x"}), 404, "node_unknown")

    def test_a_fenced_node_that_is_forgotten_stays_refused_and_its_name_is_free(self):
        agent = FakeAgent(self.server, "n9", self.join)
        self.assertEqual(agent.register().status, 200)
        agent.run()
        self.wait_for(lambda: self.admin.get("/v1/nodes/n9").json["state"] == "ready")
        agent.stop()
        self.wait_for(lambda: self.admin.get("/v1/nodes/n9").json["state"] == "unreachable", 30)
        self.assertEqual(self.admin.post("/v1/nodes/n9/fence", {"boot_id": agent.boot_id}).status, 200)
        self.assertEqual(self.admin.delete("/v1/nodes/n9").json, {"name": "n9", "links_dropped": 0})
        again = FakeAgent(self.server, "n8", self.join)
        again.boot_id = agent.boot_id
        self.refused(again.register(), 403, "forbidden")
        other = FakeAgent(self.server, "n9", self.join)
        self.assertEqual(other.register().status, 200)
        self.assertEqual(self.admin.delete("/v1/nodes/n9").status, 200)  # it has not reported yet
        audit = [a["action"] for a in self.admin.get("/v1/audit?limit=1000").json["items"] if a["object"] == "node/n9"]
        self.assertEqual([a for a in audit if a.startswith("node.")], ["node.fence", "node.forget", "node.forget"])


class OutOfReach(Rack):
    def test_a_number_that_no_orchestrator_ever_gave_is_refused_and_stops_nothing(self):
        agent = FakeAgent(self.server, "n7", self.join)
        self.assertEqual(agent.register().status, 200)
        self.assertEqual(agent.report().status, 204)
        status = self.admin.get("/v1/status").json
        for field, ours, reach in (("known_epoch", status["epoch"], 1 << 32), ("known_revision", status["revision"], 1 << 40)):
            # 2^63 - 1 was taken, and the revision that an adoption made of it proved nothing any more
            for number in (ours + reach + 100_000, (1 << 53) - 1, 1 << 53, (1 << 63) - 2, (1 << 63) - 1):
                with self.subTest(field=field, number=number):
                    body = {**agent.registration(), field: number}
                    said = self.refused(self.admin.post("/v1/agents/register", body, token=agent.token), 422, "field_invalid")
                    self.assertEqual([f["field"] for f in said["field_errors"]], [field])
        self.assertEqual(self.admin.get("/v1/status").json["state"], "ok")
        self.refused(self.admin.post("/v1/recovery/adopt"), 409, "conflict")
        self.assertEqual(agent.report().status, 204)  # its session goes on
        self.assertEqual(agent.register().status, 200)

    def test_the_farthest_that_can_be_adopted_leaves_room_for_ever(self):
        agent = FakeAgent(self.server, "n5", self.join)
        self.assertEqual(agent.register().status, 200)
        for _ in range(2):  # and again from there
            status = self.admin.get("/v1/status").json
            agent.known_epoch = status["epoch"] + (1 << 32)
            body = {**agent.registration(), "known_revision": status["revision"] + (1 << 40)}
            answer = self.admin.post("/v1/agents/register", body, token=agent.token)
            self.assertEqual(answer.status, 200, answer.json)
            agent.session, agent.epoch, agent.instance, agent.sequence = *(answer.json[k] for k in ("session", "epoch", "instance")), 0
            self.assertEqual(self.admin.get("/v1/status").json["state"], "recovering")
            self.assertEqual(agent.report().status, 204)
            self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"] if n["name"] in ("n1", "n2", "n5")))
            others = [n["name"] for n in self.admin.get("/v1/recovery").json["nodes"] if not n["reported"]]
            adopted = self.admin.post("/v1/recovery/adopt", {"without": others})
            self.assertEqual((adopted.status, adopted.json["epoch"]), (200, agent.known_epoch + 1), adopted.json)
            self.assertGreater(adopted.json["revision"], body["known_revision"])
            self.assertLess(adopted.json["revision"], 1 << 50)
            self.wait_for(lambda: all(self.nodes[n].epoch == adopted.json["epoch"] for n in ("n1", "n2")))
            self.wait_for(lambda: all(a["ok"] for n in ("n1", "n2") for a in self.admin.get(f"/v1/nodes/{n}").json["adapters"]))
            self.detach(self.attach()["id"])  # there is proof at such revisions
        agent.stop()


class Strangers(Rack):
    def test_nobody_but_a_node_of_this_rack_stops_changes_by_the_epoch_that_it_knows(self):
        state = lambda: self.admin.get("/v1/status").json["state"]
        thief = FakeAgent(self.server, "n1", self.join)  # a join token, and a name that is taken
        thief.known_epoch = 900
        self.refused(thief.register(), 409, "identity_conflict")
        copy = FakeAgent(self.server, "n1", self.nodes["n1"].token)  # a credential, and another machine
        copy.known_epoch = 900
        self.refused(copy.register(), 409, "identity_conflict")
        self.assertEqual(state(), "ok")
        moved = FakeAgent(self.server, "n6", self.join)  # from another rack, with a token that approves
        moved.known_epoch = 900
        for _ in range(2):
            self.assertEqual(moved.register().status, 200)
            self.assertEqual(moved.report().status, 204)
            self.assertEqual(moved.poll(wait=0).status, 204)
        self.assertEqual((self.admin.get("/v1/nodes/n6").json["state"], state()), ("new", "ok"))
        self.assertEqual([f["code"] for f in self.admin.get("/v1/nodes/n6").json["findings"]], ["epoch_ahead", "enrolment"])
        self.detach(self.attach()["id"])
        self.assertEqual(self.admin.post("/v1/enrolments/n6/approve").status, 200)  # an operator knows it
        self.refused(moved.report(), 409, "session_stale")
        self.assertEqual(moved.register().status, 200)
        self.assertEqual(state(), "recovering")
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"] if n["name"] != "n6"))
        self.assertEqual(moved.report().status, 204)
        self.assertEqual(self.admin.post("/v1/recovery/adopt").status, 200)
        moved.stop()
        self.wait_for(lambda: all(a["ok"] for n in ("n1", "n2") for a in self.admin.get(f"/v1/nodes/{n}").json["adapters"]))


class Forgetting(Rack):
    def test_a_node_that_reports_is_not_forgotten_and_its_cables_are_counted(self):
        said = self.refused(self.admin.delete("/v1/nodes/n2"), 409, "conflict")
        self.assertIn("agent", said["detail"])
        self.nodes["n2"].stop()
        self.wait_for(lambda: self.admin.get("/v1/nodes/n2").json["state"] == "unreachable", 30)
        self.assertEqual(self.admin.delete("/v1/nodes/n2").json, {"name": "n2", "links_dropped": 2})
        self.assertEqual(self.admin.get("/v1/topology").json["links"], [])


if __name__ == "__main__":
    unittest.main()
