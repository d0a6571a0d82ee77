"""F1, F2, F3: kill -9 of the orchestrator, or of the agent that is at it, at every step of an attach and of a detach; and once more
while it recovers."""
import threading
import time
import unittest

from faultrack import GIB, MODE, SECONDS, FaultRack, count, dice, record, trying

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


def orchestrator_points(steps, sent):
    return [("memlaned", f"{moment}.{step}") for step in steps for moment in MOMENTS] + [("memlaned", s) for s in sent]


def agent_points(steps, single):
    return [(who, f"{step}.{when}") for who, step in steps for when in ("before", "after")] + list(single)


class KilledAtSteps(unittest.TestCase):
    """One attachment stays all the time; a second one comes and goes, and something is killed at each of its steps."""

    def run_points(self, forth, back, times, seed):
        random = dice(seed)
        forth, back = forth * times, back * times
        random.shuffle(forth)
        random.shuffle(back)
        if MODE == "tenth":
            forth, back = forth[:len(forth) * 3 // 10], back[:len(back) * 3 // 10]
        rounds = max(len(forth), len(back))
        with FaultRack() as rack:
            kept = rack.attach_somehow("n1", SIZE, donor="n3")
            for i in range(rounds):
                self.round(rack, forth[i % len(forth)], back[i % len(back)])
            rack.detach_somehow(kept["id"])
            rack.judge()
            rack.assert_clean()
        return 2 * rounds

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
        who, name = point
        rack.await_hit(who, name.removeprefix("skip "))
        rack.judge()

    def second_kill(self, rack, first, random):
        """As soon as the first happened: at a point of its way back, or a moment later."""
        who = random.choice((first[0], *PROGRAMS))
        name, delay = random.choice(RECOVERING), random.random() * 0.15
        at_point = who != "memlaned" and random.random() < 0.6

        def run():
            rack.await_hit(first[0], first[1].removeprefix("skip "), 2 * SECONDS)
            if at_point:
                rack.arm(who, name, "kill")
            else:
                threading.Event().wait(delay)
                rack.kill(who)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread, f"{who} at {name if at_point else f'{delay:.3f} s'}"

    def twice(self, rack, point, random, act):
        self.arm(rack, point)
        thread, second = self.second_kill(rack, point, random)
        with trying(f"killed at {point}, then {second}"):
            answer = act()
            thread.join(2 * SECONDS)
            self.assertFalse(thread.is_alive())
            self.twice_killed += not rack.disarm()  # the second may not have come by
            rack.judge()
        return answer

    def test_f3_again_during_recovery(self):
        began, random, n = time.monotonic(), dice("F3"), count(100, 2000)
        forth = orchestrator_points(FORTH, SENT_FORTH) + agent_points(AGENTS_FORTH, SINGLE_FORTH)
        back = orchestrator_points(BACK, SENT_BACK) + agent_points(AGENTS_BACK, SINGLE_BACK)
        self.twice_killed = 0
        with FaultRack() as rack:
            kept = rack.attach_somehow("n1", SIZE, donor="n3")
            for _ in range((n + 1) // 2):
                a = self.twice(rack, random.choice(forth), random, lambda: rack.attach_somehow("n1", SIZE, donor="n2"))
                self.twice(rack, random.choice(back), random, lambda: rack.detach_somehow(a["id"]))
            rack.detach_somehow(kept["id"])
            rack.judge()
            rack.assert_clean()
        self.assertGreater(self.twice_killed, n // 4, "too few second kills happened")  # about four fifths do; a tenth is 10 throws
        record("F3", n, began)

    def test_f1_of_the_orchestrator(self):
        began = time.monotonic()
        done = self.run_points(orchestrator_points(FORTH, SENT_FORTH), orchestrator_points(BACK, SENT_BACK), count(3, 50), "F1")
        record("F1", done, began)

    def test_f2_of_the_agents(self):
        began = time.monotonic()
        done = self.run_points(agent_points(AGENTS_FORTH, SINGLE_FORTH), agent_points(AGENTS_BACK, SINGLE_BACK), count(3, 50), "F2")
        record("F2", done, began)


if __name__ == "__main__":
    unittest.main()
