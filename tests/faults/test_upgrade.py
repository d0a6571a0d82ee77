"""F24: upgrade and rollback with live attachments.  Two builds of this tree, the second with one more migration and another version:
the orchestrator and all agents are replaced by the newer ones, and back, while pages in borrowed memory are written and read all the
time.  The older orchestrator refuses the newer database; the way back is the one of memlaned(8): the backup from before, and adopt."""
import contextlib
import mmap
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from faultrack import BUILD, GIB, REPO, eventually, harness, patterns, record, star
from test_state_restore import SECONDS, Restorable

PROGRAMS = ("memlaned", "memlane-agent", "memlane-lender", "memlane-emulator", "memlane")


def build_next():
    """The next version's orchestrator and agent: the same tree, one migration further."""
    where = BUILD / "next"
    where.mkdir(exist_ok=True)
    n = len(list((REPO / "schema" / "migrations").glob("*.sql"))) + 1
    sql = where / f"{n:04}-next.sql"
    for old in where.glob("*-next.sql"):
        if old != sql:
            old.unlink()
    text = "CREATE TABLE next_words (id INTEGER PRIMARY KEY, word TEXT NOT NULL) STRICT;\n" \
           "ALTER TABLE attachments ADD COLUMN next_word TEXT NOT NULL DEFAULT 'word';\n"
    if not sql.exists() or sql.read_text() != text:
        sql.write_text(text)
    for command in (["cmake", "-S", REPO, "--preset", "faults", "-B", where, f"-DMEMLANE_NEXT_MIGRATION={sql}"],
                    ["cmake", "--build", where, "--target", "memlaned", "memlane-agent"]):
        done = subprocess.run(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout[-3000:]
    return where


class Traffic(threading.Thread):
    """Writes into borrowed memory and reads it back, at both ends, over and over."""

    def __init__(self, rack, attachments):
        super().__init__(daemon=True)
        self.over, self.rounds, self.wrong = threading.Event(), 0, []
        self.files = [(rack.segment_file(a), rack.buffer_file(a)) for a in attachments]

    def run(self):
        with contextlib.ExitStack() as stack:
            ends = [[stack.enter_context(patterns.mapped(end)) for end in files] for files in self.files]
            while not self.over.is_set():
                for n, (near, far) in enumerate(ends):
                    self.one(n, near, far)
                self.rounds += 1

    def one(self, n, near, far):
        page = patterns.page_pattern(f"traffic {n}", self.rounds)
        at = 5 * mmap.PAGESIZE + self.rounds % 64 * mmap.PAGESIZE  # not where patterns.fill() has written
        near[at:at + len(page)] = page
        if far[at:at + len(page)] != page or near[at:at + len(page)] != page:
            self.wrong.append((self.rounds, n))

    def goes_on(self):
        """Some more rounds went well, over segments that are still there."""
        before = self.rounds
        eventually("traffic goes on", lambda: self.rounds > before + 10)
        assert not self.wrong, f"pages changed: {self.wrong[:3]}"
        for near, far in self.files:
            assert near.exists() and far.exists(), f"{near} is gone"


class Upgrade(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.next = build_next()

    def setUp(self):
        """A folder of programs that the rack runs from: what a package installs into."""
        self.installed = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="ml-installed-")))
        (self.installed / "bin").mkdir()
        shutil.copytree(BUILD / "lib" / "emulated", self.installed / "lib" / "emulated")
        self.install(BUILD, *PROGRAMS)
        real, harness.BUILD = harness.BUILD, self.installed
        self.addCleanup(setattr, harness, "BUILD", real)

    def install(self, build, *programs):
        """As dpkg does: another file, renamed over the old one, which goes on running."""
        for name in programs:
            fresh = self.installed / "bin" / f".{name}"
            shutil.copy(build / "bin" / name, fresh)
            fresh.rename(self.installed / "bin" / name)

    def memlane(self, *words):
        done = subprocess.run([str(self.installed / "bin" / "memlane"), *map(str, words)], capture_output=True, text=True, timeout=60, env={
            **os.environ, "MEMLANE_URL": self.rack.env["MEMLANE_URL"], "MEMLANE_TOKEN": self.rack.env["MEMLANE_TOKEN"]})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def restart(self, program):
        self.rack.supervisor(f"stop {program}")
        self.rack.supervisor(f"start {program}")

    def versions(self):
        return {n["name"]: n["version"] for n in self.rack.api.items("/v1/nodes")}

    def untouched(self, before):
        """The data path is as it was: the same lenders, registers, buffers and segments, with traffic over them."""
        self.traffic.goes_on()
        self.assertEqual(self.hardware(), before)
        self.rack.assert_patterns()

    def hardware(self):
        status = self.rack.ctl("status")
        adapters = {(n["name"], a["name"]): (a["channels"], a.get("sections"), a["pid"] if a["role"] == "memory" else None)
                    for n in status["nodes"] for a in n["adapters"]}
        return adapters, [s["pairs"] for s in status["switches"]], self.rack.held()

    def test_f24_upgrade_and_rollback(self):
        began = time.monotonic()
        with Restorable(star(3)) as self.rack:
            known = [self.rack.attach_somehow("n1", GIB, donor="n2"), self.rack.attach_somehow("n3", GIB, donor="n2")]
            self.traffic = Traffic(self.rack, known)
            self.traffic.start()
            old = self.versions()
            before = self.hardware()
            backup = self.installed / "before.db"
            self.memlane("backup", backup)
            self.upgrade(before, old)
            later = self.rack.attach_somehow("n1", GIB, donor="n3")  # not known to the backup
            self.rack.judge()
            self.roll_back(self.hardware(), old, backup, known + [later])
            self.traffic.over.set()
            self.traffic.join()
            for a in known + [later]:
                self.rack.detach_somehow(a["id"])
            self.rack.await_ready()
            self.rack.assert_hardware_idle()
        record("F24", 1, began)

    def upgrade(self, before, old):
        self.install(self.next, "memlaned")
        self.restart("memlaned")
        eventually("the newer orchestrator", lambda: self.rack.api.call("GET", "/v1/status")["version"].endswith("+next"), SECONDS)
        self.rack.await_ready(SECONDS)
        self.assertEqual(self.versions(), old, "agents of the older version go on")
        self.untouched(before)
        self.install(self.next, "memlane-agent")
        for name in old:
            self.restart(f"agent-{name}")
        eventually("the newer agents", lambda: all(v.endswith("+next") for v in self.versions().values()), SECONDS)
        self.rack.judge()
        self.untouched(before)

    def roll_back(self, before, old, backup, held):
        self.install(BUILD, "memlane-agent", "memlaned")
        for name in old:
            self.restart(f"agent-{name}")
        eventually("the older agents", lambda: self.versions() == old, SECONDS)  # with the newer orchestrator
        self.rack.await_ready(SECONDS)
        self.untouched(before)
        log = self.rack.dir / "log" / "memlaned.log"
        begin = log.stat().st_size
        self.restart("memlaned")
        said = eventually("the older one refuses", lambda: [line for line in log.read_bytes()[begin:].decode().splitlines()
                                                            if "knows up to" in line], SECONDS)
        self.assertRegex(said[0], r"memlane\.db has version \d+, this memlaned knows up to \d+")
        self.untouched(before)
        self.rack.supervisor("stop memlaned")
        self.rack.database.rename(self.rack.database.with_suffix(".newer"))
        for tail in ("-wal", "-shm"):
            pathlib.Path(f"{self.rack.database}{tail}").unlink(missing_ok=True)
        done = subprocess.run([self.installed / "bin" / "memlaned", "--restore", backup, "--db", self.rack.database],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.rack.supervisor("start memlaned")
        eventually("it recovers", lambda: self.rack.recovery()["recovering"], SECONDS)
        self.rack.await_reports()
        self.untouched(before)
        self.memlane("recovery", "adopt")
        eventually("all is attached", lambda: {a["id"] for a in self.rack.live() if a["state"] == "attached"} ==
                   {a["id"] for a in held}, SECONDS)
        self.rack.await_ready(SECONDS)
        eventually("memlane check is content", self.rack.check, SECONDS)
        self.untouched(before)


if __name__ == "__main__":
    unittest.main()
