"""kill -9 at random moments of an attach and a detach; test_moments_agent.py and test_moments_orchestrator.py, side by side."""
import concurrent.futures
import os
import random
import threading
import time
import uuid

import patterns
from harness import GIB, Problem, Rack, eventually

MOMENTS = int(os.environ.get("MEMLANE_KILLS", "100"))  # of each kind
PAIRS = [("n1", "n4"), ("n2", "n5"), ("n3", "n6")]
LONGEST_S = 0.025  # an attach or detach takes less, mostly


def each():
    """Attaches, and detaches, of a pair."""
    return -(-MOMENTS // len(PAIRS))


class AtAnyMoment:
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
