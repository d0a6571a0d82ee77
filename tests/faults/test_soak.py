"""F25: 64 agents, two attachments a second, random faults; descriptors, threads and memory stay flat."""
import time
import unittest

import soaking
from faultrack import count, record


class Soak(unittest.TestCase):
    def test_f25(self):
        began, seconds = time.monotonic(), max(30, count(90, 7200))
        soaking.run(seconds)
        record("F25", f"{seconds} s", began)


if __name__ == "__main__":
    unittest.main()
