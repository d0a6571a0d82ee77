"""A cable of a live circuit fails and comes back: an adapter stops answering; a lender hangs, or dies: what
the rack sees, and whose memory the orchestrator says is in danger."""
import os
import signal
import unittest

from harness import GIB, Rack, eventually
from test_lender import lender_pid


class Danger(unittest.TestCase):
    def circuit(self, a):
        return self.rack.api.call("GET", f"/v1/circuits/{a['circuit']}")

    def test_a_cable_under_a_circuit_fails_and_comes_back(self):
        with Rack("star8") as self.rack:
            api = self.rack.api
            a = self.rack.attach("n1", GIB)
            ends = a["path"][0][:2]
            self.assertIsNone(self.circuit(a)["danger"])
            self.rack.ctl("link", *ends, "down")
            danger = eventually("the circuit is in danger", lambda: self.circuit(a)["danger"])
            self.assertEqual((danger["attachments"], danger["compute_nodes"], danger["size_bytes"]), ([a["id"]], ["n1"], GIB))
            self.assertEqual([{x["a"], x["b"]} for x in danger["links"]], [set(ends)])
            links = [x for x in api.call("GET", "/v1/topology")["links"] if x["circuit"] == a["circuit"]]
            self.assertEqual(sorted((x["state"] == "down", x["in_danger"]) for x in links), [(False, True), (True, True)])
            # A new request takes the other port, to another donor: the pair's own circuit is no way any more.
            b = self.rack.attach("n1", GIB)
            self.assertNotIn(ends[0], b["path"][0])
            self.assertNotEqual(b["donor"], a["donor"])
            self.rack.ctl("link", *ends, "up")
            eventually("the circuit is safe again", lambda: self.circuit(a)["danger"] is None)
            for one in (a, b):
                self.rack.detach(one["id"])
            told = [e["to"] for e in api.items("/v1/events?after=0") if e["type"] == "circuit.danger"]
            self.assertEqual(told, ["in_danger", "safe"])
            self.rack.assert_clean()

    def told(self, kind):
        return [e for e in self.rack.api.items("/v1/events?after=0") if e["type"] == kind]

    def status(self):
        return self.rack.api.call("GET", "/v1/status")

    def endangered(self, a, name, cause):
        """The adapter's error is the danger of the circuit, is counted, and its event says whose memory it is."""
        danger = eventually("the circuit is in danger", lambda: self.circuit(a)["danger"], 30)
        self.assertEqual((danger["attachments"], danger["compute_nodes"], danger["size_bytes"]), ([a["id"]], ["a"], GIB))
        self.assertEqual([f"{x['node']}/{x['adapter']}" for x in danger["adapters"]], [name])
        status = self.status()
        self.assertEqual((status["circuits_in_danger"], status["attachments_in_danger"], status["adapters"]["error"]), (1, 1, 1))
        event = self.told("adapter.state")[-1]
        self.assertEqual((event["object"], event["to"]), (f"adapter/{name}", "error"))
        self.assertIn(cause, event["reason"])
        self.assertTrue(event["reason"].endswith(f"; a borrows over it: {a['id']}"), event)

    def safe(self, a):
        eventually("the circuit is safe again", lambda: self.circuit(a)["danger"] is None, 40)
        self.assertEqual(self.told("adapter.state")[-1]["to"], "ok")
        self.assertEqual([self.status()[x] for x in ("circuits_in_danger", "attachments_in_danger")], [0, 0])

    def test_an_adapter_in_error_under_a_circuit(self):
        with Rack("pair") as self.rack:
            a = self.rack.attach("a", GIB)
            for name in ("b/afu1", "a/afu0"):
                self.rack.ctl("adapter", name, "error")
                self.endangered(a, name, "")
                self.rack.ctl("adapter", name, "ok")
                self.safe(a)
            self.assertEqual([e["to"] for e in self.told("circuit.danger")], ["in_danger", "safe"] * 2)
            self.rack.detach(a["id"])
            self.rack.assert_clean()

    def test_memory_that_does_not_answer_is_not_taken_offline(self):
        """The emulator powers a node off that does so, as a machine check would."""
        with Rack("star8") as self.rack:
            a = self.rack.attach("n1", GIB)
            boot = self.rack.node("n1")["boot_id"]
            ends, memory = a["path"][0][:2], a["path"][0][-1].rsplit("/", 1)[0]
            adapter = f"adapter {memory}: "
            for command, cause in ((("link", *ends), f"port {ends[1]} has no signal"), (("adapter", memory), adapter)):
                self.rack.ctl(*command, "down" if command[0] == "link" else "error")
                eventually("the circuit is in danger", lambda: self.circuit(a)["danger"], 30)
                self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
                held = eventually("it is said what it waits for", lambda: self.rack.attachment(a["id"])["reason"] and
                                  self.rack.attachment(a["id"]), 30)
                self.assertIn(f"not taken offline, which would read it: {cause}", held["reason"])
                self.assertEqual((held["state"], held["blocks_online"]), ("detaching", held["blocks_total"]))
                self.rack.ctl(*command, "up" if command[0] == "link" else "ok")
                gone = self.rack.settled(a["id"], 30)
                self.assertEqual((gone["state"], gone["reason"]), ("detached", None))
                self.assertEqual(self.rack.node("n1")["boot_id"], boot)
                a = self.rack.attach("n1", GIB, donor=a["donor"])
            self.rack.detach(a["id"])
            self.rack.assert_clean()

    def test_a_lender_that_hangs_under_a_circuit(self):
        with Rack("pair") as self.rack:
            a = self.rack.attach("a", GIB)
            pid = lender_pid(self.rack, "b")
            os.kill(pid, signal.SIGSTOP)
            try:
                self.endangered(a, "b/afu1", "does not answer")
            finally:
                os.kill(pid, signal.SIGCONT)
            self.safe(a)
            self.assertEqual(self.told("lender.lost"), [])
            self.rack.detach(a["id"])
            self.rack.assert_clean()

    def test_a_lender_that_dies_is_one_event(self):
        with Rack("pair", check_trace=False) as self.rack:
            both = [self.rack.attach("a", GIB) for _ in range(2)]
            os.kill(lender_pid(self.rack, "b"), signal.SIGKILL)
            for a in both:
                eventually("lost", lambda: self.rack.attachment(a["id"])["state"] == "lost", 30)
            [event] = self.told("lender.lost")
            self.assertEqual((event["object"], event["to"]), ("adapter/b/afu1", "lost"))
            self.assertIn("a borrows over it:", event["reason"])
            for a in both:
                self.assertIn(a["id"], event["reason"])
            status = self.status()
            self.assertEqual((status["lenders_lost"], status["quarantined_attachments"]), (1, 2))
            self.assertGreater(status["findings"]["error"], 0)


if __name__ == "__main__":
    unittest.main()
