"""Who may be which node: copies of machines, names and credentials, other protocols; nodes that wait for an operator; who did
what.  A real memlaned with fake agents; every answer is checked against schema/openapi.yaml."""
# Slow: silence has to last for its limit.
import contextlib
import datetime
import sqlite3
import time
import unittest

from fake_agent import GIB, FakeAgent
from memlaned import Memlaned
from rackcase import Rack, memlane


class Identity(Rack):
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
        agent.adapters = lambda: [{**own()[0], "window_bytes": 2 << 40}, own()[1]]  # corrected, and nothing uses it
        self.assertEqual(agent.register().status, 200)
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
        self.assertEqual(first.report().status, 204)
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


class Enrolment(Rack):
    heartbeat_ms = 100

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


if __name__ == "__main__":
    unittest.main()
