"""kill -9 of the orchestrator at random moments of an attach and a detach."""
# Slow: most of it is waiting for what was killed.
import unittest

from moments import AtAnyMoment


class Moments(AtAnyMoment, unittest.TestCase):
    def test_of_the_orchestrator(self):
        self.run_moments(lambda borrower, donor: ["memlaned"], 2)


if __name__ == "__main__":
    unittest.main()
