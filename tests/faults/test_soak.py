"""F25: 64 agents, two attachments a second, random faults; descriptors, threads and memory stay flat."""
import time
import unittest

import soaking
from faultrack import GIB, FaultRack, count, record, star


class Soak(unittest.TestCase):
    def test_f25(self):
        began, seconds = time.monotonic(), max(30, count(90, 7200))
        soaking.run(seconds)
        record("F25", f"{seconds} s", began)


class Figures(unittest.TestCase):
    def test_what_a_lender_holds_is_no_leak(self):
        with FaultRack(star(2)) as rack:
            before = soaking.figures(rack)
            held = [rack.attach_somehow("n1", GIB, donor="n2", fill=False) for _ in range(4)]
            self.assertEqual(soaking.compare(before, soaking.figures(rack)), [])
            for a in held:
                rack.detach_somehow(a["id"])
            rack.judge()
            self.assertEqual(soaking.compare(before, soaking.figures(rack)), [])


if __name__ == "__main__":
    unittest.main()
