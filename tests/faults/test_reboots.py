"""F21: a node of an attachment (borrower, donor, both at once, the switch's manager) reboots, with another boot id, in each state of
it.  What is lost is lost, the rest is not touched."""
import time
import unittest

from faultrack import GIB, MODE, SECONDS, FaultRack, count, dice, eventually, has_failed, rack_for, record, star, trying

# Where the attachment stands: the agent that waits there, its point, and whether it is on the way back.
PENDING = (("agent-n2", "lend.before"), ("agent-n2", "lend.after"), ("agent-mgmt", "join.after"), ("agent-n1", "up.after"),
           ("agent-n1", "map.before"), ("agent-n1", "map.after"), ("agent-n1", "child.online"), ("agent-n1", "online.after"))
DETACHING = (("agent-n1", "offline.before"), ("agent-n1", "child.offline"), ("agent-n1", "quiesce.after"), ("agent-n1", "park.before"),
             ("agent-n1", "park.after"), ("agent-n1", "down.after"), ("agent-mgmt", "part.before"), ("agent-n2", "release.before"),
             ("agent-n2", "release.after"))
STATES = [("pending", p) for p in PENDING] + [("detaching", p) for p in DETACHING] + [("attached", None), ("stuck", None)]


class Reboots(unittest.TestCase):
    def setUp(self):
        self.rack = rack_for(self, FaultRack(star(4)))
        self.refusing = None  # a block that does not go offline
        self.kept = self.rack.attach_somehow("n3", GIB, donor="n4")  # has nothing to do with the reboots

    def tearDown(self):
        if not has_failed(self):
            self.rack.detach_somehow(self.kept["id"])
            self.rack.judge()
            self.rack.assert_clean()

    def bring_to(self, state, point):
        """The id of an attachment n1 <- n2 that stands there, and what lets its agent go on."""
        if state == "pending":
            self.rack.arm(*point, "wait")
            made = self.rack.post_somehow("n1", GIB, donor="n2")
            self.rack.await_hit(*point)
            return made
        a = self.rack.attach_somehow("n1", GIB, donor="n2")
        if state == "attached":
            return a["id"]
        if state == "stuck":
            block = int(a["physical_addr"], 16) // self.rack.block + 1
            self.rack.ctl("block", "n1", block, "ebusy")
        else:
            self.rack.arm(*point, "wait")
        self.rack.filled.pop(a["id"])
        self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
        if state == "stuck":  # and tried again soon, so that it may be detaching just now
            eventually("it is stuck", lambda: self.rack.attachment(a["id"])["state"] == "stuck")
            self.refusing = block
        else:
            self.rack.await_hit(*point)
        return a["id"]

    def ended(self, made):
        """It holds nothing any more.  An attach that had lost nothing yet may have gone on to its end."""
        def look():
            a = self.rack.attachment(made)
            return a if a["state"] in ("failed", "lost", "detached") and not a["holds"] or a["state"] == "attached" else None
        a = eventually(f"{made} ended", look, SECONDS)
        if a["state"] != "attached":
            return a
        self.rack.fill(a)
        self.rack.judge()
        return self.rack.detach_somehow(made)

    def go_on(self, point):
        if point:
            self.rack.let_go(*point)
        if self.refusing:
            self.rack.ctl("block", "n1", self.refusing, "ok")
        self.refusing = None
        self.rack.disarm()

    def reboot_borrower(self, state, point):
        made = self.bring_to(state, point)
        self.rack.reboot("n1")
        self.go_on(point)
        a = self.ended(made)
        if state in ("attached", "stuck"):
            self.assertIn(a["state"], ("lost", "detached") if state == "stuck" else ("lost",), a["reason"])
        if point and point[1] in ("child.online", "online.after"):
            self.assertEqual(a["state"], "failed", a["reason"])
        self.assertFalse(self.rack.buffer_file(a).exists())
        self.rack.filled.pop(made, None)

    def reboot_donor(self, state, point):
        made = self.bring_to(state, point)
        self.rack.filled.pop(made, None)
        self.rack.reboot("n2")
        self.go_on(point)
        a = eventually("it is known to be lost, or goes back", lambda: self.settled_or_lost(made))
        if state == "attached":
            self.assertEqual(a["state"], "lost", a["reason"])
            self.assertEqual(set(a["holds"]), {"n1", "n2"})
            self.quarantined(a)
        if a["holds"] and a["state"] != "attached":
            self.rack.reboot("n1")
        self.ended(made)

    def settled_or_lost(self, made):
        a = self.rack.attachment(made)
        return a if not a["holds"] or a["state"] in ("lost", "failed", "stuck", "attached") else None

    def quarantined(self, a):
        """Section, circuit and ports stay taken, the donor's port in reset, and nobody takes the memory offline."""
        section = int(self.rack.register("n1", "afu0", 0x20 + 8 * a["section"]))
        online = self.rack.register("n1", "afu0", 0x78) & 3
        eventually("the donor's port is in reset", lambda: self.rack.register("n2", "afu1", 0x78) & 3 == 0)
        self.assertEqual(self.rack.register("n1", "afu0", 0x20 + 8 * a["section"]), section)
        self.assertNotEqual(online, 0, "the borrower's channel was touched")
        self.assertIn(a["circuit"], [c["id"] for c in self.rack.api.items("/v1/circuits")])
        self.assertEqual(self.rack.attachment(a["id"])["state"], "lost")

    def reboot_both(self, state, point):
        made = self.bring_to(state, point)
        self.rack.filled.pop(made, None)
        self.rack.reboot("n1", "n2")
        self.go_on(point)
        a = self.ended(made)
        if state == "attached":
            self.assertEqual(a["state"], "lost", a["reason"])
        self.assertFalse(self.rack.buffer_file(a).exists())

    def reboot_manager(self, state, point):
        """Cross-connects survive it: nothing is lost, what waits for the switch goes on afterwards."""
        made = self.bring_to(state, point)
        self.rack.reboot("mgmt")
        if state == "attached":
            self.assertEqual(self.rack.attachment(made)["state"], "attached")
            self.rack.judge()
        self.go_on(point)
        a = self.ended(made)
        self.assertEqual(a["state"], "detached", a["reason"])
        self.rack.filled.pop(made, None)

    def reboot_again(self, _state, _point):
        """In quarantine the donor reboots a second time, and nothing changes; the borrower's reboot ends it."""
        made = self.bring_to("attached", None)
        self.rack.filled.pop(made, None)
        self.rack.reboot("n2")
        a = eventually("it is lost", lambda: self.settled_or_lost(made))
        self.quarantined(a)
        self.rack.reboot("n2")
        self.quarantined(self.rack.attachment(made))
        self.rack.reboot("n1")
        self.assertEqual(self.ended(made)["state"], "lost")

    def run_reboots(self, name, act, states):
        began = time.monotonic()
        if MODE == "tenth":
            states = dice(name).sample(states, min(2, len(states)))
        for state, point in states * count(1, 5):
            with trying(f"{name} while {state} {point or ''}"):
                act(state, point)
                self.rack.judge()
                self.assertEqual(self.rack.attachment(self.kept["id"])["state"], "attached")
        record("F21", len(states) * count(1, 5), began)

    def test_f21_of_the_borrower(self):
        self.run_reboots("F21 of the borrower", self.reboot_borrower, STATES)

    def test_f21_of_the_donor(self):
        self.run_reboots("F21 of the donor", self.reboot_donor, STATES)

    def test_f21_of_both(self):
        self.run_reboots("F21 of both", self.reboot_both, STATES)

    def test_f21_of_the_manager(self):
        self.run_reboots("F21 of the manager", self.reboot_manager, STATES)

    def test_f21_in_quarantine(self):
        self.run_reboots("F21 in quarantine", self.reboot_again, [("lost", None)])


if __name__ == "__main__":
    unittest.main()
