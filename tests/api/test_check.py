"""`memlane check` on planted violations, asked for by many at once, and on a history that was changed.  A real memlaned with fake
agents; every answer is checked against schema/openapi.yaml."""
# Slow: silence has to last for its limit.
import contextlib
import json
import re
import signal
import socket
import sqlite3
import threading
import unittest

from fake_agent import GIB, FakeAgent
from rackcase import Rack, memlane


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


class CheckedRack(Rack):
    heartbeat_ms = 100
    agent = Agent

    def check(self, name):
        answer = self.admin.get("/v1/check").json
        return next(i for i in answer["items"] if i["name"] == name)

    def attached(self):
        """Attached, and both agents have said so in a report that came after it."""
        a = self.attach()
        self.wait_for(lambda: self.admin.get("/v1/check").json["result"] == "ok")
        return a


class Check(CheckedRack):
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


class CheckTogether(CheckedRack):
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


class CheckHistory(CheckedRack):
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


if __name__ == "__main__":
    unittest.main()
