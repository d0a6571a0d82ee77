"""Old databases under a running rack (F14), two orchestrators at once (F23): nothing is removed, nothing is changed, an operator
adopts; a second orchestrator refuses, or is fenced."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from faultrack import BUILD, GIB, TIME_SCALE, Api, FaultRack, Problem, count, dice, eventually, patterns, record, star, trying
import oracle

SECONDS = 20


class Restorable(FaultRack):
    @property
    def database(self):
        return self.dir / "memlane.db"

    def backup(self):
        path = pathlib.Path(self.plan_dir.name, f"backup{time.time_ns()}.db")
        status, _, body = self.api.raw("POST", "/v1/backup")
        assert status == 200, body
        path.write_bytes(body)
        return path

    def replace_database(self, backup):
        """Puts 'backup' (None: nothing) in the place of the database, and kills the orchestrator: the supervisor starts it on that."""
        for tail in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                shutil.move(f"{self.database}{tail}", pathlib.Path(self.plan_dir.name, f"old{time.time_ns()}{tail}"))
        if backup:
            shutil.copy(backup, self.database)
        pid = self.kill("memlaned")
        eventually("another orchestrator", lambda: self.pid("memlaned") not in (None, pid), SECONDS)
        self.api.close_all()

    def lose_database(self):
        """And starts with an empty one: the nodes join anew, and show by what they know that something is lost."""
        (self.dir / "admin.token").unlink()
        self.replace_database(None)
        old = self.api.token
        self.api.token = eventually("a new admin token", lambda: (t := (self.dir / "admin.token").read_text().strip()) != old and t,
                                    SECONDS)
        join = self.api.persistently("POST", "/v1/tokens", {"role": "join", "name": "rack"})["token"]  # it may not listen yet
        (self.dir / "join.token").write_text(join + "\n")
        eventually("all joined", lambda: len(self.recovery()["nodes"]) == len(self.plan["nodes"]), SECONDS)
        self.await_reports()
        assert self.recovery()["recovering"]

    def recovery(self):
        return self.api.persistently("GET", "/v1/recovery")  # the new one may not listen yet

    def await_reports(self):
        eventually("every node reported", lambda: all(n["reported"] for n in self.recovery()["nodes"]), SECONDS)

    def held(self):
        """What is really there: the lenders' files and the segments."""
        return {str(p.relative_to(self.dir)) for kind in ("buffers", "segments") for p in self.dir.glob(f"nodes/*/{kind}/*")}

    def assert_patterns(self):
        for a in self.filled.values():
            bad = patterns.verify(self.segment_file(a), a["id"], self.block)
            assert not bad, f"{a['id']}: {bad[:3]}"

    def adopt(self, without=()):
        return self.api.call("POST", "/v1/recovery/adopt", {"without": list(without)})


class OldBackup(unittest.TestCase):
    def test_agents_are_ahead_of_a_restored_backup(self):
        began, rounds, random = time.monotonic(), count(10, 50), dice("F14")
        with Restorable(star(3)) as rack:
            for n in range(rounds):
                with self.subTest(round=n):
                    self.one(rack, random)
            rack.await_ready(SECONDS)
            rack.assert_hardware_idle()  # not the oracle: the stream has seen events that the old database has not
        record("F14", rounds, began)

    def one(self, rack, random):
        known = [rack.attach_somehow(f"n{random.randint(1, 3)}", GIB) for _ in range(random.randint(0, 2))]
        backup = rack.backup()
        gone = [known.pop()] if known and random.random() < 0.5 else []
        for a in gone:
            rack.detach_somehow(a["id"])
        new = [rack.attach_somehow(f"n{random.randint(1, 3)}", GIB) for _ in range(random.randint(0, 2))]
        before = rack.held()
        rack.replace_database(backup)
        rack.await_reports()
        self.assertTrue(rack.recovery()["recovering"])
        with self.assertRaises(Problem) as refused:
            rack.api.call("POST", "/v1/attachments", {"compute_node": "n1", "size_bytes": GIB})
        self.assertEqual((refused.exception.status, refused.exception.code), (503, "recovering"))
        unowned = {u["id"] for u in rack.api.call("GET", "/v1/unowned")["items"]}
        self.assertEqual(unowned, {a["id"] for a in new})
        if random.random() < 0.5:  # and it is no way out to start it again
            rack.kill("memlaned")
            rack.api.close_all()
            rack.await_reports()
        self.assertEqual(rack.held(), before, "something was removed or made")
        rack.assert_patterns()
        done = rack.adopt()
        self.assertEqual((done["adopted"], done["ended"], done["kept"]), (len(new), len(gone), 0))
        eventually("all is attached", lambda: {a["id"] for a in rack.live() if a["state"] == "attached"} ==
                   {a["id"] for a in known + new}, SECONDS)
        rack.await_ready(SECONDS)
        self.assertEqual(rack.held(), before, "something was removed or made")
        rack.assert_patterns()
        eventually("in order", lambda: rack.api.call("GET", "/v1/check")["result"] != "violated", SECONDS)
        for a in known + new:
            rack.detach_somehow(a["id"])
        rack.acknowledged.clear()

    def test_an_empty_database(self):
        """Nothing is known, not even the cabling: it is declared anew, and then what both sides hold is adopted."""
        began = time.monotonic()
        with Restorable(star(2)) as rack:
            a = rack.attach_somehow("n1", GIB)
            cabling = rack.api.call("GET", "/v1/topology?declared=1")
            before = rack.held()
            rack.lose_database()
            self.assertEqual((rack.adopt()["adopted"], rack.held()), (0, before))  # without cables there is no circuit
            rack.await_ready(SECONDS)
            etag = rack.api.raw("GET", "/v1/topology")[1]["ETag"]
            rack.api.call("PUT", "/v1/topology", cabling, {"If-Match": etag})
            eventually("adopted", lambda: rack.adopt()["adopted"] == 1, SECONDS)
            eventually("attached", lambda: rack.attachment(a["id"])["state"] == "attached", SECONDS)
            self.assertEqual(rack.held(), before)
            rack.assert_patterns()
            eventually("in order", lambda: rack.api.call("GET", "/v1/check")["result"] == "ok", SECONDS)
            rack.detach_somehow(a["id"])
            rack.assert_hardware_idle()
        record("F14 empty", 1, began)


class AdoptionTold(unittest.TestCase):
    def test_agents_are_told_before_the_operator(self):
        """An adoption ends all sessions: agents register anew before its answer is sent.  What they know of the lost time is what was
        adopted over, and begins nothing again."""
        began, point = time.monotonic(), "published.recovering.0 adopted"
        with Restorable(star(2)) as rack:
            rack.attach_somehow("n1", GIB)
            rack.lose_database()
            rack.arm("memlaned", point, "delay 300")
            self.assertFalse(rack.adopt()["recovering"])
            self.assertTrue(rack.hit("memlaned", point))
            eventually("all have registered", lambda: all(n["reported"] for n in rack.recovery()["nodes"]), SECONDS)
            self.assertFalse(rack.recovery()["recovering"])
            rack.api.call("PATCH", "/v1/nodes/n1", {"cordoned": True})
            rack.acknowledged.clear()
        record("F14 empty", 1, began)


class Unowned(unittest.TestCase):
    """Buffers that nobody owns: an old backup knows nothing of them, and their borrowers have booted since."""

    def unowned(self, rack):
        return {u["id"] for u in rack.api.call("GET", "/v1/unowned")["items"]}

    def test_what_nobody_owns_is_collected_after_its_grace(self):
        began, grace_s = time.monotonic(), 600 * TIME_SCALE
        with Restorable(star(5)) as rack:
            kept = rack.attach_somehow("n3", GIB, donor="n5")
            backup = rack.backup()
            back, silent = (rack.attach_somehow(n, GIB, donor="n2") for n in ("n1", "n4"))  # two that the backup does not know
            for a in (back, silent):
                rack.filled.pop(a["id"])
            for name in ("n1", "n4"):
                rack.ctl("power", name, "off")
            rack.replace_database(backup)
            rack.ctl("power", "n1", "on")
            seen = time.monotonic()
            eventually("all but one reported", lambda: {n["name"] for n in rack.recovery()["nodes"] if not n["reported"]} == {"n4"},
                       SECONDS)
            adopted = rack.adopt(without=["n4"])
            self.assertEqual((adopted["adopted"], adopted["kept"]), (0, 2))
            eventually("both are shown", lambda: self.unowned(rack) == {back["id"], silent["id"]}, SECONDS)
            self.assertNotEqual(rack.api.call("GET", "/v1/check")["result"], "ok")  # a node is silent; the donor's channels are in no circuit
            eventually("one is collected", lambda: not rack.buffer_file(back).exists(), grace_s + SECONDS)
            self.assertGreater(time.monotonic() - seen, 0.9 * grace_s, "that was too early")
            eventually("its story ends", lambda: rack.attachment(back["id"])["state"] == "detached", SECONDS)
            self.assertTrue(any("nobody owned it" in (e["reason"] or "") for e in rack.attachment(back["id"])["timeline"]))
            self.assertTrue(rack.buffer_file(silent).exists(), "without proof of its borrower")
            self.assertEqual(self.unowned(rack), {silent["id"]})
            rack.ctl("power", "n4", "on")
            eventually("the other one too", lambda: not rack.buffer_file(silent).exists(), grace_s + SECONDS)
            rack.assert_patterns()
            self.assertEqual(rack.attachment(kept["id"])["state"], "attached")
            rack.detach_somehow(kept["id"])
            rack.await_ready(SECONDS)
            eventually("nothing is unowned", lambda: not self.unowned(rack), SECONDS)
            left = [p for kind in ("buffers", "segments") for p in rack.dir.glob(f"nodes/*/{kind}/*")]
            self.assertEqual(left, [])
            # All is idle: no channel or join of the circuits that the old database did not know is left.  (The audit log is the backup's.)
            eventually("the invariants hold", lambda: oracle.check_all(rack), SECONDS)
            rack.check_command()
        record("unowned", 2, began)


class TwoOrchestrators(unittest.TestCase):
    def start(self, database, port=0):
        process = subprocess.Popen([str(BUILD / "bin/memlaned"), "--db", str(database), "--listen", f"127.0.0.1:{port}"],
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stderr.close()))
        return process

    def test_a_second_one_refuses(self):
        began, rounds = time.monotonic(), count(5, 50)
        with Restorable(star(2)) as rack:
            a = rack.attach_somehow("n1", GIB)
            for _ in range(rounds):
                second = self.start(rack.database)
                self.assertEqual(second.wait(20), 1)
                self.assertIn("in use by another orchestrator", second.stderr.read())
                other = pathlib.Path(rack.plan_dir.name, f"other{time.time_ns()}.db")
                second = self.start(other, rack.port)  # its own database, but the port is taken
                self.assertEqual(second.wait(20), 1)
                self.assertIn(str(rack.port), second.stderr.read())
            self.assertEqual(rack.attachment(a["id"])["state"], "attached")
            rack.detach_somehow(a["id"])
            rack.judge(SECONDS)
        record("F23", rounds, began)

    def test_two_copies_of_one_backup(self):
        began, rounds = time.monotonic(), count(10, 50)
        with Restorable(star(2)) as rack:
            for n in range(rounds):
                with trying(f"round {n}"):
                    self.twins(rack)
            rack.await_ready(SECONDS)
            rack.assert_hardware_idle()
        record("F14", rounds, began)

    def twins(self, rack):
        a = rack.attach_somehow("n1", GIB)
        backup = rack.backup()
        twin = pathlib.Path(rack.plan_dir.name, f"twin{time.time_ns()}.db")
        shutil.copy(backup, twin)
        before = rack.held()
        rack.replace_database(backup)
        second = self.start(twin)
        lines = []
        eventually("the twin listens", lambda: lines.append(second.stderr.readline()) or "api.listening" in lines[-1], 10)
        port = int(lines[-1].rsplit("port=", 1)[1])
        other = Api(port, rack.api.token)
        self.assertTrue(other.call("GET", "/v1/recovery")["recovering"])  # neither of them drives an agent
        self.assertTrue(rack.recovery()["recovering"])
        rack.await_reports()
        rack.adopt()
        rack.await_ready(SECONDS)
        self.assertTrue(other.call("GET", "/v1/recovery")["recovering"])
        with self.assertRaises(Problem) as refused:
            other.call("DELETE", f"/v1/attachments/{a['id']}")
        self.assertEqual(refused.exception.code, "recovering")
        other.close_all()
        second.kill()
        self.assertEqual(rack.held(), before)
        rack.assert_patterns()
        rack.detach_somehow(a["id"])
        rack.await_ready(SECONDS)
        rack.acknowledged.clear()


if __name__ == "__main__":
    unittest.main()
