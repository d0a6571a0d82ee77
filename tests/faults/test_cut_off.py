"""F5, F6: an agent is cut off in the middle of an attach or detach, for longer than it takes to be missed; its answers are lost while
its requests pass; its link flaps.  Nothing is freed meanwhile; when it is back the work is finished or undone, once."""
import threading
import time
import unittest

import netns
from faultrack import GIB, TIME_SCALE, TIMES, FaultRack, count, dice, eventually, has_failed, rack_for, record, star, trying

CUT_S = 60  # scaled
PROMISED_S = 10  # after a node's return
BACK_S = TIMES * PROMISED_S
ENDS = ("attached", "failed", "detached")
FORTH = (("agent-n2", "lend.after"), ("agent-n1", "map.before"), ("agent-n1", "map.after"), ("agent-n1", "child.online"),
         ("agent-n1", "online.after"), ("agent-n1", "report.before"), ("agent-n2", "report.before"), ("agent-mgmt", "join.after"))
BACK = (("agent-n1", "child.offline"), ("agent-n1", "quiesce.after"), ("agent-n1", "park.after"), ("agent-n2", "release.before"),
        ("agent-n2", "release.after"), ("agent-mgmt", "part.after"), ("agent-n1", "down.after"))


def setUpModule():
    if not netns.possible():
        raise unittest.SkipTest("needs root, iproute2 and nftables")
    netns.enter()


class OnANetwork(unittest.TestCase):
    time_scale = TIME_SCALE

    def setUp(self):
        plan = star(3)
        self.net = netns.Network(plan)
        self.addCleanup(self.net.close)
        self.rack = rack_for(self, FaultRack(plan, self.net.options(), self.time_scale))
        self.kept = self.rack.attach_somehow("n3", GIB, donor="n2")
        self.mine = self.rack.attach_somehow("n1", GIB, donor="n3")  # of the node that is cut off, mostly

    def tearDown(self):
        if not has_failed(self):
            for a in (self.kept, self.mine):
                self.rack.detach_somehow(a["id"])
            self.rack.judge()
            self.all_is_as_before()

    def all_is_as_before(self):
        self.rack.assert_clean()

    def in_the_middle(self, random):
        """(id, node): an attach or a detach stands at a point of that node's agent."""
        who, point = random.choice(FORTH + BACK)
        forth = (who, point) in FORTH and random.random() < 0.5 or (who, point) not in BACK
        if not forth:
            made = self.rack.attach_somehow("n1", GIB, donor="n2")["id"]
            self.rack.filled.pop(made)
        heartbeat = point == "report.before"  # gets there by itself, and the node would be missed before the attach is decided
        if forth and heartbeat:
            made = self.rack.post_somehow("n1", GIB, donor="n2")
        self.rack.arm(who, point, "wait")
        if forth and not heartbeat:
            made = self.rack.post_somehow("n1", GIB, donor="n2")
        if not forth:
            self.rack.api.call("DELETE", f"/v1/attachments/{made}")
        self.rack.await_hit(who, point)
        self.point = (who, point)
        return made, who.removeprefix("agent-"), forth

    def finish(self, made, forth, since):
        """Finished, or undone, in time after 'since', the node's return; then all of it is given back."""
        def look():
            a = self.rack.attachment(made)
            return a if a["state"] in ENDS and (a["state"] == "attached" or not a["holds"]) else None
        a = eventually(f"{made} ended", look, BACK_S)
        if a["state"] == "attached":
            self.assertTrue(forth, "a detach ended attached")
            self.rack.fill(a)
        self.rack.judge_since(since, PROMISED_S)
        if a["state"] == "attached":
            self.rack.detach_somehow(made)
            self.rack.judge(BACK_S)

    def cut_off(self, name, n):
        began, random, cut_s = time.monotonic(), dice(name), CUT_S * self.time_scale
        for i in range(n):
            made, node, forth = self.in_the_middle(random)
            with trying(f"round {i}: {node} cut off at {self.point}"):
                self.net.cut(node)
                self.rack.let_go(*self.point)
                cut_at = time.monotonic()
                eventually("it is missed", lambda: self.rack.node(node)["state"] == "unreachable", BACK_S)
                held = self.rack.attachment(made)
                buffers = {p.name for p in self.rack.dir.glob("nodes/*/buffers/*")}
                eventually("the time is over", lambda: time.monotonic() - cut_at > cut_s, cut_s + 5)
                for a in (self.kept, self.mine):
                    now = self.rack.attachment(a["id"])
                    self.assertEqual((now["state"], len(now["holds"])), ("attached", 2))
                if node == "n1" and held["holds"]:  # without its word, nothing that it may reach is freed
                    self.assertLessEqual(buffers, {p.name for p in self.rack.dir.glob("nodes/*/buffers/*")})
                self.net.mend(node)
                self.finish(made, forth, time.time())
        record(name, n, began, self.rack.converged)


class CutOff(OnANetwork):
    def test_f5_cut_off(self):
        self.cut_off("F5", count(20, 200))

    def test_f6_answers_lost(self):
        began, random, n = time.monotonic(), dice("F6"), count(10, 100)
        for i in range(n):
            made, node, forth = self.in_the_middle(random)
            with trying(f"round {i}: answers to {node} lost at {self.point}"):
                self.net.lose_answers(node)
                self.rack.let_go(*self.point)
                lost_at, long = time.monotonic(), random.random() * CUT_S * TIME_SCALE
                eventually("the time is over", lambda: time.monotonic() - lost_at > long, long + 5)
                self.net.mend(node)
                self.finish(made, forth, time.time())
        record("F6", n, began, self.rack.converged)

    def test_f6_flapping(self):
        began, random, n = time.monotonic(), dice("F6 flapping"), count(10, 100)
        for i in range(n):
            node, over = random.choice(("n1", "n2", "mgmt")), threading.Event()

            def flap():
                while not over.wait(random.random() * 0.15):
                    self.net.cable(node, False)
                    over.wait(random.random() * 0.1)
                    self.net.cable(node, True)
            with trying(f"round {i}: the link of {node} flaps"):
                thread = threading.Thread(target=flap)
                thread.start()
                try:
                    made = self.rack.post_somehow("n1", GIB, donor="n2", seconds=60)
                    a = self.rack.settled(made, 60)
                    if a["state"] == "attached":
                        self.rack.api.call("DELETE", f"/v1/attachments/{made}")
                finally:
                    over.set()
                    thread.join()
                    self.net.cable(node, True)
                    back_at = time.time()
                self.finish(made, False, back_at)
        record("F6", n, began, self.rack.converged)


class CutOffByTheRealClock(OnANetwork):
    """A minute is one for TCP's pauses between retransmissions, too, which no option scales."""
    time_scale = 1

    def all_is_as_before(self):
        self.rack.assert_hardware_idle()  # the connection that was cut is given up by its silence, after a minute and a half

    def test_f5_for_a_minute(self):
        self.cut_off("F5 real clock", count(1, 10))


if __name__ == "__main__":
    unittest.main()
