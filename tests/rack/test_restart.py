"""kill -9 of an agent or of the orchestrator: at rest, and at random moments of an attach and a detach."""
# Slow: most of it is waiting for what was killed.
import concurrent.futures
import json
import os
import random
import threading
import time
import unittest
import uuid

import patterns
from harness import GIB, EventReader, Problem, Rack, eventually

MOMENTS = int(os.environ.get("MEMLANE_KILLS", "100"))  # of each kind
PAIRS = [("n1", "n4"), ("n2", "n5"), ("n3", "n6")]
LONGEST_S = 0.025  # an attach or detach takes less, mostly


def each():
    """Attaches, and detaches, of a pair."""
    return -(-MOMENTS // len(PAIRS))


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
        began = time.monotonic()
        self.rack.kill("memlaned")

        def same():
            now = self.rack.attachment(a["id"])
            return {f: now[f] for f in fields} == was and now["blocks_online"] == now["blocks_total"] and all(
                n["state"] == "ready" for n in self.rack.api.items("/v1/nodes"))
        eventually("the same state", same, 5)
        self.assertLess(time.monotonic() - began, 2.0)
        self.assertEqual(self.writes(), before, "something was done again")
        self.assertEqual(patterns.verify(self.rack.segment_file(a), a["id"], self.block), [])
        self.rack.detach(a["id"])
        last = self.rack.api.call("GET", "/v1/attachments?limit=1")["as_of"]
        eventually("the stream went on", lambda: reader.last >= last)
        reader.ending = True
        self.assertEqual((reader.ids, reader.resets), (list(range(reader.ids[0], last + 1)), 0), "a gap in the stream")
        reader.join(15)


class AtAnyMoment(unittest.TestCase):
    """The end is the same as without the kill.  Pairs of nodes of one rack come and go side by side."""

    def run_moments(self, victims_of, seed):
        with Rack("star8", ["--time-scale", "0.2"]) as rack:
            with concurrent.futures.ThreadPoolExecutor(len(PAIRS)) as pool:
                for pair in [pool.submit(self.run_pair, rack, random.Random(f"{seed} {pair}"), *pair, victims_of(*pair)) for pair in PAIRS]:
                    pair.result()
            eventually("all programs run", lambda: all(p["pid"] for p in rack.supervisor("status")["processes"]))
            eventually("all are ready", lambda: all(n["state"] == "ready" for n in rack.api.items("/v1/nodes")))
            eventually("no circuit is left", lambda: not rack.api.items("/v1/circuits"))
            n = len(rack.api.items("/v1/attachments?state=detached"))
            self.assertEqual(n, len(PAIRS) * each(), "exactly one attachment each")
            rack.assert_clean()

    def run_pair(self, rack, dice, borrower, donor, victims):
        for _ in range(each()):
            a = self.attach_with_kill(rack, dice, borrower, donor, dice.choice(victims))
            patterns.fill(rack.segment_file(a), a["id"], 1 << 28)
            self.detach_with_kill(rack, a, dice, dice.choice(victims))
            self.assertFalse(rack.buffer_file(a).exists())

    @staticmethod
    def killer(rack, dice, victim):
        timer = threading.Timer(dice.random() * LONGEST_S, rack.kill, (victim,))
        timer.start()
        return timer

    def attach_with_kill(self, rack, dice, borrower, donor, victim):
        timer = self.killer(rack, dice, victim)
        deadline, key, size = time.monotonic() + 20, uuid.uuid4().hex, dice.choice((1, GIB))
        while True:
            try:
                a = rack.try_attach(borrower, size, key=key, donor=donor)
                break
            except Problem as refused:  # its agents are away: a true reason, for a moment
                reasons = {c["reason"] for c in refused.body.get("candidates", [])} | {refused.body.get("code")}
                if time.monotonic() > deadline or not reasons & {"not_ready", "compute_not_ready"}:
                    raise
                time.sleep(0.02)
        timer.join()
        self.assertEqual(a["state"], "attached", a["reason"])
        return a

    def detach_with_kill(self, rack, a, dice, victim):
        timer = self.killer(rack, dice, victim)
        rack.detach(a["id"])
        timer.join()

    def test_of_an_agent(self):
        self.run_moments(lambda borrower, donor: [f"agent-{borrower}", f"agent-{donor}", "agent-mgmt"], 1)

    def test_of_the_orchestrator(self):
        self.run_moments(lambda borrower, donor: ["memlaned"], 2)


if __name__ == "__main__":
    unittest.main()
