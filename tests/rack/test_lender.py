"""A lender that dies, hangs, or is asked to end, in a whole rack."""
import os
import pathlib
import signal
import unittest

from harness import GIB, Rack, eventually


def lender_pid(rack, node, adapter="afu1"):
    """The process that holds the adapter's lock; None while there is none."""
    name = f"{rack.dir}/nodes/{node}/run"
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"memlane-lender") and name.encode() in words and adapter.encode() in words:
            return int(path.parent.name)
    return None


def adapter(rack, node, name="afu1"):
    return next(a for a in rack.node(node)["adapters"] if a["name"] == name)


class Lender(unittest.TestCase):
    def test_one_that_dies_is_started_again_without_any_order(self):
        with Rack("pair") as rack:
            first = eventually("a lender", lambda: lender_pid(rack, "b"))
            os.kill(first, signal.SIGKILL)
            eventually("another lender", lambda: (lender_pid(rack, "b") or first) != first, 30)
            eventually("a well adapter", lambda: adapter(rack, "b")["ok"], 30)
            a = rack.attach("a", GIB)
            rack.detach(a["id"])

    def test_what_a_dead_one_had_lent_is_lost_and_said_at_once(self):
        with Rack("pair", check_trace=False) as rack:
            a = rack.attach("a", GIB)
            os.kill(lender_pid(rack, "b"), signal.SIGKILL)
            lost = eventually("lost", lambda: (x := rack.attachment(a["id"]))["state"] == "lost" and x, 20)
            self.assertTrue(lost["reason"])
            self.assertIn("lender.lost", (rack.dir / "log" / "agent-b.log").read_text())

    def test_one_that_hangs_is_an_adapter_that_does_not_answer(self):
        with Rack("pair") as rack:
            pid = eventually("a lender", lambda: lender_pid(rack, "b"))
            os.kill(pid, signal.SIGSTOP)
            try:
                seen = eventually("said", lambda: not (x := adapter(rack, "b"))["ok"] and x, 30)
                self.assertIn("does not answer", seen["error"])
                self.assertEqual(rack.node("b")["state"], "ready")
            finally:
                os.kill(pid, signal.SIGCONT)
            eventually("well again", lambda: adapter(rack, "b")["ok"], 40)
            self.assertEqual(lender_pid(rack, "b"), pid)

    def test_it_refuses_to_end_while_it_holds_buffers_and_weighs_little(self):
        with Rack("pair") as rack:
            pid = eventually("a lender", lambda: lender_pid(rack, "b"))
            anonymous = [int(line.split()[1]) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
                         if line.startswith("RssAnon")][0]
            self.assertLess(anonymous, 1024, "kB of private memory, without buffers")
            a = rack.attach("a", GIB)
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGHUP)
            rack.poke("a", int(a["physical_addr"], 16), b"x" * 128)
            self.assertEqual(rack.peek("a", int(a["physical_addr"], 16))[:1], b"x")
            self.assertEqual(lender_pid(rack, "b"), pid)
            rack.detach(a["id"])


if __name__ == "__main__":
    unittest.main()
