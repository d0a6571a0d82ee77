"""F28: a report of an agent that was killed arrives after its successor's, and a hot-plug child of a killed agent hangs in the
kernel until after its successor started.  The report is refused, the child is waited for, nothing is released early."""
import json
import time
import unittest

from faultrack import GIB, SECONDS, FaultRack, count, dice, eventually, has_failed, rack_for, record, trying
from proxy import Proxy

BLOCKS = 4


class Late(unittest.TestCase):
    def setUp(self):
        self.rack = FaultRack()
        self.proxy = Proxy(self.rack.listening_port)
        self.addCleanup(self.proxy.close)
        self.rack.options += ["--agent=--url", f"--agent=http://127.0.0.1:{self.proxy.port}"]
        rack_for(self, self.rack)

    def tearDown(self):
        if not has_failed(self):
            self.rack.judge()
            self.rack.assert_clean()

    def hold_report(self, node, says=lambda report: True):
        return self.proxy.hold(lambda r: r.method == "PUT" and r.node == node and says(json.loads(r.body)))

    def successor(self, node):
        """Another agent has registered, and reported."""
        before = self.rack.node(node)["last_seen_at"]
        self.rack.kill(f"agent-{node}")
        self.back_at = time.time()
        eventually(f"a successor on {node} reported", lambda: self.rack.node(node)["last_seen_at"] > before
                   and self.rack.node(node)["state"] == "ready", SECONDS)

    def too_late(self, held):
        self.assertEqual(held.wait().deliver(), 409, "a report of a session that is over was taken")

    # ---- reports

    def proof_of_a_detach_that_was_cancelled(self, random):
        """The worst one: it says that all is offline and quiesced, in answer to the tombstone, and it was true once."""
        a = self.rack.attach_somehow("n1", GIB, donor="n2")
        offline = self.hold_report("n1", lambda o: any(s["id"] == a["id"] and not s["blocks_online"] for s in o["segments"]))
        self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
        offline.wait()
        self.rack.api.call("POST", f"/v1/attachments/{a['id']}/cancel")
        self.successor("n1")
        eventually("it is attached again", lambda: self.rack.attachment(a["id"])["state"] == "attached", SECONDS)
        self.too_late(offline)
        self.rack.judge()
        self.assertEqual(self.rack.attachment(a["id"])["state"], "attached")
        self.rack.detach_somehow(a["id"])

    def proof_of_a_detach(self, random):
        a = self.rack.attach_somehow("n1", GIB, donor="n2")
        offline = self.hold_report("n1", lambda o: any(s["id"] == a["id"] and not s["blocks_online"] for s in o["segments"]))
        self.rack.filled.pop(a["id"])
        self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
        offline.wait()
        self.assertTrue(self.rack.buffer_file(a).exists(), "released without proof")
        self.successor("n1")
        self.rack.detach_somehow(a["id"])
        self.too_late(offline)

    def donor_that_has_no_buffer_yet(self, random):
        """Its last word is that there is no buffer; the successor's is that there is."""
        empty = self.hold_report("n2", lambda o: not o["buffers"])
        empty.wait()
        self.successor("n2")
        a = self.rack.attach_somehow("n1", GIB, donor="n2")
        self.too_late(empty)
        self.rack.judge()
        self.assertEqual(self.rack.attachment(a["id"])["state"], "attached")
        self.rack.detach_somehow(a["id"])

    def any_report_on_the_way(self, random):
        node = random.choice(("n1", "n2", "mgmt"))
        made = self.rack.post_somehow("n1", GIB, donor="n2")
        held = self.hold_report(node)
        held.wait()
        self.successor(node)
        a = self.rack.settled(made, SECONDS)
        self.assertEqual(a["state"], "attached", a["reason"])
        self.rack.fill(a)
        again = self.hold_report(node)
        self.rack.api.call("DELETE", f"/v1/attachments/{made}")
        again.wait()
        self.successor(node)
        self.rack.detach_somehow(made)
        self.too_late(held)
        self.too_late(again)

    # ---- children

    def child_that_hangs(self, random):
        """In the kernel, where kill -9 does not reach it: it holds the node's lock, and its block may still change."""
        a = self.rack.attach_somehow("n1", GIB, donor="n2")
        block = int(a["physical_addr"], 16) // self.rack.block + random.randrange(BLOCKS)
        self.rack.ctl("block", "n1", block, "wedge")
        self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
        eventually("it hangs", lambda: self.rack.ctl("status")["hanging_writes"] == 1)
        pid = self.rack.kill("agent-n1")
        eventually("another agent waits", lambda: self.rack.pid("agent-n1") not in (None, pid))
        eventually("the node is silent", lambda: self.rack.node("n1")["state"] == "unreachable", SECONDS)
        now = self.rack.attachment(a["id"])
        self.assertIn(now["state"], ("detaching", "stuck"))
        self.assertTrue(self.rack.buffer_file(a).exists(), "released under a child that hangs")
        self.rack.filled.pop(a["id"])
        self.rack.ctl("block", "n1", block, "ok")
        self.back_at = time.time()
        eventually("it is detached", lambda: self.rack.attachment(a["id"])["state"] == "detached", SECONDS)
        self.assertFalse(self.rack.buffer_file(a).exists())

    def child_that_hangs_onlining(self, random):
        """The successor proves nothing while the block may still come online, behind its back."""
        probe = self.rack.attach_somehow("n1", GIB, donor="n2", fill=False)
        self.rack.detach_somehow(probe["id"])
        block = int(probe["physical_addr"], 16) // self.rack.block + random.randrange(BLOCKS)
        self.rack.ctl("block", "n1", block, "wedge")
        made = self.rack.post_somehow("n1", GIB, donor="n2")
        eventually("it hangs", lambda: self.rack.ctl("status")["hanging_writes"] == 1)
        pid = self.rack.kill("agent-n1")
        self.rack.api.call("DELETE", f"/v1/attachments/{made}")
        eventually("another agent waits", lambda: self.rack.pid("agent-n1") not in (None, pid))
        eventually("the node is silent", lambda: self.rack.node("n1")["state"] == "unreachable", SECONDS)
        self.assertEqual(set(self.rack.attachment(made)["holds"]), {"n1", "n2"})
        self.assertTrue(self.rack.buffer_file(probe | {"id": made}).exists(), "released under a child that hangs")
        self.rack.ctl("block", "n1", block, "ok")
        self.back_at = time.time()
        ended = eventually("it is given back", lambda: (a := self.rack.attachment(made))["state"] in ("detached", "failed") and a, SECONDS)
        self.assertEqual(ended["holds"], [])

    def test_f28(self):
        began, random, n = time.monotonic(), dice("F28"), count(30, 300)
        acts = [self.proof_of_a_detach_that_was_cancelled, self.child_that_hangs, self.proof_of_a_detach,
                self.donor_that_has_no_buffer_yet, self.any_report_on_the_way, self.child_that_hangs_onlining]
        for i in range(n):
            act = acts[i % len(acts)]
            with trying(f"{act.__name__}, round {i}"):
                act(random)
                self.rack.judge_since(self.back_at)
        record("F28", n, began, self.rack.converged)


if __name__ == "__main__":
    unittest.main()
