"""A cable of a live circuit fails and comes back: the switch sees it, the orchestrator says whose memory is in danger."""
import unittest

from harness import GIB, Rack, eventually


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


if __name__ == "__main__":
    unittest.main()
