"""F22: blocks that refuse to go offline, or to come online, half of them, and one that hangs, in a child that can be killed or in
one that cannot.  What is left is a legal state that is shown; retry and cancel work; the donor keeps the buffer as long as a single
block is online, or may come online."""
import time
import unittest

from faultrack import GIB, SECONDS, FaultRack, count, dice, eventually, has_failed, rack_for, record, trying

BLOCKS = 8
SIZE = BLOCKS * GIB // 4


class Blocks(unittest.TestCase):
    def setUp(self):
        self.rack = rack_for(self, FaultRack())
        self.kept = self.rack.attach_somehow("n1", GIB, donor="n2")  # shares the circuit
        self.bad = []

    def tearDown(self):
        if not has_failed(self):
            self.rack.detach_somehow(self.kept["id"])
            self.rack.judge()
            self.rack.assert_clean()

    def spoil(self, a, blocks, how):
        first = int(a["physical_addr"], 16) // self.rack.block
        for i in blocks:
            self.rack.ctl("block", "n1", first + i, how)
            self.bad.append(first + i)

    def heal(self):
        for block in self.bad:
            self.rack.ctl("block", "n1", block, "ok")
        self.bad = []

    def detach_and_stick(self, a, n_left):
        self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
        stuck = eventually("it is stuck", lambda: self.stuck(a["id"]))
        self.assertEqual(stuck["blocks_online"], n_left, stuck["reason"])
        self.assertIn("online", stuck["reason"])
        self.assertEqual(set(stuck["holds"]), {"n1", "n2"})
        self.assertTrue(self.rack.buffer_file(a).exists(), "released under blocks that are online")
        self.assertNotEqual(self.rack.register("n1", "afu0", 0x20 + 8 * a["section"]) >> 60, 4, "parked under blocks that are online")
        return stuck

    def stuck(self, made):
        a = self.rack.attachment(made)
        return a if a["state"] == "stuck" else None

    def some(self, random):
        return random.sample(range(BLOCKS), random.choice((1, BLOCKS // 2, BLOCKS)))

    def healed_by_itself(self, random):
        a = self.rack.attach_somehow("n1", SIZE, donor="n2")
        blocks = self.some(random)
        self.spoil(a, blocks, "ebusy")
        self.detach_and_stick(a, len(blocks))
        self.heal()
        self.ends_detached(a)

    def ends_detached(self, a):
        self.rack.filled.pop(a["id"])
        ended = eventually("it is detached", lambda: self.in_state(a, "detached"), SECONDS)
        self.assertEqual(ended["holds"], [])
        self.assertFalse(self.rack.buffer_file(a).exists())

    def in_state(self, a, state):
        now = self.rack.attachment(a["id"])
        return now if now["state"] == state else None

    def retried(self, random):
        a = self.rack.attach_somehow("n1", SIZE, donor="n2")
        blocks = self.some(random)
        self.spoil(a, blocks, "ebusy")
        self.detach_and_stick(a, len(blocks))
        self.heal()
        eventually("retry is taken, or not needed any more", lambda: self.retry(a))
        self.ends_detached(a)

    def retry(self, a):
        if self.rack.attachment(a["id"])["state"] in ("detaching", "detached"):
            return True
        return self.rack.api.call("POST", f"/v1/attachments/{a['id']}/retry")

    def cancelled(self, random):
        a = self.rack.attach_somehow("n1", SIZE, donor="n2")
        blocks = self.some(random)
        self.spoil(a, blocks, "ebusy")
        self.detach_and_stick(a, len(blocks))
        self.rack.api.call("POST", f"/v1/attachments/{a['id']}/cancel")
        self.heal()
        again = eventually("it is attached again", lambda: self.in_state(a, "attached"), SECONDS)
        self.assertEqual(again["blocks_online"], BLOCKS)
        self.rack.judge()  # with what was written before the detach
        self.rack.detach_somehow(a["id"])

    def hanging(self, random):
        a = self.rack.attach_somehow("n1", SIZE, donor="n2")
        self.spoil(a, [random.randrange(BLOCKS)], "hang")
        self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
        eventually("some are offline", lambda: self.rack.attachment(a["id"])["blocks_online"] < BLOCKS or self.stuck(a["id"]))
        self.assertTrue(self.rack.buffer_file(a).exists())
        other = self.rack.attach_somehow("n3", GIB, donor="n2", fill=False)  # others are not affected
        self.rack.detach_somehow(other["id"])
        if random.random() < 0.5:
            eventually("it is stuck", lambda: self.stuck(a["id"]), 40)
        self.assertTrue(self.rack.buffer_file(a).exists(), "released while a block hangs")
        self.heal()
        self.ends_detached(a)

    def child_killed(self, random):
        """The hot-plug child dies on the way: the order failed, is shown, and tried again."""
        a = self.rack.attach_somehow("n1", SIZE, donor="n2")
        self.rack.arm("agent-n1", "child.offline", f"skip {random.randrange(BLOCKS)} kill")
        self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
        self.rack.await_hit("agent-n1", "child.offline")
        self.ends_detached(a)

    def not_coming_online(self, random):
        """A failed attach is undone in whole."""
        probe = self.rack.attach_somehow("n1", SIZE, donor="n2", fill=False)
        self.rack.detach_somehow(probe["id"])
        self.spoil(probe, [random.randrange(BLOCKS)], "enomem")
        made = self.rack.post_somehow("n1", SIZE, donor="n2")
        a = self.rack.settled(made, SECONDS)
        self.assertEqual(a["state"], "failed", a["reason"])
        self.assertEqual(a["holds"], [])
        self.assertIn("online", a["reason"])
        self.heal()

    def wedged(self, random):
        """In the kernel, where SIGKILL does not reach the child: its block may come online whenever the kernel is back."""
        probe = self.rack.attach_somehow("n1", SIZE, donor="n2", fill=False)
        self.rack.detach_somehow(probe["id"])
        index = random.choice((0, random.randrange(BLOCKS)))
        self.spoil(probe, [index], "wedge")
        made = self.rack.post_somehow("n1", SIZE, donor="n2")
        a = eventually("it is stuck", lambda: self.stuck(made), 40)
        self.assertRegex(a["reason"], rf"memory{self.bad[0]}: process \d+ hangs in the kernel since \d+-")
        self.assertEqual(set(a["holds"]), {"n1", "n2"})
        self.stays_mapped(a)
        self.retry(a)
        a = eventually("it is stuck again", lambda: self.stuck(made), 40)
        self.stays_mapped(a)
        self.heal()
        ended = eventually("it is undone", lambda: self.in_state(a, "failed"), SECONDS)
        self.assertEqual(ended["holds"], [])
        self.assertFalse(self.rack.buffer_file(a).exists())

    def stays_mapped(self, a):
        self.assertTrue(self.rack.buffer_file(a).exists(), "released under a child that hangs")
        self.assertNotEqual(self.rack.register("n1", "afu0", 0x20 + 8 * a["section"]) >> 60, 4, "parked under a child that hangs")

    def given_up_on_the_way(self, random):
        """A detach that is cancelled while its child is at a block: the child is ended, nobody waits for its deadline."""
        a = self.rack.attach_somehow("n1", SIZE, donor="n2")
        self.spoil(a, [random.randrange(BLOCKS)], "hang")
        self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
        eventually("it hangs", lambda: self.rack.ctl("status")["hanging_writes"] == 1)
        self.rack.api.call("POST", f"/v1/attachments/{a['id']}/cancel")
        eventually("it is attached again", lambda: self.in_state(a, "attached"), SECONDS)
        self.assertEqual(self.rack.ctl("status")["hanging_writes"], 0)
        self.heal()
        self.rack.judge()
        self.rack.detach_somehow(a["id"])

    def test_f22(self):
        began, random, n = time.monotonic(), dice("F22"), count(30, 300)
        acts = [self.healed_by_itself, self.retried, self.cancelled, self.hanging, self.child_killed, self.not_coming_online,
                self.wedged, self.given_up_on_the_way]
        for i in range(n):
            act = acts[i % len(acts)]
            with trying(f"{act.__name__}, round {i}"):
                act(random)
                self.rack.judge()
        record("F22", n, began)


if __name__ == "__main__":
    unittest.main()
