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


class Refusals(unittest.TestCase):
    """Blocks that refuse: named with the kernel's reason, the others are offline all the same, and a retry ends it."""

    def test_busy_and_no_memory(self):
        with Rack("pair") as rack:
            for fault, words in ("ebusy", "busy"), ("enomem", "allocate"):
                with self.subTest(fault):
                    a = rack.attach("a", 1 * GIB)
                    block = int(a["physical_addr"], 16) // rack.node("a")["block_bytes"] + 1
                    rack.ctl("block", "a", str(block), fault)
                    rack.api.call("DELETE", f"/v1/attachments/{a['id']}?wait=30")
                    stuck = eventually("stuck", lambda: (x := rack.attachment(a["id"]))["state"] == "stuck" and x, 30)
                    self.assertIn(f"memory{block}", stuck["reason"])
                    self.assertIn(words, stuck["reason"])
                    self.assertEqual((stuck["blocks_online"], stuck["blocks_total"]), (1, 4))
                    rack.ctl("block", "a", str(block), "ok")
                    rack.api.call("POST", f"/v1/attachments/{a['id']}/retry")
                    eventually("detached", lambda: rack.attachment(a["id"])["state"] == "detached", 30)
            rack.assert_clean()


class Hang(unittest.TestCase):
    def test_a_block_that_hangs_delays_no_other_duty_of_its_node(self):
        """Both nodes lend and borrow: what a lends goes on while an offline of a hangs."""
        with Rack("pair") as rack:
            a = rack.attach("a", 1 * GIB)
            block = int(a["physical_addr"], 16) // rack.node("a")["block_bytes"] + 2
            rack.ctl("block", "a", str(block), "hang")
            rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
            eventually("it hangs", lambda: rack.attachment(a["id"])["blocks_online"] == 3, 20)
            began = time.monotonic()
            b = rack.attach("b", 1 * GIB)  # a's lender, a's channels
            rack.detach(b["id"])
            self.assertLess(time.monotonic() - began, 25, "the block's limit is 30 s")
            self.assertEqual(rack.attachment(a["id"])["state"], "detaching")
            rack.ctl("block", "a", str(block), "ok")
            eventually("detached", lambda: rack.attachment(a["id"])["state"] == "detached", 40)
            rack.assert_clean()


class Counters(unittest.TestCase):
    """What goes through a compute adapter is counted once, and reaches node and /metrics as totals."""

    def totals(self, rack):
        adapter = next(a for a in rack.node("a")["adapters"] if a["name"] == "afu0")
        self.assertTrue(adapter["emulated"])
        return adapter["flits_sent"], adapter["flits_received"], adapter["latency_samples"]

    def metrics(self, rack):
        status, _, text = rack.api.raw("GET", "/metrics")
        self.assertEqual(status, 200)
        found = re.findall(r'^memlane_adapter_(\w+)_total\{node="a",adapter="afu0",emulated="1"\} (\d+)$', text.decode(), re.M)
        numbers = {name: int(value) for name, value in found}
        return numbers["sent_flits"], numbers["received_flits"], numbers["latency_samples"]

    def moved(self, rack, before, by):
        want = tuple(b + m for b, m in zip(before, by))
        eventually(f"totals {want}", lambda: self.totals(rack) == want, 30)
        eventually(f"metrics {want}", lambda: self.metrics(rack) == want, 30)
        return want

    def test_totals_move_by_what_was_moved(self):
        with Rack("pair") as rack:
            a = rack.attach("a", 256 * MIB)
            address = int(a["physical_addr"], 16)
            at = self.moved(rack, (0, 0, 0), (4, 4, 2))  # the touch: a line read, and written back
            for i in range(10):
                rack.poke("a", address + 128 * i, bytes(128))
            at = self.moved(rack, at, (30, 10, 10))
            for i in range(7):
                rack.peek("a", address + 128 * i)
            at = self.moved(rack, at, (7, 21, 7))
            rack.ctl("load", "a", a["id"], "1MiB")
            eventually("traffic", lambda: self.totals(rack)[2] > at[2] + 1000, 30)
            rack.ctl("load", "a", a["id"], "0")
            for _ in range(2):  # what was moved until then has been sampled: the next agent finds nothing in the registers
                seen = rack.node("a")["last_seen_at"]
                eventually("a report", lambda: rack.node("a")["last_seen_at"] != seen, 30)
            rack.kill("agent-a")  # its totals begin anew: what Prometheus calls a reset
            eventually("a new agent's totals", lambda: self.totals(rack)[2] < at[2] + 1000 and rack.node("a")["state"] == "ready", 20)
            after = self.totals(rack)
            rack.peek("a", address)
            eventually("it goes on from there", lambda: self.totals(rack)[2] > after[2], 30)
            rack.detach(a["id"])


if __name__ == "__main__":
    unittest.main()
