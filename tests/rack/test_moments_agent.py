"""kill -9 of an agent at random moments of an attach and a detach."""
# Slow: most of it is waiting for what was killed.
import unittest

from moments import AtAnyMoment


class Moments(AtAnyMoment, unittest.TestCase):
    def test_of_an_agent(self):
        self.run_moments(lambda borrower, donor: [f"agent-{borrower}", f"agent-{donor}", "agent-mgmt"], 1)


if __name__ == "__main__":
    unittest.main()
