"""F29: a lender dies, a donor is lost under live memory and returns, a name or a whole machine is cloned.  Nothing is made again
under the borrower's feet, nothing that it may still read is lent to somebody else, and a clone is refused."""
import os
import pathlib
import shutil
import subprocess
import time
import unittest

from faultrack import (BUILD, GIB, SECONDS, TIME_SCALE, FaultRack, Problem, count, dice, eventually, has_failed, rack_for,
                       record, star, trying)

BLOCKS = 8
SIZE = BLOCKS * GIB // 4


class FourNodes(unittest.TestCase):
    time_scale = TIME_SCALE

    def setUp(self):
        self.rack = rack_for(self, FaultRack(star(4), time_scale=self.time_scale))
        self.kept = self.rack.attach_somehow("n3", GIB, donor="n4")  # has nothing to do with it

    def tearDown(self):
        if not has_failed(self):
            self.rack.detach_somehow(self.kept["id"])
            self.rack.judge()
            self.rack.assert_clean()


class LostDonors(FourNodes):
    def in_quarantine(self, a):
        """Lost, and held by both: the borrower may still read it."""
        def look():
            now = self.rack.attachment(a["id"])
            return now if now["state"] == "lost" and set(now["holds"]) == {a["compute_node"], a["donor"]} else None
        return eventually(f"{a['id']} is lost and in quarantine", look, SECONDS)

    def stays(self, a):
        """Through two full rounds of reports: nothing of the borrower is touched, and nobody else gets it."""
        at = {n["name"]: n["last_seen_at"] for n in self.rack.api.items("/v1/nodes")}
        section = self.rack.register("n1", "afu0", 0x20 + 8 * a["section"])
        for _ in range(2):
            at = eventually("all have reported", lambda: self.reported(at))
        self.assertEqual(self.rack.register("n1", "afu0", 0x20 + 8 * a["section"]), section, "its section was touched")
        self.assertEqual(self.rack.attachment(a["id"])["state"], "lost")
        self.assertFalse(self.rack.segment_file(a).exists())
        for other in self.rack.live():
            if other["id"] != a["id"]:
                self.assertNotEqual((other["compute_node"], other["section"]), ("n1", a["section"]))

    def reported(self, before):
        now = {n["name"]: n["last_seen_at"] for n in self.rack.api.items("/v1/nodes")}
        return now if all(now[n] > before[n] for n in now) else None

    def end_quarantine(self, a):
        self.rack.reboot("n1")
        eventually("it is released", lambda: not self.rack.attachment(a["id"])["holds"], SECONDS)
        self.rack.filled.pop(a["id"], None)

    def lender_dies(self, random):
        a = self.rack.attach_somehow("n1", GIB, donor="n2")
        self.rack.filled.pop(a["id"])
        self.rack.kill_lender("n2")
        lost = self.in_quarantine(a)
        self.assertIn("lender", lost["reason"])
        self.stays(a)
        if random.random() < 0.5:  # the operator's word ends nothing here: the borrower still runs
            self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
            self.stays(a)
        self.end_quarantine(a)

    def lender_dies_on_the_way(self, random):
        point = random.choice(("alloc.before", "alloc.after"))
        self.rack.arm("lender-n2", point, "kill")
        made = self.rack.post_somehow("n1", GIB, donor="n2")
        a = self.rack.settled(made, SECONDS)
        self.rack.await_hit("lender-n2", point)
        self.assertIn(a["state"], ("attached", "failed"), a["reason"])
        if a["state"] == "attached":
            self.rack.fill(a)
            self.rack.judge()
            self.rack.arm("lender-n2", point := random.choice(("release.before", "release.after")), "kill")
            self.rack.detach_somehow(made)
            self.rack.await_hit("lender-n2", point)

    def blocks_online(self, a):
        first = int(a["physical_addr"], 16) // self.rack.block
        return [self.rack.block_state("n1", first + i) == "online" for i in range(BLOCKS)]

    def lender_dies_under_an_order(self, random):
        """The agent is at a block of it: the dead memory's other blocks are brought neither online nor offline.  (The emulator
        takes a node's power that moves pages off dead memory.)"""
        a = self.rack.attach_somehow("n1", SIZE, donor="n2", fill=False)
        detach = random.random() < 0.5
        if not detach:
            self.rack.detach_somehow(a["id"])
        boot, block = self.rack.node("n1")["boot_id"], int(a["physical_addr"], 16) // self.rack.block + random.randrange(1, BLOCKS - 1)
        self.rack.ctl("block", "n1", block, "hang")
        if detach:
            self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
        else:
            a = a | {"id": self.rack.post_somehow("n1", SIZE, donor="n2")}
        eventually("it hangs", lambda: self.rack.ctl("status")["hanging_writes"] == 1)
        self.rack.kill_lender("n2")
        self.in_quarantine(a)
        before = eventually("the order is ended", lambda: self.rack.ctl("status")["hanging_writes"] == 0 and self.blocks_online(a))
        self.rack.ctl("block", "n1", block, "ok")
        self.stays(a)
        self.assertEqual(self.blocks_online(a), before)
        self.assertEqual(self.rack.attachment(a["id"])["blocks_online"], sum(before))
        self.assertEqual(self.rack.node("n1")["boot_id"], boot)
        self.end_quarantine(a)
        self.rack.reboot("n2")  # its ports were reset under traffic: they are suspect until then

    def donor_is_lost_and_returns(self, random):
        a = self.rack.attach_somehow("n1", GIB, donor="n2")
        self.rack.filled.pop(a["id"])
        self.rack.ctl("power", "n2", "off")
        eventually("it is unreachable", lambda: self.rack.node("n2")["state"] == "unreachable")
        now = self.rack.attachment(a["id"])
        self.assertEqual((now["state"], set(now["holds"])), ("attached", {"n1", "n2"}), "nothing of a silent node is freed")
        with self.assertRaises(Problem) as refused:
            self.rack.api.call("POST", "/v1/attachments", {"compute_node": "n1", "size_bytes": GIB, "donor": "n2"})
        self.assertEqual({c["reason"] for c in refused.exception.body["candidates"] if c["node"] == "n2"}, {"not_ready"})
        self.rack.ctl("power", "n2", "on")
        self.in_quarantine(a)
        self.stays(a)
        if random.random() < 0.5:  # others may have what is left of the donor, over its other port
            other = self.rack.attach_somehow("n4", GIB, donor="n2")
            self.rack.detach_somehow(other["id"])
        self.end_quarantine(a)

    def borrower_is_fenced(self, random):
        a = self.rack.attach_somehow("n1", GIB, donor="n2")
        boot = self.rack.node("n1")["boot_id"]
        with self.assertRaises(Problem):  # it reports: it is not off
            self.rack.api.call("POST", "/v1/nodes/n1/fence", {"boot_id": boot})
        self.rack.filled.pop(a["id"])
        self.rack.ctl("power", "n1", "off")
        eventually("it is unreachable", lambda: self.rack.node("n1")["state"] == "unreachable")
        self.assertTrue(self.rack.buffer_file(a).exists())
        self.rack.api.call("POST", "/v1/nodes/n1/fence", {"boot_id": boot})
        eventually("the donor has its memory back", lambda: not self.rack.attachment(a["id"])["holds"], SECONDS)
        self.assertFalse(self.rack.buffer_file(a).exists())
        self.rack.ctl("power", "n1", "on")
        eventually("another boot is welcome", lambda: self.rack.node("n1")["state"] == "ready", SECONDS)

    def test_f29(self):
        began, random, n = time.monotonic(), dice("F29"), count(20, 200)
        acts = [self.lender_dies, self.lender_dies_on_the_way, self.donor_is_lost_and_returns, self.borrower_is_fenced,
                self.lender_dies_under_an_order]
        for i in range(n):
            act = acts[i % len(acts)]
            with trying(f"{act.__name__}, round {i}"):
                act(random)
                self.rack.judge()
                self.assertEqual(self.rack.attachment(self.kept["id"])["state"], "attached")
        record("F29", n, began)


class Clones(FourNodes):
    time_scale = 0.5  # a busy machine is no silence of the first boot

    def start_clone(self, name, machine, credential, boot):
        """Another machine's agent under the name of n1, with these of n1's secrets copied."""
        source, clone = self.rack.dir / "nodes" / "n1", self.rack.dir / f"clone-{name}"
        (clone / "state").mkdir(parents=True)
        (clone / "run").mkdir()
        if credential:
            shutil.copy(source / "state" / "credential", clone / "state" / "credential")
        (clone / "machine-id").write_text((source / "machine-id").read_text() if machine else f"{int(time.time()):032x}\n")
        shutil.copytree(source / "proc", clone / "proc")
        if boot:
            (clone / "proc" / "sys" / "kernel" / "random" / "boot_id").write_text(f"00000000-0000-4000-8000-{os.getpid():012x}\n")
        own = {"state_dir": clone / "state", "run_dir": clone / "run", "machine_id_file": clone / "machine-id",
               "procfs_root": clone / "proc", "lender_program": "/bin/false"}
        lines = (source / "agent.conf").read_text().splitlines()
        (clone / "agent.conf").write_text("".join(
            f"device={clone}/none-{i}\n" if (k := line.split("=")[0]) == "device" else f"{k}={own[k]}\n" if k in own else f"{line}\n"
            for i, line in enumerate(lines)))
        log = open(clone / "log", "wb")
        process = subprocess.Popen([str(BUILD / "bin" / "memlane-agent"), "--config", str(clone / "agent.conf")], stdout=log, stderr=log)
        self.addCleanup(log.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, clone / "log"

    def refused(self, name, wanted, **what):
        a = self.rack.attach_somehow("n1", GIB, donor="n2")
        process, log = self.start_clone(name, **what)
        eventually("the clone is refused", lambda: wanted in log.read_text(), SECONDS)
        process.kill()
        process.wait()
        self.rack.judge()
        self.assertEqual(self.rack.attachment(a["id"])["state"], "attached")
        self.rack.detach_somehow(a["id"])
        shutil.rmtree(pathlib.Path(log).parent)

    def test_clone_of_a_name_with_the_join_token(self):
        self.refused("join", "identity_conflict", machine=False, credential=False, boot=True)

    def test_clone_with_the_credential_on_another_machine(self):
        self.refused("disk", "identity_conflict", machine=False, credential=True, boot=True)

    def test_clone_with_machine_id_and_join_token(self):
        self.refused("image", "identity_conflict", machine=True, credential=False, boot=True)

    def test_whole_clone(self):
        """Machine id and credential copied: it can only be told by its boot id, while the first boot still reports."""
        self.refused("whole", "identity_conflict", machine=True, credential=True, boot=True)


if __name__ == "__main__":
    unittest.main()
