"""harness.py - a whole emulated rack for a test: comes up in a directory of its own, is looked at from every side, goes down.

    with Rack("star8") as rack:
        a = rack.attach("n1", 1 * GIB)
        ...
        rack.detach(a["id"])
        rack.assert_clean()

Leaving the block checks the register trace of everything that happened (trace_check), and that nothing is left running.  The
build to test is $MEMLANE_BUILD (default: build/ of this tree).
"""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("MEMLANE_BUILD") or REPO / "build").resolve()
RACK_COMMAND = [sys.executable, "-B", str(REPO / "deploy" / "rack")]
sys.path.insert(0, str(REPO / "deploy"))
from supervisor import rack_processes  # noqa: E402

MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40
ENDED = ("detached", "failed", "lost")


class Problem(AssertionError):
    """An answer that is not 2xx."""

    def __init__(self, method, path, status, body):
        super().__init__(f"{method} {path}: HTTP {status}: {body}")
        self.status, self.body = status, body if isinstance(body, dict) else {}
        self.code = self.body.get("code")


class Api:
    """JSON over one kept connection a thread."""

    def __init__(self, port, token):
        self.port, self.token = port, token
        self.local = threading.local()
        self.connections = []

    def connection(self):
        if getattr(self.local, "connection", None) is None:
            self.local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
            self.connections.append(self.local.connection)
        return self.local.connection

    def close(self):
        """This thread's connection; the next request opens another one."""
        connection, self.local.connection = getattr(self.local, "connection", None), None
        if connection:
            connection.close()
            self.connections.remove(connection)

    def close_all(self):
        """Those of threads that ended, too.  No request may be under way."""
        self.close()
        while self.connections:
            self.connections.pop().close()

    def raw(self, method, path, body=None, headers=None):
        """(status, headers, text); raises OSError or HTTPException when the connection breaks."""
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        kept = getattr(self.local, "connection", None) is not None
        connection = self.connection()
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException) as broken:
            self.close()
            if kept and method == "GET" and isinstance(broken, http.client.RemoteDisconnected):
                return self.raw(method, path, body, headers)  # kept for too long: the orchestrator closes idle connections
            raise

    def call(self, method, path, body=None, headers=None):
        """The body as JSON, or Problem."""
        text = None if body is None else json.dumps(body)
        status, _, answer = self.raw(method, path, text, headers)
        value = json.loads(answer) if answer else None
        if status >= 300:
            raise Problem(method, path, status, value)
        return value

    def items(self, path):
        """All of a list, page after page."""
        found, cursor = [], ""
        while cursor is not None:
            page = self.call("GET", f"{path}{'&' if '?' in path else '?'}limit=1000{'&cursor=' + cursor if cursor else ''}")
            found += page["items"]
            cursor = page["next_cursor"]
        return found

    def persistently(self, method, path, body=None, headers=None, seconds=20):
        """The same request again while the orchestrator is away, as a client with an Idempotency-Key may do."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.call(method, path, body, headers)
            except (OSError, http.client.HTTPException, Problem) as error:
                away = not isinstance(error, Problem) or error.status == 503
                if not away or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def lasting_processes(rack_dir):
    """pid -> command line of every program, without the agents' children, which have their parent's."""
    words, parents = {}, {}
    for pid in rack_processes(rack_dir):
        with contextlib.suppress(OSError):
            words[pid] = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
            parents[pid] = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return {pid: words[pid] for pid, parent in parents.items() if words.get(parent) != words[pid]}


def eventually(what, condition, seconds=10.0):
    """Waits until condition() is true and answers its value.  A Problem or OSError on the way counts as not yet."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            if value := condition():
                return value
            last = value
        except (OSError, http.client.HTTPException, AssertionError) as error:
            last = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds} s: {what} (last: {last!r})")
        time.sleep(0.01)


class EventReader(threading.Thread):
    """Follows the stream, and takes it up again behind the last event whenever it breaks."""

    def __init__(self, rack, after):
        super().__init__(daemon=True)
        self.rack, self.last, self.ids, self.events, self.resets, self.ending = rack, after, [], [], 0, False
        self.connected = threading.Event()

    def run(self):
        while not self.ending:
            try:
                self.read_one_connection()
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)

    def read_one_connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.rack.port, timeout=15)
        try:
            connection.request("GET", "/v1/events", headers={"Accept": "text/event-stream", "Last-Event-ID": str(self.last),
                                                             "Authorization": f"Bearer {self.rack.api.token}"})
            answer = connection.getresponse()
            number = None
            if answer.status == 200:
                self.connected.set()
            while answer.status == 200 and (line := answer.readline()).endswith(b"\n") and not self.ending:
                if line.startswith(b"id:"):
                    number = int(line[3:])
                elif line.startswith(b"data:") and number is not None:  # a whole event
                    self.last = number
                    self.ids.append(number)
                    self.events.append(json.loads(line[5:]))
                self.resets += line.startswith(b"event: reset")
        finally:
            connection.close()


class Rack:
    def __init__(self, rack="pair", options=(), check_trace=True):
        self.rack_file = pathlib.Path(rack) if "/" in str(rack) else REPO / "deploy" / "racks" / f"{rack}.json"
        self.plan = json.loads(self.rack_file.read_text())
        self.options = list(options)
        self.check_trace = check_trace
        self.settle_seconds = 60
        self.dir = None
        self.api = None
        self.baseline = None
        self.failed = lambda: False  # the test that has it from rack_for()

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ml-", dir="/tmp"))
        self.dir.rmdir()
        done = subprocess.run([*RACK_COMMAND, "up", "--rack", str(self.rack_file), "--dir", str(self.dir), "--port", "0",
                               "--build", str(BUILD), *self.options], capture_output=True, text=True,
                              env={**os.environ, **self.environment()})
        if done.returncode:
            self.save_logs()
            shutil.rmtree(self.dir, ignore_errors=True)
            raise AssertionError(f"the rack did not come up: {done.stdout}{done.stderr}")
        self.env = dict(line.split("=", 1) for line in (self.dir / "rack.env").read_text().splitlines())
        self.port = int(self.env["MEMLANE_URL"].rsplit(":", 1)[1])
        self.api = Api(self.port, self.env["MEMLANE_TOKEN"])
        self.api.items("/v1/attachments?state=detached")  # memlaned opens its connection for history when it first needs it
        self.baseline = self.holdings()
        return self

    def environment(self):
        """More variables for all of the rack's programs; self.dir is known, and not there yet."""
        return {}

    def __exit__(self, kind, value, traceback):
        self.api.close_all()
        subprocess.run([*RACK_COMMAND, "down", "--dir", str(self.dir)], check=True, stdout=subprocess.DEVNULL)
        try:
            left = rack_processes(self.dir)
            assert not left, f"processes are left: {left}"
            assert not self.mounted(), "the mount is left"
            self.assert_no_reports()
            if kind is None and self.check_trace:
                self.assert_trace()
        except AssertionError:
            self.save_logs()
            raise
        if kind is not None or self.failed():
            self.save_logs()
        shutil.rmtree(self.dir, ignore_errors=True)

    def save_logs(self):
        """Keeps what a person needs to understand a failure, and says where."""
        keep = pathlib.Path(tempfile.mkdtemp(prefix="ml-failed-", dir="/tmp"))
        for name in ("log", "trace.jsonl", "memlane.db", "memlane.db-wal"):
            source = self.dir / name
            if source.is_dir():
                shutil.copytree(source, keep / name)
            elif source.exists():
                shutil.copy(source, keep / name)
        print(f"logs, trace and database of {self.plan['name']} are kept in {keep}", file=sys.stderr)

    def mounted(self):
        return f" {self.dir}/sys " in pathlib.Path("/proc/self/mountinfo").read_text()

    # ---- the API

    def attach(self, node, size_bytes, **more):
        """Requests memory and waits; the attachment, attached."""
        a = self.try_attach(node, size_bytes, **more)
        assert a["state"] == "attached", f"{a['state']}: {a['reason']}"
        return a

    def try_attach(self, node, size_bytes, key=None, **more):
        """Waits until it settled, whatever the state; raises Problem when it is refused."""
        body = {"compute_node": node, "size_bytes": size_bytes, **more}
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self.settled(self.api.persistently("POST", "/v1/attachments?wait=30", body, headers)["id"])

    def detach(self, attachment_id):
        self.api.persistently("DELETE", f"/v1/attachments/{attachment_id}?wait=30")
        a = self.settled(attachment_id)
        assert a["state"] == "detached", f"{a['state']}: {a['reason']}"
        return a

    def attachment(self, attachment_id):
        return self.api.call("GET", f"/v1/attachments/{attachment_id}")

    def settled(self, attachment_id, seconds=None):
        """The attachment as soon as nothing goes on by itself any more."""
        def look():
            a = self.attachment(attachment_id)
            return a if a["state"] not in ("pending", "detaching") else None
        return eventually(f"{attachment_id} settled", look, seconds or self.settle_seconds)

    def live(self):
        return self.api.items("/v1/attachments?state=live")

    def node(self, name):
        return self.api.call("GET", f"/v1/nodes/{name}")

    def check(self):
        """What `memlane check` says: the orchestrator's own view of the invariants.  True, or an AssertionError of what is not ok."""
        wrong = [f"{i['name']} {i['result']}: {i['detail']}" for i in self.api.call("GET", "/v1/check")["items"] if i["result"] != "ok"]
        assert not wrong, f"memlane check: {wrong}"
        return True

    def check_command(self):
        """The same by the command, with its exit status."""
        done = subprocess.run([BUILD / "bin" / "memlane", "check"], capture_output=True, text=True, timeout=60, env={
            **os.environ, "MEMLANE_URL": self.env["MEMLANE_URL"], "MEMLANE_TOKEN": self.env["MEMLANE_TOKEN"]})
        assert done.returncode == 0, f"memlane check: exit status {done.returncode}: {done.stdout}{done.stderr}"

    # ---- processes

    def supervisor(self, line):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.settimeout(30)
            s.connect(str(self.dir / "supervisor.sock"))
            s.sendall(line.encode() + b"\n")
            return json.loads(s.makefile("r").readline())

    def pid(self, program):
        """Of memlaned, emulator, agent-NODE; None while it is down."""
        for p in self.supervisor("status")["processes"]:
            if p["name"] == program:
                return p["pid"]
        raise KeyError(program)

    def kill(self, program):
        """kill -9; the supervisor starts it again."""
        pid = eventually(f"{program} runs", lambda: self.pid(program))
        with contextlib.suppress(ProcessLookupError):  # it is between two lives already
            os.kill(pid, signal.SIGKILL)
        return pid

    # ---- the emulator

    def ctl(self, *words):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.settimeout(30)
            s.connect(str(self.dir / "ctl.sock"))
            s.sendall(" ".join(str(w) for w in words).encode() + b"\n")
            answer = json.loads(s.makefile("r").readline())
        assert "error" not in answer, f"ctl {words}: {answer['error']}"
        return answer

    def peek(self, node, address):
        """128 bytes at a physical address of the node, over the emulated fabric."""
        return bytes.fromhex(self.ctl("peek", node, hex(address))["data"])

    def poke(self, node, address, data):
        self.ctl("poke", node, hex(address), data.hex())

    def register(self, node, adapter, offset):
        return int(self.ctl("register", f"{node}/{adapter}", hex(offset))["value"], 16)

    def switch_lines(self, name, request):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.settimeout(10)
            s.connect(str(self.dir / "switches" / f"{name}.sock"))
            s.sendall(request.encode() + b"\n")
            lines = []
            for line in s.makefile("r"):
                lines.append(line.strip())
                if lines[-1] == "ok" or lines[-1].startswith("error"):
                    return lines
        return lines

    # ---- what must be so

    def segment_file(self, a):
        return self.dir / "nodes" / a["compute_node"] / "segments" / a["id"]

    def buffer_file(self, a):
        return self.dir / "nodes" / a["donor"] / "buffers" / a["id"]

    def holdings(self):
        """All processes with the number of their open files, and all files: to be compared before and after."""
        self.api.close_all()
        processes = {}
        for pid, words in lasting_processes(self.dir).items():
            with contextlib.suppress(OSError):
                processes[" ".join(words)] = len(os.listdir(f"/proc/{pid}/fd"))
        files = set()
        for base, folders, names in os.walk(self.dir):
            if pathlib.Path(base) == self.dir:
                folders[:] = [f for f in folders if f not in ("sys", "log")]
            files.update(os.path.relpath(os.path.join(base, n), self.dir) for n in names)
        for link in self.dir.glob("nodes/*/buffers"):
            files.update(f"{link.relative_to(self.dir)}/{n}" for n in os.listdir(link))
        return processes, files

    def assert_nothing_more(self, before=None):
        """No process, descriptor or file more than before (when the rack came up)."""
        processes, files = before or self.baseline

        def compare():
            now_processes, now_files = self.holdings()
            extra = sorted(now_files - files)
            assert not extra, f"files: {extra[:8]}"
            for name, n_fds in now_processes.items():
                assert name in processes, f"process: {name}"
                assert n_fds <= processes[name], f"{n_fds} descriptors, {processes[name]} before: {name}"
            return True
        eventually("nothing is left", compare, 25)  # a stream's dead client is noticed at the second heartbeat

    def assert_hardware_idle(self):
        """Sections parked, channels in reset, cross-connects cleared: read from the emulator, not from the API."""
        for node in self.plan["nodes"]:
            for adapter in node["adapters"]:
                where = f"{node['name']}/{adapter['name']}"
                assert self.register(node["name"], adapter["name"], 0x78) & 3 == 0, f"{where}: a channel is out of reset"
                if adapter["role"] != "compute":
                    continue
                for n in range(8):
                    value = self.register(node["name"], adapter["name"], 0x20 + 8 * n)
                    parked = (0x4000000000000000 - (n << 40)) & (1 << 64) - 1
                    assert value == 0 or value & ~0x3f == parked & ~0x3f, f"{where}: section {n} holds {value:#x}"
        for switch in self.plan["switches"]:
            assert self.switch_lines(switch["name"], "list") == ["ok"], f"{switch['name']} joins ports still"

    def assert_clean(self):
        """After everything was detached."""
        eventually("memlane check is content", self.check, 15)
        self.check_command()
        assert self.live() == [], "attachments are left"
        for node in self.api.items("/v1/nodes"):
            assert node["lent_bytes"] == 0 and node["borrowed_bytes"] == 0, f"{node['name']} lends or borrows still"
        assert self.api.items("/v1/circuits") == [], "circuits are left"
        for kind in ("buffers", "segments"):
            left = [str(p) for p in self.dir.glob(f"nodes/*/{kind}/*")]
            assert not left, f"{kind} are left: {left}"
        self.assert_hardware_idle()
        self.assert_nothing_more()

    def assert_no_reports(self):
        """Programs that were built with a sanitizer write what they found to their logs."""
        words = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "runtime error:", "ThreadSanitizer: ")
        for log in (self.dir / "log").glob("*.log"):
            lines = log.read_text(errors="replace").splitlines()
            found = [i for i, line in enumerate(lines) if any(word in line for word in words)]
            assert not found, f"{log.name}:\n" + "\n".join(lines[found[0]:found[0] + 40])

    def assert_trace(self):
        import trace_check
        violations = trace_check.check_file(self.dir / "trace.jsonl")
        assert not violations, f"{len(violations)} violations in the register trace: {violations[:5]}"


def has_failed(test):
    """So far: a test's own tearDown() and clean-ups may ask."""
    result = test._outcome.result  # not its .success, which is of the part that runs just now
    return any(t is test for t, _ in result.failures + result.errors)


def rack_for(test, rack):
    """The rack, up until the test has ended; its logs are kept when that failed (enterContext() tells a rack nothing of it)."""
    rack.failed = lambda: has_failed(test)
    return test.enterContext(rack)
