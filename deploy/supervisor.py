"""supervisor.py - the one process that keeps an emulated rack's programs alive, as systemd would on real machines.

Started by deploy/rack with the rack's directory; reads DIR/processes.json: [{"name", "argv", "restart_argv", "env", "autostart",
"restart_max_s"}].
What dies is started again after a short, growing pause.  It listens on DIR/supervisor.sock: one line in (`status`, `start NAME`,
`stop NAME`, `shutdown`), one JSON line out.  It holds a lock on DIR/supervisor.lock (with its pid in it) as long as it lives, and
an open socket that it inherits and does not use: the reservation of the orchestrator's port (ports.py).
Everything it starts, and what those start, carries MEMLANE_RACK_DIR in its environment, so that leftovers can be found.
"""
import ctypes
import fcntl
import json
import os
import pathlib
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time

RESTART_FIRST_S = 0.05
RESTART_MAX_S = 0.5
STEADY_S = 0.5  # who lived that long starts again at once
STOP_S = 5.0
PR_SET_CHILD_SUBREAPER = 36


def rack_processes(rack_dir):
    """Pids of every Memlane program that belongs to the rack, whoever started it."""
    marker = f"MEMLANE_RACK_DIR={rack_dir}".encode()
    inside = f"{rack_dir}/".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        base = f"/proc/{entry}"
        try:
            command = pathlib.Path(base, "cmdline").read_bytes().split(b"\0")
            if not os.path.basename(command[0]).startswith(b"memlane"):
                continue
            if any(inside in word + b"/" for word in command[1:]):
                found.append(int(entry))
                continue
            if marker in pathlib.Path(base, "environ").read_bytes().split(b"\0"):
                found.append(int(entry))
        except (OSError, IndexError):
            continue
    return found


class Process:
    def __init__(self, spec):
        self.name = spec["name"]
        self.argv = spec["argv"]
        self.restart_argv = spec.get("restart_argv", self.argv)
        self.env = spec.get("env", {})
        self.wanted = spec.get("autostart", True)
        self.popen = None
        self.starts = 0
        self.started_at = 0.0
        self.pause = RESTART_FIRST_S
        self.pause_max = spec.get("restart_max_s", RESTART_MAX_S)
        self.start_at = 0.0
        self.kill_at = None
        self.waiters = []
        self.last_end = ""

    def status(self):
        return {"name": self.name, "pid": self.popen.pid if self.popen else None, "wanted": self.wanted,
                "starts": self.starts, "last_end": self.last_end}


class Supervisor:
    def __init__(self, rack_dir):
        self.dir = rack_dir
        specs = json.loads((rack_dir / "processes.json").read_text())
        self.processes = {spec["name"]: Process(spec) for spec in specs}
        self.ending = False
        self.selector = selectors.DefaultSelector()
        self.listener = None

    # ---- processes

    def start(self, p):
        environment = {**os.environ, **p.env, "MEMLANE_RACK_DIR": str(self.dir)}
        argv = p.restart_argv if p.starts else p.argv
        p.starts += 1
        p.started_at = time.monotonic()
        p.kill_at = None
        try:
            with open(self.dir / "log" / f"{p.name}.log", "ab") as log:
                p.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                                           cwd=self.dir, start_new_session=True, restore_signals=True)
        except OSError as error:
            self.ended(p, f"cannot start: {error}")

    def ended(self, p, how):
        p.popen = None
        p.last_end = how
        now = time.monotonic()
        if now - p.started_at >= STEADY_S:
            p.pause = RESTART_FIRST_S
        p.start_at = now + p.pause
        p.pause = min(p.pause * 2, p.pause_max)
        if p.wanted:
            print(f"{p.name}: {how}, starts again in {p.start_at - now:.2f} s", flush=True)
        for connection in p.waiters:
            self.answer(connection, {"ok": True, **p.status()})
        p.waiters = []

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for p in self.processes.values():
                if p.popen and p.popen.pid == pid:
                    code = os.waitstatus_to_exitcode(status)
                    p.popen.returncode = code
                    self.ended(p, f"signal {-code}" if code < 0 else f"exit code {code}")

    def stop(self, p):
        p.wanted = False
        if p.popen and p.kill_at is None:
            os.kill(p.popen.pid, signal.SIGTERM)  # not send_signal(): it would reap
            p.kill_at = time.monotonic() + STOP_S

    def tick(self):
        """Starts and kills what is due; answers the seconds until the next such moment."""
        now, next_at = time.monotonic(), time.monotonic() + 3600
        for p in self.processes.values():
            if p.popen and p.kill_at is not None:
                if now >= p.kill_at:
                    os.kill(p.popen.pid, signal.SIGKILL)
                    p.kill_at = now + STOP_S
                next_at = min(next_at, p.kill_at)
            if not p.popen and p.wanted and not self.ending:
                if now >= p.start_at:
                    self.start(p)
                if not p.popen:  # it is not the time yet, or it could not be started
                    next_at = min(next_at, p.start_at)
        return max(0.0, next_at - time.monotonic())

    def end_all(self):
        """Agents and orchestrator, then the lenders, the emulator last: it holds the mount that the others use."""
        self.ending = True
        emulator = [p for p in self.processes.values() if p.name == "emulator"]
        self.end_these([p for p in self.processes.values() if p not in emulator])
        self.end_strays(skip={p.popen.pid for p in emulator if p.popen})
        self.end_these(emulator)

    def end_these(self, processes):
        for p in processes:
            self.stop(p)
        while any(p.popen for p in processes):
            self.tick()
            time.sleep(0.01)
            self.reap()

    def end_strays(self, skip):
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            strays = [pid for pid in rack_processes(self.dir) if pid not in skip]
            if not strays:
                return
            for pid in strays:
                try:
                    os.kill(pid, signal.SIGKILL)  # emulated lenders: nothing to save
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
            self.reap()

    # ---- control

    def answer(self, connection, value):
        try:
            connection.sendall(json.dumps(value).encode() + b"\n")
        except OSError:
            pass
        connection.close()

    def command(self, connection):
        connection.settimeout(2)
        try:
            words = connection.makefile("r").readline().split()
        except (OSError, UnicodeError):
            words = []
        verb = words[0] if words else ""
        if verb == "status":
            return self.answer(connection, {"ok": True, "processes": [p.status() for p in self.processes.values()]})
        if verb == "shutdown":
            self.ending = True
            return self.answer(connection, {"ok": True})
        p = self.processes.get(words[1]) if len(words) == 2 else None
        if verb not in ("start", "stop") or not p:
            return self.answer(connection, {"ok": False, "error": "status | start NAME | stop NAME | shutdown"})
        if verb == "start":
            p.wanted, p.start_at = True, 0.0
            self.tick()
            return self.answer(connection, {"ok": True, **p.status()})
        self.stop(p)
        if not p.popen:
            return self.answer(connection, {"ok": True, **p.status()})
        p.waiters.append(connection)
        return None

    def run(self):
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "ending", True))
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(self.dir / "supervisor.sock"))
        self.listener.listen(16)
        self.selector.register(wake_read, selectors.EVENT_READ)
        self.selector.register(self.listener, selectors.EVENT_READ)
        while not self.ending:
            for key, _ in self.selector.select(self.tick()):
                if key.fileobj is self.listener:
                    self.command(self.listener.accept()[0])
                else:
                    os.read(wake_read, 4096)
            self.reap()
        self.end_all()


def main():
    rack_dir = pathlib.Path(sys.argv[1]).resolve()
    lock = open(rack_dir / "supervisor.lock", "a+")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    (rack_dir / "supervisor.sock").unlink(missing_ok=True)
    Supervisor(rack_dir).run()


if __name__ == "__main__":
    main()
