"""F1, F2, F3: kill -9 of the orchestrator, or of the agent that is at it, at every step of an attach and of a detach; and once more
while it recovers."""
import concurrent.futures
import threading
import time
import unittest

from faultrack import GIB, MODE, SECONDS, TIME_SCALE, FaultRack, count, dice, record, trying

SIZE = GIB  # four blocks

# What the orchestrator commits on the way: at each of these before the commit, after it, and after publishing.
FORTH = ("do.lend", "do.connect", "do.map", "do.online", "pending.attached")
BACK = ("attached.detaching", "undo.online", "undo.map", "undo.connect", "undo.lend", "detaching.detached")
MOMENTS = ("before", "committed", "published")
SENT_FORTH = ("sent.POST_v1_attachments", "sent.GET_v1_agents_{name}_desired", "sent.PUT_v1_agents_{name}_observed")
SENT_BACK = ("sent.DELETE_v1_attachments_{id}", *SENT_FORTH[1:])

# What the agents of borrower n1, donor n2 and switch manager do; each has a point before and after it.
AGENTS_FORTH = (("agent-n2", "lend"), ("agent-n2", "up"), ("agent-mgmt", "join"), ("agent-n1", "up"), ("agent-n1", "map"),
                ("agent-n1", "online"))
AGENTS_BACK = (("agent-n1", "offline"), ("agent-n1", "park"), ("agent-n1", "down"), ("agent-n2", "down"), ("agent-mgmt", "part"),
               ("agent-n2", "release"))
SINGLE_FORTH = (("agent-n1", "child.online"), ("agent-n1", "skip child.online"), ("agent-n1", "report.before"),
                ("agent-n2", "report.after"), ("agent-n1", "desired.taken"), ("agent-n2", "desired.taken"))
SINGLE_BACK = (("agent-n1", "child.offline"), ("agent-n1", "skip child.offline"), ("agent-n1", "quiesce.after"),
               ("agent-n2", "report.before"), ("agent-n1", "report.after"), ("agent-mgmt", "desired.taken"))


# Where the second kill meets whoever comes back, or has to do with it.
RECOVERING = ("register.before", "register.after", "desired.taken", "report.before", "report.after")
PROGRAMS = ("memlaned", "agent-n1", "agent-n2", "agent-mgmt")


class SecondKill:
    """As soon as the first happened: at a point of the way back, or a moment later."""

    def __init__(self, rack, first, random):
        self.rack, self.first = rack, (first[0], first[1].removeprefix("skip "))
        self.who = random.choice((first[0], *PROGRAMS))
        self.point, self.delay = random.choice(RECOVERING), random.random() * 0.15
        self.at_point = self.who != "memlaned" and random.random() < 0.6
        self.happened, self.killed_at = False, None

    def __str__(self):
        return f"{self.who} at {self.point if self.at_point else f'{self.delay:.3f} s'}"

    def follow(self):
        """In a thread, until it is done or prepared."""
        self.rack.await_hit(*self.first, 2 * SECONDS)
        self.killed_at = self.rack.hit_at(*self.first)
        if self.at_point:
            self.rack.arm(self.who, self.point, "kill")
            return
        threading.Event().wait(self.delay)
        self.rack.kill(self.who)
        self.happened, self.killed_at = True, time.time()

    def last_kill(self):
        """When it was (time.time()); the first one, if the second did not happen."""
        if self.at_point and self.rack.hit(self.who, self.point):
            self.happened, self.killed_at = True, self.rack.hit_at(self.who, self.point)
        return self.killed_at


def orchestrator_points(steps, sent):
    return [("memlaned", f"{moment}.{step}") for step in steps for moment in MOMENTS] + [("memlaned", s) for s in sent]


def agent_points(steps, single):
    return [(who, f"{step}.{when}") for who, step in steps for when in ("before", "after")] + list(single)


class KilledAtSteps(unittest.TestCase):
    """One attachment stays all the time; a second one comes and goes, and something is killed at each of its steps."""

    def run_points(self, fault, forth, back, rounds=None, time_scale=TIME_SCALE):
        """Each of them count(3, 50) times; or just so many rounds."""
        began, random, times = time.monotonic(), dice(fault), count(3, 50)
        forth, back = forth * times, back * times
        random.shuffle(forth)
        random.shuffle(back)
        if MODE == "tenth":
            forth, back = forth[:len(forth) * 3 // 10], back[:len(back) * 3 // 10]
        rounds = rounds or max(len(forth), len(back))
        with FaultRack(time_scale=time_scale) as rack:
            kept = rack.attach_somehow("n1", SIZE, donor="n3")
            for i in range(rounds):
                self.round(rack, forth[i % len(forth)], back[i % len(back)])
            rack.detach_somehow(kept["id"])
            rack.judge()
            rack.assert_clean()
        record(fault, 2 * rounds, began, rack.converged)

    def round(self, rack, forth, back):
        self.arm(rack, forth)
        with trying(f"attach, killed at {forth}"):
            a = rack.attach_somehow("n1", SIZE, donor="n2")
            self.end(rack, forth)
        self.arm(rack, back)
        with trying(f"detach, killed at {back}"):
            rack.detach_somehow(a["id"])
            self.end(rack, back)

    @staticmethod
    def arm(rack, point):
        who, name = point
        order = "kill-parent" if "child." in name else "kill"
        rack.arm(who, name.removeprefix("skip "), f"skip 2 {order}" if name.startswith("skip ") else order)

    def end(self, rack, point):
        who, name = point[0], point[1].removeprefix("skip ")
        rack.await_hit(who, name)
        rack.judge_since(rack.hit_at(who, name))

    def twice(self, rack, point, random, act):
        self.arm(rack, point)
        second = SecondKill(rack, point, random)
        with trying(f"killed at {point}, then {second}"), concurrent.futures.ThreadPoolExecutor(1) as thread:
            following = thread.submit(second.follow)
            answer = act()
            following.result()
            killed_at = second.last_kill()
            rack.disarm()  # nobody may have come by there
            rack.judge_since(killed_at)
        self.twice_killed += second.happened
        return answer

    def test_f3_again_during_recovery(self):
        began, random, n, rounds = time.monotonic(), dice("F3"), count(100, 2000), 0
        forth = orchestrator_points(FORTH, SENT_FORTH) + agent_points(AGENTS_FORTH, SINGLE_FORTH)
        back = orchestrator_points(BACK, SENT_BACK) + agent_points(AGENTS_BACK, SINGLE_BACK)
        self.twice_killed = 0
        with FaultRack() as rack:
            kept = rack.attach_somehow("n1", SIZE, donor="n3")
            while self.twice_killed < n and rounds < 3 * n:  # about four fifths of the second kills happen
                a = self.twice(rack, random.choice(forth), random, lambda: rack.attach_somehow("n1", SIZE, donor="n2"))
                self.twice(rack, random.choice(back), random, lambda: rack.detach_somehow(a["id"]))
                rounds += 2
            rack.detach_somehow(kept["id"])
            rack.judge()
            rack.assert_clean()
        self.assertGreaterEqual(self.twice_killed, n, f"too few second kills happened in {rounds} rounds")
        record("F3", self.twice_killed, began, rack.converged)

    def test_f1_of_the_orchestrator(self):
        self.run_points("F1", orchestrator_points(FORTH, SENT_FORTH), orchestrator_points(BACK, SENT_BACK))

    def test_f2_of_the_agents(self):
        self.run_points("F2", agent_points(AGENTS_FORTH, SINGLE_FORTH), agent_points(AGENTS_BACK, SINGLE_BACK))

    def test_f1_f2_by_the_real_clock(self):
        """The bound is the same, and no time limit or pause of the product is scaled."""
        self.run_points("F1 real clock", orchestrator_points(FORTH, SENT_FORTH), orchestrator_points(BACK, SENT_BACK), count(2, 20), 1)
        self.run_points("F2 real clock", agent_points(AGENTS_FORTH, SINGLE_FORTH), agent_points(AGENTS_BACK, SINGLE_BACK), count(2, 20), 1)


if __name__ == "__main__":
    unittest.main()
