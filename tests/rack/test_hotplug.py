"""Memory blocks of a compute node that behave as real kernels do: the auto-online policies, blocks that refuse or hang,
progress, the counters, and what an agent and a lender weigh.
"""
import re
import time
import unittest

from harness import GIB, MIB, Rack, eventually


class AutoOnline(unittest.TestCase):
    """Whatever the kernel's policy does with a new block: in the end every block is in zone Movable."""

    def test_every_policy(self):
        with Rack("pair") as rack:
            system = rack.dir / "nodes" / "a" / "sys" / "devices" / "system" / "memory"
            for policy in "online_movable", "online", "online_kernel", "offline":
                with self.subTest(policy):
                    (system / "auto_online_blocks").write_text(policy + "\n")
                    a = rack.attach("a", 1 * GIB)
                    first = int(a["physical_addr"], 16) // rack.node("a")["block_bytes"]
                    for block in range(first, first + a["blocks_total"]):
                        self.assertEqual((system / f"memory{block}" / "state").read_text(), "online\n")
                        self.assertEqual((system / f"memory{block}" / "valid_zones").read_text(), "Movable\n")
                    self.assertEqual(rack.detach(a["id"])["state"], "detached")
            rack.assert_clean()


if __name__ == "__main__":
    unittest.main()
