"""Backups, and what a restored one knows no more: recovering and adoption, sessions, tokens, foreign logs.  A real memlaned with
fake agents; every answer is checked against schema/openapi.yaml."""
# Slow: silence has to last for its limit.
import contextlib
import fcntl
import re
import signal
import sqlite3
import subprocess
import time
import unittest

from memlaned import BUILD
from rackcase import Rack, memlane


class Restored(Rack):
    """A backup is put in the place of a database whose agents have gone on."""
    heartbeat_ms = 100

    def restore(self, backup):
        self.server.stop()
        db = self.server.dir / "rack.db"
        for tail in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                (self.server.dir / f"rack.db{tail}").rename(self.server.dir / f"old{time.time_ns()}.db{tail}")
        done = subprocess.run([str(BUILD / "bin/memlaned"), "--restore", str(backup), "--db", str(db)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.server.start()
        self.admin.close()

    def backup(self):
        path = self.server.dir / f"backup{time.time_ns()}.db"
        code, _, err = memlane(self.server, "backup", str(path))
        self.assertEqual(code, 0, err)
        return path

    def test_a_backup_takes_the_place_of_no_database_that_is_in_use(self):
        file = self.server.dir / "kept.db"
        file.write_bytes(b"kept")
        for tail in ("-wal", "-journal"):
            beside = file.with_name(file.name + tail)
            beside.touch()
            code, _, err = memlane(self.server, "backup", str(file))
            self.assertEqual((code, file.read_bytes()), (4, b"kept"), err)
            self.assertIn(beside.name, err)
            beside.unlink()

    def test_what_a_killed_backup_left_is_taken_over(self):
        file, part = self.server.dir / "b.db", self.server.dir / "b.db.part"
        part.write_bytes(b"half of it" * 1000000)
        with part.open() as other:
            fcntl.flock(other, fcntl.LOCK_EX)  # it is not dead yet
            code, _, err = memlane(self.server, "backup", str(file))
            self.assertEqual((code, file.exists(), part.exists()), (4, False, True), err)
        code, _, err = memlane(self.server, "backup", str(file))
        self.assertEqual((code, part.exists()), (0, False), err)
        with contextlib.closing(sqlite3.connect(file)) as db:
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        file.unlink()
        part.symlink_to(self.server.dir / "elsewhere")
        code, _, err = memlane(self.server, "backup", str(file))
        self.assertEqual((code, file.exists(), (self.server.dir / "elsewhere").exists()), (1, False, False), err)

    def recovering_metric(self):
        return re.search(r"^memlane_recovering (\d+)$", self.admin.get("/metrics").body.decode(), re.M)[1]

    def test_what_both_sides_hold_is_adopted_and_nothing_is_removed(self):
        old = self.attach()      # known to the backup, and gone when it is restored
        kept = self.attach()     # known to the backup, and there
        backup = self.backup()
        self.detach(old["id"])
        new = self.attach()      # not known to the backup
        held = {n: (set(a.buffers), set(a.segments)) for n, a in self.nodes.items()}
        self.restore(backup)
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        status = self.admin.get("/v1/status").json
        self.assertEqual((status["state"], self.recovering_metric()), ("recovering", "1"))
        self.refused(self.admin.delete(f"/v1/attachments/{kept['id']}"), 503, "recovering")
        unowned = self.admin.get("/v1/unowned").json["items"]
        self.assertEqual({(u["node"], u["kind"], u["id"]) for u in unowned},
                         {("n2", "buffer", new["id"]), ("n1", "segment", new["id"])})
        self.server.stop()  # a restart does not forget it
        self.server.start()
        self.admin.close()
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        self.assertTrue(self.admin.get("/v1/recovery").json["recovering"])
        self.assertEqual({n: (set(a.buffers), set(a.segments)) for n, a in self.nodes.items()}, held, "something was removed")
        code, out, err = memlane(self.server, "recovery", "show")
        self.assertEqual((code, "recovering" in out), (0, True), err)
        code, out, err = memlane(self.server, "recovery", "adopt")
        self.assertEqual(code, 0, err)
        self.assertIn("adopted 1 attachments, ended 1, kept 0", out)
        self.assertEqual(self.recovering_metric(), "0")
        self.wait_for(lambda: self.admin.get("/v1/check").json["result"] == "ok")
        live = {a["id"]: a for a in self.admin.get("/v1/attachments?state=live").json["items"]}
        self.assertEqual(set(live), {kept["id"], new["id"]})
        for field in ("state", "donor", "section", "offset_bytes", "size_bytes", "effective_addr", "physical_addr", "path"):
            self.assertEqual(live[new["id"]][field], new[field], field)
        self.assertEqual(self.admin.get("/v1/unowned").json["items"], [])
        self.assertEqual({n: (set(a.buffers), set(a.segments)) for n, a in self.nodes.items()}, held, "something was removed")
        for attachment in (kept, new):
            self.detach(attachment["id"])
        self.assertEqual(self.admin.get("/v1/circuits").json["items"], [])

    def test_a_session_ends_with_a_restore(self):
        code = self.admin.post("/v1/sessions/codes").json["code"]
        cookie = self.admin.post("/v1/sessions", {"code": code}, token=None).headers["Set-Cookie"].split(";")[0]
        seen = lambda: self.admin.get("/v1/nodes", token=None, headers={"Cookie": cookie}).status
        self.assertEqual(seen(), 200)
        self.restore(self.backup())  # it may have been signed out since
        self.assertEqual(seen(), 401)
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        self.assertEqual(memlane(self.server, "recovery", "adopt")[0], 0)

    def test_a_token_that_the_backup_brings_back_is_revoked_before_anything_is_adopted(self):
        stolen = self.admin.post("/v1/tokens", {"role": "admin", "name": "stolen"}).json
        backup = self.backup()
        self.assertEqual(self.admin.delete(f"/v1/tokens/{stolen['id']}").status, 204)
        self.refused(self.admin.get("/v1/nodes", token=stolen["token"]), 401, "unauthenticated")
        self.attach()
        self.restore(backup)
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        self.assertEqual(self.admin.get("/v1/nodes", token=stolen["token"]).status, 200)
        self.assertEqual(memlane(self.server, "token", "revoke", stolen["id"])[0], 0)
        self.refused(self.admin.get("/v1/nodes", token=stolen["token"]), 401, "unauthenticated")
        first = next(t["id"] for t in self.admin.get("/v1/tokens").json["items"] if t["name"] == "admin")
        self.refused(self.admin.delete(f"/v1/tokens/{first}"), 409, "conflict")
        fresh = self.admin.post("/v1/tokens", {"role": "admin", "name": "fresh"}).json  # so that the first one can go, too
        code = self.admin.post("/v1/sessions/codes", token=fresh["token"]).json["code"]
        self.assertEqual(self.admin.post("/v1/sessions", {"code": code}, token=None).status, 201)
        self.assertEqual(self.admin.get("/v1/status").json["state"], "recovering")
        self.server.stop()
        self.server.start()
        self.admin.close()
        self.refused(self.admin.get("/v1/nodes", token=stolen["token"]), 401, "unauthenticated")
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        self.assertEqual(memlane(self.server, "recovery", "adopt")[0], 0)
        self.wait_for(lambda: self.admin.get("/v1/check").json["result"] == "ok")
        for a in self.admin.get("/v1/attachments?state=live").json["items"]:
            self.detach(a["id"])

    def test_the_log_of_a_killed_orchestrator_is_not_read_into_a_restored_database(self):
        db = self.server.dir / "rack.db"
        backup = self.backup()
        self.admin.post("/v1/tokens", {"role": "viewer", "name": "lost"})
        self.server.stop(signal.SIGKILL)
        kept = self.server.dir / f"old{time.time_ns()}.db"
        db.rename(kept)
        restore = [str(BUILD / "bin/memlaned"), "--restore", str(backup), "--db", str(db)]
        done = subprocess.run(restore, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("rack.db-wal", done.stderr)
        start = subprocess.run([str(BUILD / "bin/memlaned"), "--listen", "127.0.0.1:0", "--db", str(db)],  # nor a new one beside it
                               capture_output=True, text=True, timeout=20)
        self.assertEqual(start.returncode, 1, start.stderr)
        self.assertIn("rack.db-wal", start.stderr)
        self.assertFalse(db.exists())
        kept.rename(db)
        self.server.start()
        self.admin.close()
        self.assertIn("lost", [t["name"] for t in self.admin.get("/v1/tokens").json["items"]])
        self.wait_for(lambda: self.admin.get("/v1/status").json["nodes"].get("ready") == 2)

    def test_a_silent_node_is_waited_for_or_named(self):
        self.restore(self.backup())
        self.wait_for(lambda: all(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        self.nodes["n2"].stop()
        self.server.stop()
        self.server.start()
        self.admin.close()
        self.wait_for(lambda: any(n["reported"] for n in self.admin.get("/v1/recovery").json["nodes"]))
        answer = self.admin.post("/v1/recovery/adopt")
        self.refused(answer, 409, "conflict")
        self.assertIn("n2", answer.json["detail"])
        self.assertEqual(memlane(self.server, "recovery", "adopt", "--without", "n2")[0], 0)
        self.nodes["n2"].stopping.clear()
        self.nodes["n2"].run()
        self.wait_for(lambda: all(a["ok"] for n in ("n1", "n2") for a in self.admin.get(f"/v1/nodes/{n}").json["adapters"]))


if __name__ == "__main__":
    unittest.main()
