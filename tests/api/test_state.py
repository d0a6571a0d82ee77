"""The orchestrator's durable state and its truth: `memlane check` on planted violations, old backups and adoption, identity,
enrolment, the audit log.  A real memlaned with fake agents; every answer is checked against schema/openapi.yaml."""
# Slow: silence has to last for its limit.
import contextlib
import datetime
import fcntl
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import unittest

from fake_agent import GIB, FakeAgent
from memlaned import BUILD, Memlaned
from rackcase import CABLING, Rack


def memlane(server, *words, token=None):
    env = {**os.environ, "MEMLANE_URL": f"http://127.0.0.1:{server.port}", "MEMLANE_TOKEN": token or server.admin_token}
    done = subprocess.run([str(BUILD / "bin/memlane"), *words], env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


class Agent(FakeAgent):
    """Reports what a test plants beside, or instead of, what it was told."""
    planted = staticmethod(lambda report: report)
    keeps_buffers = False

    def apply(self, desired):
        kept = dict(self.buffers)
        super().apply(desired)
        if self.keeps_buffers:
            self.buffers = {**kept, **self.buffers}

    def observed(self):
        return self.planted(super().observed())


class StateRack(Rack):
    heartbeat_ms = 100

    @classmethod
    def setUpClass(cls):
        cls.server = Memlaned(heartbeat_ms=cls.heartbeat_ms)
        cls.admin = cls.server.client()
        cls.join = cls.admin.post("/v1/tokens", {"role": "join", "name": "join"}).json["token"]
        cls.nodes = {}
        for name in ("n1", "n2"):
            cls.nodes[name] = Agent(cls.server, name, cls.join)
            assert cls.nodes[name].register().status == 200
            cls.nodes[name].run()
        etag = cls.admin.get("/v1/topology").headers["ETag"]
        assert cls.admin.put("/v1/topology", CABLING, headers={"If-Match": etag}).status == 200
        cls.wait_for(lambda: cls.admin.get("/v1/status").json["nodes"].get("ready") == 2)

    def check(self, name):
        answer = self.admin.get("/v1/check").json
        return next(i for i in answer["items"] if i["name"] == name)

    def attached(self):
        """Attached, and both agents have said so in a report that came after it."""
        a = self.attach()
        self.wait_for(lambda: self.admin.get("/v1/check").json["result"] == "ok")
        return a


class Check(StateRack):
    def tearDown(self):
        for agent in self.nodes.values():
            agent.planted, agent.keeps_buffers = staticmethod(lambda report: report), False
        for a in self.admin.get("/v1/attachments?state=live").json["items"]:
            self.admin.delete(f"/v1/attachments/{a['id']}?wait=20")
        self.wait_for(lambda: self.admin.get("/v1/check").json["result"] == "ok")

    def plant(self, node, change, name, part, result="violated"):
        """The node reports what 'change' makes of its report: the invariant 'name' says so, with 'part' in its detail."""
        def planted(report):
            report = json.loads(json.dumps(report))
            change(report)
            return report
        self.nodes[node].planted = planted
        try:
            item = self.wait_for(lambda: (i := self.check(name)) and i["result"] == result and i)
            self.assertIn(part, item["detail"])
            self.assertTrue(item["objects"])
            return item
        finally:
            self.nodes[node].planted = staticmethod(lambda report: report)

    def test_a_rack_at_rest_is_in_order(self):
        self.attached()
        answer = self.admin.get("/v1/check").json
        self.assertEqual([i["invariant"] for i in answer["items"]], list(range(1, 11)))
        self.assertTrue(all(i["result"] == "ok" and i["checked"] > 0 for i in answer["items"] if i["invariant"] != 7), answer)
        code, out, err = memlane(self.server, "check")
        self.assertEqual((code, err), (0, ""), out)
        self.assertIn("attached_is_seen", out)

    def test_a_section_that_leads_elsewhere(self):
        a = self.attached()

        def change(report):
            report["adapters"][0]["sections"][a["section"]] = "0x7123400000000001"
        self.plant("n1", change, "attached_is_seen", f"section {a['section']} holds 0x7123400000000001")

    def test_a_port_in_reset_under_live_memory(self):
        self.attached()
        self.plant("n2", lambda r: r["adapters"][1].update(channels=0, settled=0), "attached_is_seen", "is in reset")

    def test_a_port_that_is_nobodys(self):
        self.plant("n2", lambda r: r["adapters"][1].update(channels=2, settled=2), "nothing_unowned", "in no circuit")

    def test_a_section_that_is_nobodys(self):
        self.plant("n1", lambda r: r["adapters"][0]["sections"].__setitem__(3, "0x7000000000001"), "nothing_unowned", "nobody's")

    def test_a_buffer_of_nobody_in_the_same_range(self):
        a = self.attached()

        def change(report):
            report["buffers"].append({**report["buffers"][0], "id": "stranger"})
        self.plant("n2", change, "given_once", "holds buffer stranger of nobody in the same range")
        self.assertEqual(self.admin.get(f"/v1/attachments/{a['id']}").json["state"], "attached")

    def test_an_unowned_buffer_is_shown_and_waits(self):
        def change(report):
            report["buffers"].append({"id": "orphan", "present": True, "attempt": 0, "adapter": "afu1", "compute_node": "n1",
                                      "compute_adapter": "afu0", "section": 2, "offset_bytes": 0, "size_bytes": GIB,
                                      "effective_addr": "0x600000000000", "lender_id": "lender-1"})
        self.plant("n2", change, "nothing_unowned", "n2 holds buffer orphan", "unknown")
        self.nodes["n2"].planted = lambda r: (change(r), r)[1]
        self.wait_for(lambda: self.admin.get("/v1/unowned").json["items"])
        code, out, _ = memlane(self.server, "unowned")
        self.assertEqual(code, 0)
        self.assertIn("orphan", out)
        self.assertEqual(memlane(self.server, "check")[0], 0)  # unknown is no violation

    def test_blocks_that_are_online_over_a_released_buffer(self):
        a = self.attached()
        segment = dict(self.nodes["n1"].segments[a["id"]])
        self.nodes["n2"].keeps_buffers = True
        self.admin.delete(f"/v1/attachments/{a['id']}")
        self.wait_for(lambda: any(e["type"] == "attachment.step" and e["from"] == "undo" and e["to"] == "lend"
                                  for e in self.admin.get(f"/v1/attachments/{a['id']}").json["timeline"]))

        def change(report):
            report["segments"] = [{**segment, "blocks_online": 1}]
        self.plant("n1", change, "released_with_proof", "its buffer was released")
        self.nodes["n2"].keeps_buffers = False
        self.nodes["n2"].buffers.clear()

    def test_a_silent_node_makes_it_unknown(self):
        self.attached()
        agent = self.nodes["n2"]
        real, agent.report = agent.report, lambda: type("Answer", (), {"status": 204})
        self.wait_for(lambda: self.check("attached_is_seen")["result"] == "unknown", 20)
        self.assertEqual(self.check("lent_is_held")["result"], "unknown")
        agent.report = real
        self.wait_for(lambda: self.admin.get("/v1/nodes/n2").json["state"] == "ready")


class CheckTogether(StateRack):
    """Many who ask at once share one look, which began after each of them had asked."""

    def metric(self, name):
        return int(re.search(rf"^{name} (\d+)$", self.admin.get("/metrics").body.decode(), re.M)[1])

    def ask(self, n):
        sockets = []
        for _ in range(n):
            s = socket.create_connection(("127.0.0.1", self.server.port), timeout=60)
            s.sendall(f"GET /v1/check HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                      f"Authorization: Bearer {self.server.admin_token}\r\n\r\n".encode())
            sockets.append(s)
        return sockets

    def answers(self, sockets):
        got = []
        for s in sockets:
            with s, s.makefile("rb") as f, contextlib.suppress(ConnectionError):
                got.append(f.read())
        return got

    def test_those_who_come_meanwhile_share_a_look(self):
        before = self.metric("memlane_checks_total")
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            asked = self.ask(60)  # all are there when it goes on
        finally:
            self.server.process.send_signal(signal.SIGCONT)
        got = self.answers(asked)
        self.assertEqual({a.split(b"\r\n")[0] for a in got}, {b"HTTP/1.1 200 OK"})
        self.assertTrue(all(json.loads(a.split(b"\r\n\r\n", 1)[1])["result"] != "violated" for a in got))  # who reported by then
        looks = self.metric("memlane_checks_total") - before
        self.assertTrue(1 <= looks <= 30, looks)  # two, when all are read before the first one ends

    def test_what_is_answered_was_looked_at_after_it_was_asked_for(self):
        ends = threading.Event()
        def others():
            client = self.server.client()
            while not ends.is_set():
                client.get("/v1/check")
            client.close()
        threads = [threading.Thread(target=others) for _ in range(3)]
        for t in threads:
            t.start()
        try:
            seen = 0
            for n in range(250):
                self.assertEqual(self.admin.patch("/v1/nodes/n1", {"cordoned": n % 2 == 0}).status, 200)
                events = int(self.check("events_without_gaps")["detail"].split()[0])
                self.assertGreater(events, seen, n)  # that of the patch is among them
                seen = events
        finally:
            ends.set()
            for t in threads:
                t.join()

    def test_who_left_holds_nobody_up(self):
        for s in self.ask(20):
            s.close()
        self.assertEqual(self.admin.get("/v1/check").json["result"], "ok")
        self.wait_for(lambda: self.metric("memlane_http_waiting_requests") <= 4)  # what the agents poll

    def test_an_end_meanwhile_answers_everybody(self):
        asked = self.ask(40)
        try:
            self.assertEqual(self.server.stop(), 0)
        finally:
            self.server.start()
            self.admin.close()
        for answer in self.answers(asked):  # of those that it had read by then
            self.assertIn(answer.split(b"\r\n")[0], (b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Service Unavailable", b""))


class CheckHistory(StateRack):
    """What is written is changed behind the orchestrator's back, so this rack is not used for anything else."""

    def edit(self, sql):
        with contextlib.closing(sqlite3.connect(self.server.dir / "rack.db", timeout=10)) as db, db:
            db.execute(sql)

    def violated(self, name, part, object=None):
        item = self.check(name)
        self.assertEqual(item["result"], "violated", item)
        self.assertIn(part, item["detail"])
        if object:
            self.assertEqual(item["objects"], [object])

    def test_a_change_of_any_kind_without_a_row_in_the_audit_log_is_found(self):
        """Also after an adoption, which is asked for once and creates what it finds."""
        self.assertEqual(self.admin.patch("/v1/nodes/n1", {"headroom_bytes": 1 << 20}).status, 200)
        self.assertEqual(self.admin.patch("/v1/links", {"a": "n1/afu0/1", "b": "n2/afu1/1", "down": True}).status, 200)
        self.assertEqual(self.admin.patch("/v1/links", {"a": "n1/afu0/1", "b": "n2/afu1/1", "down": False}).status, 200)
        claim = FakeAgent(self.server, "n1", self.join)
        self.refused(claim.register(), 409, "identity_conflict")  # told, and no change
        claim.polls.close()
        claim.reports.close()
        a = self.attached()
        self.assertEqual(self.check("changes_are_audited")["result"], "ok")
        self.edit("INSERT INTO audit (at_ms, actor, action, object, remote, request_id, detail) VALUES "
                  "(1, 'token:somebody', 'recovery.adopt', 'orchestrator', '', '', '')")
        for action, object in (("node.patch", "node/n1"), ("link.patch", "link/n1/afu0/1 n2/afu1/1"),
                               ("attachment.create", f"attachment/{a['id']}"), ("agent.register", "node/n1")):
            self.edit(f"UPDATE audit SET actor = 'x' || actor WHERE action = '{action}'")
            self.violated("changes_are_audited", "has no row in the audit log")
            self.assertIn(object, self.check("changes_are_audited")["objects"])
            self.edit(f"UPDATE audit SET actor = substr(actor, 2) WHERE action = '{action}'")
            self.assertEqual(self.check("changes_are_audited")["result"], "ok", action)
        # One that names something else is not the row of this attachment; that of its own adoption is.
        row = f"action = 'attachment.create' AND object = 'attachment/{a['id']}'"
        self.edit(f"UPDATE audit SET object = 'attachment/other' WHERE {row}")
        self.violated("changes_are_audited", "has no row in the audit log", f"attachment/{a['id']}")
        self.edit("UPDATE audit SET action = 'recovery.adopt' WHERE object = 'attachment/other'")
        self.assertEqual(self.check("changes_are_audited")["result"], "ok")
        self.edit(f"UPDATE audit SET action = 'attachment.create', object = 'attachment/{a['id']}' WHERE object = 'attachment/other'")
        self.detach(a["id"])

    def test_a_state_that_begins_elsewhere_than_the_last_one_ended_is_found(self):
        a = self.attached()
        self.detach(a["id"])
        self.assertEqual(self.check("events_without_gaps")["result"], "ok")
        for where in (f"object = 'attachment/{a['id']}' AND to_state = 'attached'", f"object = 'circuit/{a['circuit']}' AND to_state = 'up'",
                      "type = 'node.state' AND object = 'node/n1' AND to_state = 'ready'"):
            self.edit(f"UPDATE events SET from_state = 'x' || from_state WHERE id = (SELECT max(id) FROM events WHERE {where}"
                      " AND id > (SELECT min(id) FROM events e WHERE e.object = events.object AND e.type = events.type))")
        found = self.check("events_without_gaps")
        self.assertEqual(found["result"], "violated")
        self.assertIn("begins at x", found["detail"])
        self.assertTrue({f"attachment/{a['id']}", f"circuit/{a['circuit']}"} <= set(found["objects"]), found)
        self.edit("UPDATE events SET from_state = substr(from_state, 2) WHERE from_state LIKE 'x%'")
        self.assertEqual(self.check("events_without_gaps")["result"], "ok")
        # What is older than what is kept is no gap.
        self.edit(f"DELETE FROM events WHERE id < (SELECT min(id) FROM events WHERE object = 'attachment/{a['id']}' AND to_state = 'attached')")
        self.assertEqual(self.check("events_without_gaps")["result"], "ok")
        self.assertEqual(self.check("changes_are_audited")["result"], "ok")

    def test_missing_history_is_found(self):
        a = self.attached()
        self.edit(f"DELETE FROM audit WHERE object = 'attachment/{a['id']}'")
        self.assertEqual(self.check("changes_are_audited")["result"], "violated")
        self.edit("DELETE FROM events WHERE id = (SELECT max(id) - 1 FROM events)")
        item = self.check("events_without_gaps")
        self.assertEqual(item["result"], "violated")
        self.assertIn("but", item["detail"])
        code, out, _ = memlane(self.server, "check")
        self.assertEqual(code, 1, out)
        self.assertIn("violated", out)


class Identity(StateRack):
    heartbeat_ms = 1500  # these agents report once a second

    def conflict_of(self, name):
        return next((f for f in self.admin.get(f"/v1/nodes/{name}").json["findings"] if f["code"] == "identity_conflict"), None)

    def test_a_copy_of_a_machine_under_another_name(self):
        clone = FakeAgent(self.server, "n9", self.join)
        clone.machine_id = self.nodes["n1"].machine_id
        self.refused(clone.register(), 409, "identity_conflict")
        self.refused(self.admin.get("/v1/nodes/n9"), 404, "node_unknown")
        self.assertIn("n9", self.conflict_of("n1")["detail"])
        events = [e for e in self.admin.get("/v1/events?limit=1000").json["items"] if e["type"] == "node.identity_conflict"]
        self.assertEqual([e["object"] for e in events], ["node/n1"])
        self.refused(clone.register(), 409, "identity_conflict")  # said once a minute
        again = [e for e in self.admin.get("/v1/events?limit=1000").json["items"] if e["type"] == "node.identity_conflict"]
        self.assertEqual(len(again), 1)

    def test_a_name_that_another_machine_claims(self):
        thief = FakeAgent(self.server, "n2", self.join)
        self.refused(thief.register(), 409, "identity_conflict")
        thief.token = self.nodes["n2"].token  # even with its credential
        self.refused(thief.register(), 409, "identity_conflict")
        self.assertTrue(self.conflict_of("n2"))
        self.assertEqual(self.admin.get("/v1/nodes/n2").json["boot_id"], self.nodes["n2"].boot_id)

    def test_a_machine_that_comes_with_other_adapters(self):
        agent = FakeAgent(self.server, "n6", self.join)
        self.assertEqual(agent.register().status, 200)
        own = agent.adapters
        changes = {"role": lambda a: [a[0], {**a[1], "role": "compute", "window_addr": hex(1 << 52), "window_bytes": 1 << 40}],
                   "number of ports": lambda a: [a[0], {**a[1], "ports": 1}],
                   "window": lambda a: [{**a[0], "window_bytes": 2 << 40}, a[1]],
                   "none that it is bound to": lambda a: [{**a[1], "name": "other"}]}
        for what, change in changes.items():
            agent.adapters = lambda change=change: change(own())
            problem = self.refused(agent.register(), 409, "identity_conflict")
            self.assertIn(what, problem["detail"])
            self.assertIn("forget the node", problem["detail"])
        found = self.conflict_of("n6")
        self.assertIn("role", found["detail"])  # said once a minute
        self.assertIn("memlane node forget", found["advice"])
        self.assertEqual(len(self.admin.get("/v1/nodes/n6").json["adapters"]), 2)
        self.assertEqual(agent.report().status, 204)  # of its session, which goes on
        agent.adapters = lambda: own()[:1]  # a card that failed at boot
        self.assertEqual(agent.register().status, 200)
        self.assertIsNone(self.conflict_of("n6"))  # it has its own again
        agent.adapters = lambda: [*own(), {**own()[1], "name": "afu2"}]  # one more
        self.assertEqual(agent.register().status, 200)
        agent.adapters = lambda: changes["number of ports"](own())
        self.refused(agent.register(), 409, "identity_conflict")
        self.assertEqual(self.admin.delete("/v1/nodes/n6").status, 200)
        agent.token = self.join  # its credential is gone with it
        self.assertEqual(agent.register().status, 200)
        self.assertEqual([len(a["ports"]) for a in self.admin.get("/v1/nodes/n6").json["adapters"]], [2, 1])
        self.assertEqual(self.admin.delete("/v1/nodes/n6").status, 200)
        agent.polls.close()
        agent.reports.close()

    def test_a_copy_with_name_machine_and_credential_cannot_take_over_a_live_node(self):
        a = self.attach()
        real = self.nodes["n1"]
        clone = FakeAgent(self.server, "n1", real.token)
        clone.machine_id = real.machine_id
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            self.refused(clone.register(), 409, "identity_conflict")
            time.sleep(0.05)
        self.assertEqual(self.admin.get("/v1/nodes/n1").json["boot_id"], real.boot_id)
        self.assertEqual(self.admin.get(f"/v1/attachments/{a['id']}").json["state"], "attached")
        self.detach(a["id"])

    def test_a_copy_that_asked_while_the_first_reported_does_not_take_its_place_when_that_is_silent(self):
        real = FakeAgent(self.server, "n8", self.join)
        self.assertEqual(real.register().status, 200)
        real.run()
        copy = FakeAgent(self.server, "n8", real.token)
        copy.machine_id = real.machine_id
        self.wait_for(lambda: self.admin.get("/v1/nodes/n8").json["state"] == "ready")
        self.refused(copy.register(), 409, "identity_conflict")
        asked = self.admin.get("/v1/nodes/n8").json["last_seen_at"]
        moment = datetime.datetime.fromisoformat
        self.wait_for(lambda: moment(self.admin.get("/v1/nodes/n8").json["last_seen_at"]) - moment(asked) > datetime.timedelta(seconds=5))
        real.stop()
        self.wait_for(lambda: self.admin.get("/v1/nodes/n8").json["state"] == "unreachable", 30)
        self.assertIn("two machines run under its name", self.refused(copy.register(), 409, "identity_conflict")["detail"])
        self.assertEqual(self.admin.post("/v1/nodes/n8/fence", {"boot_id": real.boot_id}).status, 200)
        self.assertEqual(copy.register().status, 200)
        copy.polls.close()
        copy.reports.close()

    def test_a_reboot_while_the_disk_fails_is_no_copy(self):
        first = FakeAgent(self.server, "n6", self.join)
        self.assertEqual(first.register().status, 200)
        first.run()
        self.wait_for(lambda: self.admin.get("/v1/nodes/n6").json["state"] == "ready")
        first.stop()
        reboot = FakeAgent(self.server, "n6", first.token)
        reboot.machine_id = first.machine_id
        self.refused(reboot.register(), 409, "identity_conflict")  # heard of just now
        with contextlib.closing(sqlite3.connect(self.server.dir / "rack.db", timeout=10, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")  # nothing can be written, so silence is nobody's fault
            self.refused(self.admin.post("/v1/tokens", {"role": "viewer", "name": "x"}), 503, "unavailable")
        self.wait_for(lambda: reboot.register().status == 200, 30)
        self.assertEqual(self.admin.get("/v1/nodes/n6").json["boot_id"], reboot.boot_id)

    def test_an_agent_of_another_protocol_gets_no_orders(self):
        odd = FakeAgent(self.server, "n7", self.join)
        plain = odd.registration
        odd.registration = lambda: {**plain(), "protocol_min": 7, "protocol_max": 9}
        self.assertEqual(odd.register().status, 200)
        odd.report()
        self.assertEqual(self.admin.get("/v1/nodes/n7").json["state"], "incompatible")
        self.assertEqual(odd.poll(wait=0).status, 204)
        place = self.admin.post("/v1/placements", {"compute_node": "n1", "size_bytes": GIB}).json
        self.assertEqual(next(c["reason"] for c in place["candidates"] if c["node"] == "n7"), "not_ready")
        self.refused(self.admin.post("/v1/attachments", {"compute_node": "n7", "size_bytes": GIB}), 409, "no_donor")


class Enrolment(StateRack):
    def test_an_operator_approves_and_refuses(self):
        made = self.admin.post("/v1/tokens", {"role": "join", "name": "gate", "approves": False}).json
        self.assertFalse(made["approves"])
        self.refused(self.admin.post("/v1/tokens", {"role": "viewer", "name": "x", "approves": False}), 422, "field_invalid")
        new = FakeAgent(self.server, "n5", made["token"])
        self.assertEqual(new.register().status, 200)
        self.assertEqual(new.report().status, 204)
        self.assertEqual(self.admin.get("/v1/nodes/n5").json["state"], "new")
        self.assertEqual(new.poll(wait=0).status, 204)
        listed = self.admin.get("/v1/enrolments").json["items"]
        self.assertEqual([(i["name"], i["state"], i["reported"]) for i in listed], [("n5", "waiting", True)])
        self.refused(self.admin.post("/v1/attachments", {"compute_node": "n5", "size_bytes": GIB}), 409, "no_donor")
        viewer = self.admin.post("/v1/tokens", {"role": "viewer", "name": "v"}).json["token"]
        self.refused(self.admin.post("/v1/enrolments/n5/approve", token=viewer), 403, "forbidden")
        self.refused(self.admin.post("/v1/enrolments/nowhere/approve"), 404, "node_unknown")
        code, out, err = memlane(self.server, "enrolment", "list")
        self.assertEqual((code, "n5" in out), (0, True), err)
        self.assertEqual(memlane(self.server, "enrolment", "refuse", "n5")[0], 0)
        self.refused(new.register(), 403, "forbidden")
        self.refused(new.report(), 409, "session_stale")
        self.assertEqual(memlane(self.server, "enrolment", "approve", "n5")[0], 0)
        self.assertEqual(new.register().status, 200)
        self.assertEqual(new.report().status, 204)
        self.assertEqual(self.admin.get("/v1/nodes/n5").json["state"], "ready")
        self.assertEqual(self.admin.get("/v1/enrolments").json["items"], [])
        self.refused(self.admin.post("/v1/enrolments/n5/refuse"), 409, "conflict")
        actions = [r["action"] for r in self.admin.get("/v1/audit?limit=1000").json["items"] if r["object"] == "node/n5"]
        self.assertEqual(actions, ["agent.register", "enrolment.refuse", "enrolment.approve", "agent.register"])

    def test_it_waits_over_a_restart(self):
        server = Memlaned(heartbeat_ms=100)
        try:
            admin = server.client()
            token = admin.post("/v1/tokens", {"role": "join", "name": "gate", "approves": False}).json["token"]
            agent = FakeAgent(server, "n1", token)
            self.assertEqual(agent.register().status, 200)
            server.stop()
            server.start()
            admin.close()
            agent.reports.close()
            self.assertEqual(agent.register().status, 200)
            self.assertEqual(agent.report().status, 204)
            self.assertEqual(admin.get("/v1/enrolments").json["items"][0]["state"], "waiting")
            self.assertNotEqual(admin.get("/v1/nodes/n1").json["state"], "ready")
        finally:
            server.remove()

    def test_the_audit_log_pages(self):
        for n in range(7):
            self.admin.post("/v1/tokens", {"role": "viewer", "name": f"v{n}"})
        rows, path = [], "/v1/audit?limit=3"
        while path:
            page = self.admin.get(path).json
            rows += page["items"]
            path = page["next_cursor"] and f"/v1/audit?limit=3&cursor={page['next_cursor']}"
        ids = [r["id"] for r in rows]
        self.assertEqual(ids, sorted(set(ids)))
        self.assertEqual(sum(r["action"] == "token.create" for r in rows if r["actor"] == "token:admin") >= 7, True)
        code, out, _ = memlane(self.server, "audit", "--limit", "2")
        self.assertEqual((code, len(out.splitlines())), (0, 3), out)


class Restored(StateRack):
    """A backup is put in the place of a database whose agents have gone on."""

    def restore(self, backup):
        self.server.stop()
        db = self.server.dir / "rack.db"
        for tail in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                (self.server.dir / f"rack.db{tail}").rename(self.server.dir / f"old{time.time_ns()}.db{tail}")
        done = subprocess.run([str(BUILD / "bin/memlaned"), "--restore", str(backup), "--db", str(db)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.server.start()
        self.admin.close()

    def backup(self):
        path = self.server.dir / f"backup{time.time_ns()}.db"
        code, _, err = memlane(self.server, "backup", str(path))
        self.assertEqual(code, 0, err)
        return path

    def test_a_backup_takes_the_place_of_no_database_that_is_in_use(self):
        file = self.server.dir / "kept.db"
        file.write_bytes(b"kept")
        for tail in ("-wal", "-journal"):
            beside = file.with_name(file.name + tail)
            beside.touch()
            code, _, err = memlane(self.server, "backup", str(file))
            self.assertEqual((code, file.read_bytes()), (4, b"kept"), err)
            self.assertIn(beside.name, err)
            beside.unlink()

    def test_what_a_killed_backup_left_is_taken_over(self):
        file, part = self.server.dir / "b.db", self.server.dir / "b.db.part"
        part.write_bytes(b"half of it" * 1000000)
        with part.open() as other:
            fcntl.flock(other, fcntl.LOCK_EX)  # it is not dead yet
            code, _, err = memlane(self.server, "backup", str(file))
            self.assertEqual((code, file.exists(), part.exists()), (4, False, True), err)
        code, _, err = memlane(self.server, "backup", str(file))
        self.assertEqual((code, part.exists()), (0, False), err)
        with contextlib.closing(sqlite3.connect(file)) as db:
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        file.unlink()
        part.symlink_to(self.server.dir / "elsewhere")
        code, _, err = memlane(self.server, "backup", str(file))
        self.assertEqual((code, file.exists(), (self.server.dir / "elsewhere").exists()), (1, False, False), err)

    def recovering_metric(self):
        return re.search(r"^memlane_recovering (\d+)$", self.admin.get("/metrics").body.decode(), re.M)[1]

    def test_what_both_sides_hold_is_adopted_and_nothing_is_removed(self):
        old = self.attach()      # known to the backup, and gone when it is restored
        kept = self.attach()     # known to the backup, and there
        backup = self.backup()
        self.detach(old["id"])
        new = self.attach()      # not known to the backup
        held = {n: (set(a.buffers), set(a.segments)) for n, a in self.nodes.items()}
        self.restore(backup)
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        status = self.admin.get("/v1/status").json
        self.assertEqual((status["state"], self.recovering_metric()), ("recovering", "1"))
        self.refused(self.admin.delete(f"/v1/attachments/{kept['id']}"), 503, "recovering")
        unowned = self.admin.get("/v1/unowned").json["items"]
        self.assertEqual({(u["node"], u["kind"], u["id"]) for u in unowned},
                         {("n2", "buffer", new["id"]), ("n1", "segment", new["id"])})
        self.server.stop()  # a restart does not forget it
        self.server.start()
        self.admin.close()
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        self.assertTrue(self.admin.get("/v1/recovery").json["recovering"])
        self.assertEqual({n: (set(a.buffers), set(a.segments)) for n, a in self.nodes.items()}, held, "something was removed")
        code, out, err = memlane(self.server, "recovery", "show")
        self.assertEqual((code, "recovering" in out), (0, True), err)
        code, out, err = memlane(self.server, "recovery", "adopt")
        self.assertEqual(code, 0, err)
        self.assertIn("adopted 1 attachments, ended 1, kept 0", out)
        self.assertEqual(self.recovering_metric(), "0")
        self.wait_for(lambda: self.admin.get("/v1/check").json["result"] == "ok")
        live = {a["id"]: a for a in self.admin.get("/v1/attachments?state=live").json["items"]}
        self.assertEqual(set(live), {kept["id"], new["id"]})
        for field in ("state", "donor", "section", "offset_bytes", "size_bytes", "effective_addr", "physical_addr", "path"):
            self.assertEqual(live[new["id"]][field], new[field], field)
        self.assertEqual(self.admin.get("/v1/unowned").json["items"], [])
        self.assertEqual({n: (set(a.buffers), set(a.segments)) for n, a in self.nodes.items()}, held, "something was removed")
        for attachment in (kept, new):
            self.detach(attachment["id"])
        self.assertEqual(self.admin.get("/v1/circuits").json["items"], [])

    def test_a_session_ends_with_a_restore(self):
        code = self.admin.post("/v1/sessions/codes").json["code"]
        cookie = self.admin.post("/v1/sessions", {"code": code}, token=None).headers["Set-Cookie"].split(";")[0]
        seen = lambda: self.admin.get("/v1/nodes", token=None, headers={"Cookie": cookie}).status
        self.assertEqual(seen(), 200)
        self.restore(self.backup())  # it may have been signed out since
        self.assertEqual(seen(), 401)
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        self.assertEqual(memlane(self.server, "recovery", "adopt")[0], 0)

    def test_a_token_that_the_backup_brings_back_is_revoked_before_anything_is_adopted(self):
        stolen = self.admin.post("/v1/tokens", {"role": "admin", "name": "stolen"}).json
        backup = self.backup()
        self.assertEqual(self.admin.delete(f"/v1/tokens/{stolen['id']}").status, 204)
        self.refused(self.admin.get("/v1/nodes", token=stolen["token"]), 401, "unauthenticated")
        self.attach()
        self.restore(backup)
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        self.assertEqual(self.admin.get("/v1/nodes", token=stolen["token"]).status, 200)
        self.assertEqual(memlane(self.server, "token", "revoke", stolen["id"])[0], 0)
        self.refused(self.admin.get("/v1/nodes", token=stolen["token"]), 401, "unauthenticated")
        first = next(t["id"] for t in self.admin.get("/v1/tokens").json["items"] if t["name"] == "admin")
        self.refused(self.admin.delete(f"/v1/tokens/{first}"), 409, "conflict")
        fresh = self.admin.post("/v1/tokens", {"role": "admin", "name": "fresh"}).json  # so that the first one can go, too
        code = self.admin.post("/v1/sessions/codes", token=fresh["token"]).json["code"]
        self.assertEqual(self.admin.post("/v1/sessions", {"code": code}, token=None).status, 201)
        self.assertEqual(self.admin.get("/v1/status").json["state"], "recovering")
        self.server.stop()
        self.server.start()
        self.admin.close()
        self.refused(self.admin.get("/v1/nodes", token=stolen["token"]), 401, "unauthenticated")
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        self.assertEqual(memlane(self.server, "recovery", "adopt")[0], 0)
        self.wait_for(lambda: self.admin.get("/v1/check").json["result"] == "ok")
        for a in self.admin.get("/v1/attachments?state=live").json["items"]:
            self.detach(a["id"])

    def test_the_log_of_a_killed_orchestrator_is_not_read_into_a_restored_database(self):
        db = self.server.dir / "rack.db"
        backup = self.backup()
        self.admin.post("/v1/tokens", {"role": "viewer", "name": "lost"})
        self.server.stop(signal.SIGKILL)
        kept = self.server.dir / f"old{time.time_ns()}.db"
        db.rename(kept)
        restore = [str(BUILD / "bin/memlaned"), "--restore", str(backup), "--db", str(db)]
        done = subprocess.run(restore, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("rack.db-wal", done.stderr)
        start = subprocess.run([str(BUILD / "bin/memlaned"), "--listen", "127.0.0.1:0", "--db", str(db)],  # nor a new one beside it
                               capture_output=True, text=True, timeout=20)
        self.assertEqual(start.returncode, 1, start.stderr)
        self.assertIn("rack.db-wal", start.stderr)
        self.assertFalse(db.exists())
        kept.rename(db)
        self.server.start()
        self.admin.close()
        self.assertIn("lost", [t["name"] for t in self.admin.get("/v1/tokens").json["items"]])
        self.wait_for(lambda: self.admin.get("/v1/status").json["nodes"].get("ready") == 2)

    def test_a_silent_node_is_waited_for_or_named(self):
        self.restore(self.backup())
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        self.nodes["n2"].stop()
        self.server.stop()
        self.server.start()
        self.admin.close()
        self.wait_for(lambda: any(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        answer = self.admin.post("/v1/recovery/adopt")
        self.refused(answer, 409, "conflict")
        self.assertIn("n2", answer.json["detail"])
        self.assertEqual(memlane(self.server, "recovery", "adopt", "--without", "n2")[0], 0)
        self.nodes["n2"].stopping.clear()
        self.nodes["n2"].run()
        self.wait_for(lambda: all(a["ok"] for n in ("n1", "n2") for a in self.admin.get(f"/v1/nodes/{n}").json["adapters"]))


if __name__ == "__main__":
    unittest.main()
