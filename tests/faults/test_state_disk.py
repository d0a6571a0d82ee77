"""A disk that fails under memlaned: the n-th call (F11), a power cut (F4), a full disk (F10)."""
import contextlib
import errno
import http.client
import json
import os
import pathlib
import shutil
import sqlite3
import struct
import sys
import subprocess
import tempfile
import time
import unittest

from shimmed import GIB, IO, FakeAgent, Memlaned, Shimmed

from faultrack import MODE, count, dice, record

LINKS = [{"a": "n1/afu0/0", "b": "n2/afu1/0", "latency_ns": 20, "gbps": 100},
         {"a": "n1/afu0/1", "b": "n2/afu1/1", "latency_ns": 20, "gbps": 100}]


def eventually(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if value := condition():
                return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


class Operations:
    """Twelve changes, each with how to tell whether it took effect.  Every one can be done again and again."""

    def __init__(self, server):
        self.server, self.n = server, 0
        self.admin = server.client()
        self.join = self.admin.post("/v1/tokens", {"role": "join", "name": "join"}).json["token"]
        self.agents = {name: FakeAgent(server, name, self.join) for name in ("n1", "n2")}
        for agent in self.agents.values():
            assert agent.register().status == 200
            assert agent.report().status == 204
        etag = self.admin.get("/v1/topology").headers["ETag"]
        assert self.admin.put("/v1/topology", {"switches": [], "links": LINKS}, headers={"If-Match": etag}).status == 200
        self.all = ("token_create", "token_revoke", "sign_in", "sign_out", "cordon", "labels", "link_down", "topology", "attach",
                    "detach", "register", "backup")

    def next(self):
        self.n += 1
        return f"x{self.n}"

    def again(self):
        """After a restart: agents and links are as they should be."""
        self.admin.close()
        for agent in self.agents.values():
            agent.reports.close()
            eventually("registered again", lambda: agent.register().status == 200)
            eventually("reported again", lambda: agent.report().status == 204)
        self.admin.patch("/v1/links", {"a": LINKS[0]["a"], "b": LINKS[0]["b"], "down": False})
        for a in self.live():
            self.admin.delete(f"/v1/attachments/{a}")

    def ready(self):
        """Both nodes can lend and borrow: they were heard a moment ago, however slowly the calls before went."""
        for agent in self.agents.values():
            if agent.report().status != 204:
                assert agent.register().status == 200
                assert agent.report().status == 204
        self.admin.patch("/v1/nodes/n2", {"cordoned": False})
        if len(self.holding()) > 16:  # n2 has room for some more
            self.clear()

    def clear(self):
        """Gives all back, the agents answering every order."""
        for a in self.live():
            self.admin.delete(f"/v1/attachments/{a}")

        def gone():
            for agent in self.agents.values():
                if (answer := agent.poll(wait=0)).status == 200:
                    agent.apply(answer.json)
                agent.report()
            return not self.holding()
        eventually("nothing is held", gone)

    def holding(self):
        return self.admin.get("/v1/attachments?state=live&limit=1000").json["items"]

    def live(self):
        return {a["id"] for a in self.holding() if a["goal"] == "present"}

    def tokens(self):
        return {t["name"] for t in self.admin.get("/v1/tokens?limit=1000").json["items"]}

    # Each prepares, and answers (do, done): do() sends the request, done() says whether it took effect.
    def token_create(self):
        name = self.next()
        return lambda: self.admin.post("/v1/tokens", {"role": "viewer", "name": name}), lambda: name in self.tokens()

    def token_revoke(self):
        name = self.next()
        made = self.admin.post("/v1/tokens", {"role": "viewer", "name": name}).json["id"]
        return lambda: self.admin.delete(f"/v1/tokens/{made}"), lambda: name not in self.tokens()

    def sign_in(self):
        cookie = {}

        def do():
            answer = self.admin.post("/v1/sessions", {"token": self.server.admin_token}, token=None)
            cookie["value"] = (answer.headers["Set-Cookie"] or "").split(";")[0]
            return answer
        return do, lambda: bool(cookie.get("value")) and self.admin.get("/v1/status", token=None, headers={
            "Cookie": cookie["value"]}).status == 200

    def sign_out(self):
        answer = self.admin.post("/v1/sessions", {"token": self.server.admin_token}, token=None)
        cookie = answer.headers["Set-Cookie"].split(";")[0]
        head = {"Cookie": cookie, "X-Memlane-CSRF": "1", "Origin": f"http://127.0.0.1:{self.server.port}"}
        return (lambda: self.admin.delete("/v1/sessions", token=None, headers=head),
                lambda: self.admin.get("/v1/status", token=None, headers={"Cookie": cookie}).status == 401)

    def cordon(self):
        want = not self.admin.get("/v1/nodes/n2").json["cordoned"]
        return (lambda: self.admin.patch("/v1/nodes/n2", {"cordoned": want}),
                lambda: self.admin.get("/v1/nodes/n2").json["cordoned"] is want)

    def labels(self):
        value = self.next()
        return (lambda: self.admin.patch("/v1/nodes/n2", {"labels": {"mark": value}}),
                lambda: self.admin.get("/v1/nodes/n2").json["labels"].get("mark") == value)

    def link_down(self):
        link = {"a": LINKS[0]["a"], "b": LINKS[0]["b"]}

        def is_down():
            return next(x["state"] for x in self.admin.get("/v1/topology").json["links"] if link["a"] in (x["a"], x["b"])) == "down"
        want = not is_down()
        return lambda: self.admin.patch("/v1/links", {**link, "down": want}), lambda: is_down() is want

    def topology(self):
        etag = self.admin.get("/v1/topology").headers["ETag"]
        ports = 4 + self.n % 60
        self.next()
        cabling = {"switches": [{"name": "ocs1", "kind": "circuit", "ports": ports, "latency_ns": 30}], "links": LINKS}
        return (lambda: self.admin.put("/v1/topology", cabling, headers={"If-Match": etag}),
                lambda: [s["ports"] for s in self.admin.get("/v1/topology?declared=1").json["switches"]] == [ports])

    def attach(self):
        self.ready()
        key, before = self.next(), self.live()
        made = {}

        def do():
            answer = self.admin.post("/v1/attachments", {"compute_node": "n1", "size_bytes": GIB}, headers={"Idempotency-Key": key})
            made["id"] = (answer.json or {}).get("id")
            return answer
        return do, lambda: bool(self.live() - before)

    def detach(self):
        self.ready()
        made = self.admin.post("/v1/attachments", {"compute_node": "n1", "size_bytes": GIB}).json["id"]
        return lambda: self.admin.delete(f"/v1/attachments/{made}"), lambda: made not in self.live()

    def register(self):
        agent = FakeAgent(self.server, self.next(), self.join)
        return agent.register, lambda: self.admin.get(f"/v1/nodes/{agent.name}").status == 200

    def backup(self):
        got = {}

        def do():
            answer = self.admin.post("/v1/backup")
            got["file"] = answer.body if answer.status == 200 else None
            return answer

        def done():
            if not got.get("file"):
                return False
            with tempfile.NamedTemporaryFile(suffix=".db") as file:
                file.write(got["file"])
                file.flush()
                with contextlib.closing(sqlite3.connect(file.name)) as db:
                    return db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return do, done


class FailingDisk(unittest.TestCase):
    """F11: the n-th write, sync or open of an operation fails, for every n there is; once, and from then on."""

    def run_operation(self, ops, name, nth, more, code):
        server = ops.server
        do, done = getattr(ops, name)()
        server.control.arm(IO, nth, code, more)
        answer = do()
        server.control.off()
        failed, seen = server.control.failed, server.control.seen
        ended = more and self.ended(server)
        good = 200 <= answer.status < 300
        if failed and not good:
            self.assertIn(answer.status, (500, 503, 507), f"{name}: {answer.json}")
            self.assertIn("detail", answer.json)
        if not failed:
            self.assertTrue(good, f"{name}: {answer.status} {answer.json}")
        if ended:  # it could not bring itself and its file together: systemd starts it again
            server.log.close()
            server.start()
            ops.again()
        self.assertEqual(ops.admin.get("/v1/status").status, 200)  # reads go on
        if failed and good:
            server.kill()  # what was acknowledged is in the file
            ops.admin.close()
        where = f"{name}, call {nth} of {seen} failed with {errno.errorcode[code]}, answered {answer.status}"
        if good or not more:
            self.assertEqual(done(), good, where)  # else the disk let nobody see what became of it: an error is true then
        if failed and good:
            ops.again()
        return failed, seen

    @staticmethod
    def ended(server):
        """Whether it is about to end by itself: asked for a change, it answers, or is gone."""
        admin = server.client()
        try:
            eventually("an answer", lambda: server.process.poll() is not None
                       or admin.post("/v1/tokens", {"role": "viewer", "name": "again"}).status == 201, 5)
        finally:
            admin.close()
        return server.process.poll() is not None

    def every_call(self, ops, name, more, code):
        nth, done = 0, 0
        while True:
            nth += 1
            failed, seen = self.run_operation(ops, name, nth, more, code)
            if not failed:
                return done
            done += 1

    def test_every_call_of_every_operation(self):
        began, cases = time.monotonic(), 0
        server = Shimmed(heartbeat_ms=200)
        try:
            ops = Operations(server)
            for name in ops.all:
                for more, code in ((0, errno.EIO), (1 << 30, errno.ENOSPC)) if MODE != "tenth" else ((0, errno.EIO),):
                    cases += self.every_call(ops, name, more, code)
            self.assertGreater(cases, 12 * 3)
            print(f"F11: {cases} calls made to fail", file=sys.stderr)
        finally:
            server.remove()
        record("F11", cases, began)


class Restarted(Memlaned):
    """On copies of a database and its log."""

    def __init__(self, database, token):
        self.files, self.token = [p for p in (database, pathlib.Path(f"{database}-wal")) if p.exists()], token
        super().__init__()

    def start(self):
        for file in self.files:
            shutil.copy(file, self.dir / file.name.replace(self.files[0].name, "rack.db"))
        (self.dir / "admin.token").write_text(self.token + "\n")
        (self.dir / "admin.token").chmod(0o600)
        super().start()


class PowerCut(unittest.TestCase):
    """F4: what was written up to any moment, with and without what had not been synced, is a database with all that was
    acknowledged by then; and memlaned starts with it, and says the same."""

    def test_prefixes(self):
        began, random, wanted = time.monotonic(), dice("F4"), count(200, 5000)
        with tempfile.TemporaryDirectory(prefix="ml-cut-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
            folder = pathlib.Path(folder)
            log = folder / "record"
            server = Shimmed(record=log, heartbeat_ms=200)
            try:
                acknowledged = self.work(server, log)
                self.token = server.admin_token
            finally:
                server.process.kill()
                server.process.wait()
                server.remove()
            writes = self.read(log)
            self.assertGreater(len(writes), 200)
            begin = acknowledged[0][0]  # the database was made by then
            for round_ in range(wanted):
                cut = random.randint(begin, len(writes)) if round_ % 4 else random.choice([n for n, *_ in acknowledged])
                with self.subTest(cut=cut):
                    self.check(folder, writes, cut, random, acknowledged, start=round_ % 8 == 0)
        record("F4", wanted, began)

    def work(self, server, log):
        """(number of records when it was acknowledged, what, of which token or attachment)"""
        admin, acknowledged = server.client(), []
        ops = Operations(server)
        for agent in ops.agents.values():
            agent.run()
        try:
            for n in range(40):
                name = f"t{n}"
                self.assertEqual(admin.post("/v1/tokens", {"role": "viewer", "name": name}).status, 201)
                acknowledged.append((len(self.read(log)), "token", name))
                if n % 2:
                    continue
                answer = admin.post("/v1/attachments?wait=20", {"compute_node": "n1", "size_bytes": GIB})
                self.assertEqual((answer.status, answer.json["state"]), (201, "attached"), answer.json)
                made = answer.json["id"]
                acknowledged.append((len(self.read(log)), "attached", made))
                if n % 4:
                    continue
                self.assertEqual(admin.delete(f"/v1/attachments/{made}?wait=20").status, 200)
                acknowledged.append((len(self.read(log)), "detached", made))
        finally:
            for agent in ops.agents.values():
                agent.stop()
            admin.close()
        return acknowledged

    @staticmethod
    def read(log):
        records, data, at = [], log.read_bytes(), 0
        while at + 32 <= len(data):
            what, file, offset, length = struct.unpack_from("=4Q", data, at)
            at += 32
            body = b""
            if what == 1:
                body, at = data[at:at + length], at + length
            records.append((what, file, offset, body))
        return records

    def check(self, folder, writes, cut, random, acknowledged, start):
        """What was not synced at the cut is there, in part, or torn."""
        files = {0: bytearray(), 1: bytearray()}
        synced = {f: max((i for i, w in enumerate(writes[:cut]) if w[0] == 3 and w[1] == f), default=-1) for f in files}
        for i, (what, file, offset, body) in enumerate(writes[:cut]):
            if file not in files:
                continue
            if i > synced[file]:
                fate = random.random()
                if fate < 0.3:
                    continue
                if fate < 0.5 and len(body) > 512:
                    body = body[:random.randrange(0, len(body), 512)]
            content = files[file]
            if what == 1:
                content.extend(bytes(max(0, offset + len(body) - len(content))))
                content[offset:offset + len(body)] = body
            elif what == 2:
                del content[offset:]
                content.extend(bytes(max(0, offset - len(content))))
        path = folder / "cut.db"
        for tail in ("", "-wal", "-shm", ".lock"):
            with contextlib.suppress(FileNotFoundError):
                (folder / f"cut.db{tail}").unlink()
        path.write_bytes(files[0])
        pathlib.Path(f"{path}-wal").write_bytes(files[1])
        with contextlib.closing(sqlite3.connect(path)) as db:
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchone(), ("ok",))
            have = {row[0] for row in db.execute("SELECT name FROM tokens")}
            audited = {json.loads(row[0])["name"] for row in db.execute(
                "SELECT detail FROM audit WHERE action = 'token.create' AND detail <> ''")}
        known = [(what, of) for n, what, of in acknowledged if n <= cut]
        missing = [of for what, of in known if what == "token" and (of not in have or of not in audited)]
        self.assertEqual(missing, [], f"acknowledged and lost at record {cut} of {len(writes)}")
        if start:
            self.check_started(path, known)

    def check_started(self, path, known):
        """memlaned says of attachments what it said before the power went."""
        server = Restarted(path, self.token)
        try:
            admin = server.client()
            states = {of: what for what, of in known if what != "token"}
            for made, state in states.items():
                a = admin.get(f"/v1/attachments/{made}").json
                self.assertIn(a["state"], ("attached", "detaching", "detached") if state == "attached" else ("detached",), a)
            admin.close()
        finally:
            server.remove()


INSIDE = "MEMLANE_INSIDE_NAMESPACE"


class FullDisk(unittest.TestCase):
    """F10: the database's file system is full, then has room again.  Agents report all the time, attachments come and go before and
    after, and nobody is taken for silent because nothing could be written."""

    def test_full_and_over(self):
        began, rounds = time.monotonic(), count(20, 100)
        done = subprocess.run(["unshare", "--mount", sys.executable, "-B", __file__, "full-disk", str(rounds)],
                              capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-3000:])
        record("F10", rounds, began)


class SmallDisk(Memlaned):
    def __init__(self):
        self.mount = pathlib.Path(tempfile.mkdtemp(prefix="ml-small-"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(self.mount)], check=True)
        tempfile.tempdir = str(self.mount)
        super().__init__(time_scale=0.3)
        tempfile.tempdir = None

    def start(self):
        if not (self.dir / "log").exists():  # that one has room
            self.log_file = tempfile.NamedTemporaryFile(prefix="ml-log-", dir="/tmp")
            (self.dir / "log").symlink_to(self.log_file.name)
        super().start()

    def fill(self):
        fd = os.open(self.mount / "ballast", os.O_WRONLY | os.O_CREAT)
        for size in (65536, 512):
            with contextlib.suppress(OSError):
                while True:
                    os.write(fd, bytes(size))
        os.close(fd)

    def make_room(self):
        (self.mount / "ballast").unlink()


def stay_full(admin, agents):
    """For longer than a node may be silent (10 s, scaled), while both report, and have news that could not be written yet."""
    for agent in agents:
        agent.free_bytes = 100 * GIB - agent.free_bytes
    end = time.monotonic() + 4.5
    while time.monotonic() < end:
        admin.post("/v1/tokens", {"role": "viewer", "name": "late"})


def full_disk_rounds(rounds):
    """In a mount namespace of its own."""
    check = unittest.TestCase()
    server = SmallDisk()
    admin, names, agents = server.client(), [], []
    borrow = {"compute_node": "n1", "size_bytes": GIB}
    try:
        agents += Operations(server).agents.values()
        for agent in agents:
            agent.run()
        for n in range(rounds):
            answer = admin.post("/v1/attachments?wait=20", borrow)
            check.assertEqual((answer.status, answer.json.get("state")), (201, "attached"), answer.json)
            held = [answer.json["id"]]
            server.fill()
            refused = 0
            for k in range(2000):  # the log has room inside
                name = f"r{n}-{k}"
                answer = admin.post("/v1/tokens", {"role": "viewer", "name": name})
                if answer.status == 201:
                    names.append(name)
                    continue
                check.assertIn(answer.status, (503, 507), answer.json)
                refused += 1
                if refused == 3:
                    break
            check.assertEqual(refused, 3, "the disk was never full")
            for path in ("/v1/status", "/v1/nodes", "/v1/events", "/v1/audit", "/v1/tokens", "/healthz"):
                check.assertEqual(admin.get(path).status, 200, path)
            check.assertEqual(admin.get("/v1/status").json["state"], "read_only")
            check.assertEqual(admin.get("/readyz").status, 503)
            # Refused, or done after all: each failure opens the database anew, and its log may have room from its beginning on.
            answer = admin.post("/v1/attachments", borrow)
            check.assertIn(answer.status, (201, 503, 507), answer.json)
            held += [answer.json["id"]] if answer.status == 201 else []
            answer = admin.delete(f"/v1/attachments/{held[0]}")
            check.assertIn(answer.status, (202, 503, 507), answer.json)
            if answer.status == 202:
                held.pop(0)
            if n % 10 == 0:
                stay_full(admin, agents)
            server.make_room()
            if n % 5 == 1:  # nobody tries: it finds out by itself
                eventually("ready again", lambda: admin.get("/readyz").status == 200, 10)
            name = f"r{n}-again"
            eventually("changes are taken again", lambda: admin.post("/v1/tokens", {"role": "viewer", "name": name}).status == 201, 10)
            names.append(name)
            check.assertEqual(admin.get("/v1/status").json["state"], "ok")
            for made in held:
                eventually("it is there", lambda: admin.get(f"/v1/attachments/{made}").json["state"] == "attached", 10)
                check.assertEqual(admin.delete(f"/v1/attachments/{made}?wait=20").status, 200)
        events = [e for e in admin.get("/v1/events?limit=1000").json["items"] if e["type"] == "node.state" and e["to"] == "unreachable"]
        check.assertEqual(events, [])
        for agent in agents:
            agent.stop()
        server.stop()
        server.start()
        admin.close()
        have = set()
        path = "/v1/tokens?limit=1000"
        while path:
            page = admin.get(path).json
            have |= {t["name"] for t in page["items"]}
            path = page["next_cursor"] and f"/v1/tokens?limit=1000&cursor={page['next_cursor']}"
        check.assertEqual([n for n in names if n not in have], [], "acknowledged and lost")
    finally:
        for agent in agents:
            agent.stop()
        server.remove()
        subprocess.run(["umount", str(server.mount)])
        server.mount.rmdir()


if __name__ == "__main__":
    if sys.argv[1:2] == ["full-disk"]:
        full_disk_rounds(int(sys.argv[2]))
    else:
        unittest.main()
