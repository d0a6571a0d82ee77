"""F7, F15: agents that are slow or stopped, and wall clocks that jump.  The others are not affected; what waited goes on."""
import os
import pathlib
import signal
import time
import unittest

from faultrack import GIB, SECONDS, FaultRack, count, dice, eventually, has_failed, rack_for, record, star, trying

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
JUMPS = ("+1h", "-1h", "+10y", "-10y")


class Slow(unittest.TestCase):
    def setUp(self):
        self.rack = rack_for(self, FaultRack(star(4)))
        self.kept = self.rack.attach_somehow("n1", GIB, donor="n4")  # a section of its own

    def tearDown(self):
        if not has_failed(self):
            self.rack.detach_somehow(self.kept["id"])
            self.rack.judge()
            self.rack.assert_clean()

    def others(self):
        """Two nodes that have nothing to do with it go on as ever."""
        a = self.rack.attach_somehow("n3", GIB, donor="n4")
        self.rack.detach_somehow(a["id"])

    def stopped(self, random):
        """An agent that is stopped for so long that it is missed, in the middle of an order."""
        who, point, back = random.choice((("agent-n1", "map.before", False), ("agent-n2", "lend.before", False),
                                          ("agent-n1", "online.before", False), ("agent-n1", "offline.before", True),
                                          ("agent-n1", "park.after", True), ("agent-n2", "release.before", True)))
        made = self.rack.attach_somehow("n1", GIB, donor="n2")["id"] if back else None
        self.rack.arm(who, point, "stop")
        if back:
            self.rack.filled.pop(made)
            self.rack.api.call("DELETE", f"/v1/attachments/{made}")
        else:
            made = self.rack.post_somehow("n1", GIB, donor="n2")
        self.rack.await_hit(who, point)
        pid = self.rack.pid(who)
        try:
            eventually("it is missed", lambda: self.rack.node(who.removeprefix("agent-"))["state"] == "unreachable")
            self.others()
            self.assertEqual(self.rack.attachment(self.kept["id"])["state"], "attached")
            if random.random() < 0.4:  # until the attach's deadline; nothing is freed without proof
                eventually("it is not waited for any longer", lambda: self.rack.attachment(made)["state"] == "stuck" or
                           self.rack.attachment(made)["goal"] == "absent", 40)
                self.assertTrue(self.rack.attachment(made)["holds"])
        finally:
            os.kill(pid, signal.SIGCONT)
        self.end(made)

    def end(self, made):
        def look():
            a = self.rack.attachment(made)
            return a if a["state"] == "attached" or a["state"] in ("failed", "detached") and not a["holds"] else None
        a = eventually(f"{made} ended", look, 3 * SECONDS)
        if a["state"] == "attached":
            self.rack.fill(a)
            self.rack.judge()
            self.rack.detach_somehow(made)

    def slow(self, random):
        """Every answer of the node's hardware and files comes late."""
        node = random.choice(("n1", "n2"))
        self.rack.ctl("slow", node, random.randint(5, 30))
        try:
            made = self.rack.post_somehow("n1", GIB, donor="n2", seconds=3 * SECONDS)
            self.others()
            a = self.rack.settled(made, 3 * SECONDS)
            self.assertIn(a["state"], ("attached", "failed"), a["reason"])
        finally:
            self.rack.ctl("slow", node, 0)
        self.end(made)

    def hung(self, random):
        """The hardware does not answer at all.  The agent lives, and its last word is that it hangs: what it saw before is no
        news any more, though orders keep it busy with one failing access after the other.  Nothing of its node is freed."""
        a = self.rack.attach_somehow("n1", GIB, donor="n2")
        node = random.choice(("n1", "n2"))
        ordered = self.rack.post_somehow("n1", GIB, donor="n2")
        self.rack.ctl("slow", node, 5000)  # the agent is said to hang after 2 s
        try:
            eventually("it is missed", lambda: self.rack.node(node)["state"] == "unreachable", SECONDS)
            found = {f["code"]: f for f in self.rack.node(node)["findings"]}
            self.assertRegex(found["agent_stuck"]["detail"], "hangs in .* since ")
            self.others()
            self.rack.filled.pop(a["id"])
            self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
            self.assertEqual(set(self.rack.attachment(a["id"])["holds"]), {"n1", "n2"})
        finally:
            self.rack.ctl("slow", node, 0)
        eventually("it is back", lambda: self.rack.node(node)["state"] == "ready" and
                   "agent_stuck" not in {f["code"] for f in self.rack.node(node)["findings"]}, 2 * SECONDS)
        self.end(a["id"])
        self.end(ordered)

    def test_f7(self):
        began, random, n = time.monotonic(), dice("F7"), count(30, 300)
        for i in range(n):
            act = self.hung if i % 30 == 2 else (self.stopped, self.slow)[i % 2]
            with trying(f"{act.__name__}, round {i}"):
                act(random)
                self.rack.judge(3 * SECONDS)
        record("F7", n, began)


class JumpingRack(FaultRack):
    """Orchestrator, agents and lenders see a wall clock that a file sets."""

    def __init__(self, plan):
        super().__init__(plan, time_scale=0.5)  # a busy machine is no lease that ends
        self.clock = pathlib.Path(self.plan_dir.name, "clock")
        self.set_clock("+0")
        prefix = (f"env LD_PRELOAD={LIBRARY} FAKETIME_TIMESTAMP_FILE={self.clock} FAKETIME_NO_CACHE=1 "
                  "FAKETIME_DONT_FAKE_MONOTONIC=1")
        self.options += ["--memlaned-prefix", prefix, "--agent-prefix", prefix]

    def set_clock(self, text):
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(text + "\n")
        fresh.rename(self.clock)


@unittest.skipUnless(os.path.exists(LIBRARY), "needs libfaketime")
class Clocks(unittest.TestCase):
    def test_f15(self):
        began, random, n = time.monotonic(), dice("F15"), count(10, 50)
        with JumpingRack(star(3)) as rack:
            kept = rack.attach_somehow("n1", GIB, donor="n2")
            for i in range(n):
                jump = random.choice(JUMPS)
                with trying(f"jump {i}: {jump}"):
                    before = self.counts(rack)
                    waiting = rack.post_somehow("n3", GIB, donor="n2")
                    rack.set_clock(jump)
                    self.assertEqual(rack.settled(waiting, SECONDS)["state"], "attached")
                    rack.detach_somehow(waiting)
                    self.reported(rack)
                    self.assertEqual(self.counts(rack), before, "a lease ended")
                    self.assertEqual(rack.attachment(kept["id"])["state"], "attached")
                    rack.judge()
                    rack.set_clock("+0")
            rack.detach_somehow(kept["id"])
            rack.judge()
            rack.assert_clean()
        record("F15", n, began)

    @staticmethod
    def counts(rack):
        """How often any node was missed so far."""
        return sum(e["type"] == "node.state" and e["to"] == "unreachable" for e in list(rack.reader.events))

    @staticmethod
    def reported(rack):
        """Every node has reported twice under the new clock."""
        for _ in range(2):
            seen = {n["name"]: n["last_seen_at"] for n in rack.api.items("/v1/nodes")}
            eventually("all have reported", lambda: all(n["last_seen_at"] != seen[n["name"]] for n in rack.api.items("/v1/nodes")))


if __name__ == "__main__":
    unittest.main()
