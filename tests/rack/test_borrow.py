"""Borrowing and giving back on every rack file: sizes, sharing, bonding; data both ways; nothing left afterwards."""
# Slow: every rack that there is.
import unittest

import patterns
from harness import GIB, TIB, Rack


class Borrowing:
    """The tests that every rack file has the parts for.  One rack for all of them; each leaves it as it was."""
    rack_name = ""
    compute, donor = "", ""  # a pair that is cabled

    @classmethod
    def setUpClass(cls):
        cls.rack = cls.enterClassContext(Rack(cls.rack_name))
        cls.block = cls.rack.plan["nodes"][0]["block_bytes"]

    def tearDown(self):
        for a in self.rack.live():
            self.rack.detach(a["id"])

    def check_data(self, a):
        """Both directions, by mapping the files and over the emulated fabric."""
        segment, buffer = self.rack.segment_file(a), self.rack.buffer_file(a)
        self.assertEqual(segment.resolve(), buffer.resolve())
        self.assertEqual(segment.stat().st_size, a["size_bytes"])
        self.assertEqual(patterns.not_zero(segment, self.block), [], "a new borrower must read zeroes")
        patterns.fill(segment, a["id"], self.block)
        self.assertEqual(patterns.verify(buffer, a["id"], self.block), [], "written on the compute node, not in the buffer")
        start = int(a["physical_addr"], 16)
        last = a["size_bytes"] - 128
        self.assertEqual(self.rack.peek(a["compute_node"], start), patterns.page_pattern(a["id"], 0)[:128])
        self.rack.poke(a["compute_node"], start + last, b"\xa5" * 128)
        with patterns.mapped(buffer) as memory:
            self.assertEqual(memory[last:last + 128], b"\xa5" * 128, "poked, not in the buffer")
            memory[128:256] = b"\x5a" * 128
        self.assertEqual(self.rack.peek(a["compute_node"], start + 128), b"\x5a" * 128, "written by the donor, not seen")
        patterns.fill(segment, a["id"], self.block)

    def borrow_and_return(self, size, **more):
        a = self.rack.attach(self.compute, size, donor=self.donor, **more)
        self.assertEqual((a["blocks_online"], a["size_bytes"] % self.block), (a["blocks_total"], 0))
        self.check_data(a)
        ended = self.rack.detach(a["id"])
        self.assertEqual((ended["holds"], ended["goal"]), ([], "absent"))
        self.assertFalse(self.rack.buffer_file(a).exists())
        self.rack.assert_clean()
        return a

    def test_one_block(self):
        a = self.borrow_and_return(1)
        self.assertEqual((a["size_bytes"], a["requested_bytes"]), (self.block, 1))

    def test_one_gib(self):
        self.borrow_and_return(GIB)

    def test_all_that_is_lendable(self):
        lendable = min(self.rack.node(self.donor)["lendable_bytes"], TIB)
        self.borrow_and_return(lendable // self.block * self.block)

    def test_bonded_channels(self):
        a = self.borrow_and_return(GIB, channels=2)
        self.assertEqual(len(a["path"]), 2)

    def test_several_share_one_circuit_and_one_section(self):
        sizes = [self.block, GIB, 3 * self.block, self.block]
        found = [self.rack.attach(self.compute, size, donor=self.donor) for size in sizes]
        self.assertEqual(len({(a["circuit"], a["section"]) for a in found}), 1)
        self.assertEqual([a["offset_bytes"] for a in found], [sum(sizes[:i]) for i in range(len(sizes))])
        for a in found:
            self.check_data(a)
        self.rack.detach(found[1]["id"])
        self.assertEqual(patterns.verify(self.rack.segment_file(found[0]), found[0]["id"], self.block)[:1],
                         [], "a neighbour's detach changed it")
        again = self.rack.attach(self.compute, GIB, donor=self.donor)
        self.assertEqual(again["offset_bytes"], found[1]["offset_bytes"], "the lowest gap is used again")
        self.check_data(again)
        for a in (found[0], found[2], found[3], again):
            self.rack.detach(a["id"])
        self.rack.assert_clean()

    def test_many_cycles_leave_nothing(self):
        for _ in range(20):
            a = self.rack.attach(self.compute, self.block, donor=self.donor)
            self.rack.detach(a["id"])
        self.rack.assert_clean()


class OnPair(Borrowing, unittest.TestCase):
    rack_name, compute, donor = "pair", "a", "b"

    def test_both_lend_to_each_other(self):
        there, back = self.rack.attach("a", GIB), self.rack.attach("b", GIB)
        self.assertEqual((there["donor"], back["donor"]), ("b", "a"))
        self.check_data(there)
        self.check_data(back)
        self.rack.detach(there["id"])
        self.rack.detach(back["id"])
        self.rack.assert_clean()


class OnRing3(Borrowing, unittest.TestCase):
    rack_name, compute, donor = "ring3", "n1", "n2"

    def test_everybody_lends_to_one_and_borrows_from_the_other(self):
        found = [self.rack.attach(name, GIB) for name in ("n1", "n2", "n3")]
        self.assertEqual([a["donor"] for a in found], ["n2", "n3", "n1"])
        for a in found:
            self.check_data(a)
        for a in found:
            self.rack.detach(a["id"])
        self.rack.assert_clean()


class WithSwitch(Borrowing):
    def test_why_this_donor_is_what_a_preview_says(self):
        for policy in ("nearest", "balanced", "packed", "least_loaded"):
            wish = {"compute_node": self.compute, "size_bytes": GIB, "policy": policy}
            first, second = [c["node"] for c in self.rack.api.call("POST", "/v1/placements", wish)["candidates"]][:2]
            a = self.rack.attach(self.compute, GIB, policy=policy)
            why = self.rack.attachment(a["id"])["timeline"][0]["reason"]
            self.assertRegex(why, rf"^{policy}: {first} \(.+\) before {second} \(.+\)$")
            self.assertEqual(a["donor"], first)

    def test_one_borrows_from_two_donors_at_once(self):
        found = [self.rack.attach(self.compute, GIB, donor=d) for d in (self.donor, self.other)]
        self.assertEqual(len({a["section"] for a in found}), 2)
        for a in found:
            self.check_data(a)
            self.rack.detach(a["id"])
        self.rack.assert_clean()

    def test_two_borrow_from_one_donor(self):
        found = [self.rack.attach(c, GIB, donor=self.donor) for c in (self.compute, self.other)]
        for a in found:
            self.check_data(a)
        self.rack.detach(found[0]["id"])
        self.assertEqual(patterns.verify(self.rack.segment_file(found[1]), found[1]["id"], self.block), [])
        self.rack.detach(found[1]["id"])
        self.rack.assert_clean()


class OnStar8(WithSwitch, unittest.TestCase):
    rack_name, compute, donor, other = "star8", "n1", "n4", "n7"


class OnRack32(WithSwitch, unittest.TestCase):
    rack_name, compute, donor, other = "rack32", "n01", "n16", "n20"

    def test_a_whole_section(self):
        a = self.borrow_and_return(TIB)
        self.assertEqual((a["offset_bytes"], a["blocks_total"]), (0, TIB // self.block))

    def test_more_than_a_section_never_fits(self):
        with self.assertRaises(AssertionError) as caught:
            self.rack.attach(self.compute, TIB + 1, donor=self.donor)
        self.assertEqual(caught.exception.code, "size_invalid")


if __name__ == "__main__":
    unittest.main()
