"""kill -9 of an agent or of the orchestrator at rest; moments.py: when something is under way."""
import json
import unittest

import patterns
from harness import GIB, EventReader, Rack, eventually

SAME_STATE_S = 3 * 2  # it takes less than 2 s


class AtRest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rack = cls.enterClassContext(Rack("star8"))
        cls.block = cls.rack.plan["nodes"][0]["block_bytes"]

    def tearDown(self):
        for a in self.rack.live():
            self.rack.detach(a["id"])
        self.rack.assert_clean()

    def writes(self):
        """Register writes and hot-plug operations so far."""
        with open(self.rack.dir / "trace.jsonl") as trace:
            return sum(json.loads(line)["op"] not in ("read", "open", "close") for line in trace)

    def test_agents_killed_under_live_attachments(self):
        found = [self.rack.attach("n1", GIB, donor="n4"), self.rack.attach("n2", GIB, donor="n4")]
        for a in found:
            patterns.fill(self.rack.segment_file(a), a["id"], self.block)
        before = self.writes()
        for name in ("n1", "n4", "mgmt"):
            old = self.rack.node(name)
            pid = self.rack.kill(f"agent-{name}")
            eventually("another agent runs", lambda: self.rack.pid(f"agent-{name}") not in (None, pid))
            eventually("it has reported", lambda: self.rack.node(name)["last_seen_at"] > old["last_seen_at"]
                       and self.rack.node(name)["state"] == "ready")
        for _ in range(3):  # each reports and compares again and again
            seen = {n["name"]: n["last_seen_at"] for n in self.rack.api.items("/v1/nodes")}
            eventually("all reported again", lambda: all(n["last_seen_at"] > seen[n["name"]] for n in self.rack.api.items("/v1/nodes")))
        self.assertEqual(self.writes(), before, "something was done again")
        for a in found:
            self.assertEqual(self.rack.attachment(a["id"])["state"], "attached")
            self.assertEqual(patterns.verify(self.rack.segment_file(a), a["id"], self.block), [])

    def test_orchestrator_killed(self):
        a = self.rack.attach("n1", GIB)
        patterns.fill(self.rack.segment_file(a), a["id"], self.block)
        fields = ("id", "state", "goal", "donor", "path", "section", "offset_bytes", "circuit", "created_at", "effective_addr",
                  "physical_addr")
        was = {f: self.rack.attachment(a["id"])[f] for f in fields}
        reader = EventReader(self.rack, self.rack.api.call("GET", "/v1/attachments?limit=1")["as_of"])
        reader.start()
        before = self.writes()
        self.rack.kill("memlaned")

        def same():
            now = self.rack.attachment(a["id"])
            return {f: now[f] for f in fields} == was and now["blocks_online"] == now["blocks_total"] and all(
                n["state"] == "ready" for n in self.rack.api.items("/v1/nodes"))
        eventually("the same state", same, SAME_STATE_S)
        self.assertEqual(self.writes(), before, "something was done again")
        self.assertEqual(patterns.verify(self.rack.segment_file(a), a["id"], self.block), [])
        self.rack.detach(a["id"])
        last = self.rack.api.call("GET", "/v1/attachments?limit=1")["as_of"]
        eventually("the stream went on", lambda: reader.last >= last)
        reader.ending = True
        self.assertEqual((reader.ids, reader.resets), (list(range(reader.ids[0], last + 1)), 0), "a gap in the stream")
        reader.join(15)


if __name__ == "__main__":
    unittest.main()
