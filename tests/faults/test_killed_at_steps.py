"""F1, F2: kill -9 of the orchestrator, or of the agent that is at it, at every step of an attach and of a detach."""
import time
import unittest

from faultrack import GIB, FaultRack, count, dice, record, trying

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
