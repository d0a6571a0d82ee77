"""A real agent against orchestrators of the test's own: whose orders are carried out, and whose are not.  The node has no card, and
manages one circuit switch, of the test's own as well: what is joined there is what the agent obeyed."""
import http.server
import json
import pathlib
import socketserver
import subprocess
import tempfile
import threading
import unittest
import uuid

from harness import BUILD, eventually


class Orchestrator:
    """Answers every registration with its epoch, every poll with its orders; keeps the reports.  'orders' None: none yet."""

    def __init__(self, epoch, orders=None, port=0):
        self.epoch, self.instance, self.orders = epoch, uuid.uuid4().hex, orders
        self.session, self.reports, self.registrations, self.polls, self.closing = None, [], [], 0, threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                outer.registrations.append(self.body())
                outer.session = uuid.uuid4().hex
                self.answer(200, {"session": outer.session, "epoch": outer.epoch, "instance": outer.instance, "protocol": 1,
                                  "credential": "secret", "heartbeat_ms": 50, "poll_wait_s": 1})

            def do_GET(self):
                if f"after={outer.epoch}." not in self.path:
                    return self.stale()
                outer.polls += 1
                if f"after={outer.epoch}.1&" in self.path or outer.orders is None:
                    outer.closing.wait(0.05)
                    return self.answer(304 if outer.orders is not None else 204)
                empty = {k: [] for k in ("buffers", "sections", "channels", "crossconnects", "segments")}
                self.answer(200, {"epoch": outer.epoch, "revision": 1, "instance": outer.instance,
                                  "cursor": f"{outer.epoch}.1", **empty, **outer.orders})

            def do_PUT(self):
                report = self.body()
                if report["session"] != outer.session:
                    return self.stale()
                outer.reports.append(report)
                self.answer(204)

            def stale(self):
                self.answer(409, {"type": "about:blank", "title": "stale", "status": 409, "detail": "another session", "code": "session_stale"})

            def body(self):
                return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

            def answer(self, status, value=None):
                if outer.closing.is_set():
                    self.close_connection = True
                    return
                data = json.dumps(value).encode() if value is not None else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                if status not in (204, 304):
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address, daemon_threads = True, True

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        if not self.closing.is_set():
            self.closing.set()
            self.server.shutdown()
            self.server.server_close()

    def heard(self):
        """It has the agent's word of now."""
        n = len(self.reports)
        eventually("two more reports", lambda: len(self.reports) >= n + 2, 10)
        return self.reports[-1]


class Switch:
    def __init__(self, path, pairs=()):
        self.pairs, self.silent, self.asked = set(pairs), False, 0
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    words = line.decode().split()
                    outer.asked += 1
                    if outer.silent:
                        continue
                    self.wfile.write(outer.answer(words[0], [int(w) for w in words[1:]]).encode())

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        self.server = Server(str(path), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, word, ports):
        if word == "connect":
            self.pairs.add(tuple(sorted(ports)))
        elif word == "disconnect":
            self.pairs.discard(tuple(sorted(ports)))
        elif word == "list":
            return "".join(f"pair {a} {b}\n" for a, b in sorted(self.pairs)) + "ok\n"
        return "ok\n"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def join(a, b, connected=True):
    return {"crossconnects": [{"switch": "ocs1", "port_a": a, "port_b": b, "connected": connected}]}


class Epochs(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="ml-epochs-")))
        for name in ("state", "run", "sys/devices/system/memory", "sys/devices/system/node/node0", "proc/sys/kernel/random"):
            (self.dir / name).mkdir(parents=True)
        (self.dir / "sys/devices/system/memory/block_size_bytes").write_text("8000000\n")
        (self.dir / "sys/devices/system/node/node0/meminfo").write_text("Node 0 MemTotal: 8388608 kB\nNode 0 MemFree: 4194304 kB\n")
        (self.dir / "proc/sys/kernel/random/boot_id").write_text("boot-1\n")
        (self.dir / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        (self.dir / "join").write_text("join-token\n")
        self.switch = Switch(self.dir / "switch.sock")
        self.addCleanup(self.switch.close)

    def orchestrator(self, *arguments):
        o = Orchestrator(*arguments)
        self.addCleanup(o.close)
        return o

    def agent(self, port):
        config = self.dir / "agent.conf"
        d = self.dir
        config.write_text(f"[agent]\nname = n1\nurl = http://127.0.0.1:{port}\njoin_token_file = {d}/join\nstate_dir = {d}/state\n"
                          f"run_dir = {d}/run\nsysfs_root = {d}/sys\nprocfs_root = {d}/proc\nmachine_id_file = {d}/machine-id\n"
                          f"boot_dir = {d}\nocxl_library = {d}/none.so\ntime_scale = 0.05\n[switch ocs1]\naddress = unix:{d}/switch.sock\n")
        log = (self.dir / "agent.log").open("a")
        self.addCleanup(log.close)
        self.running = process = subprocess.Popen([BUILD / "bin/memlane-agent", "--config", config], stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def log(self):
        return (self.dir / "agent.log").read_text()

    def obeyed_once(self, epoch):
        first = self.orchestrator(epoch, join(1, 2))
        self.agent(first.port)
        eventually("its orders are carried out", lambda: (1, 2) in self.switch.pairs, 10)
        eventually("and it hears of that", lambda: first.reports and first.reports[-1]["revision"] == 1, 10)
        return first

    def changes_nothing(self, other):
        eventually("it is registered with", lambda: other.registrations, 10)
        eventually("and heard", lambda: other.polls > 3, 10)
        report = other.heard()
        self.assertEqual(report["revision"], 0, "the orders were applied")
        self.assertEqual(self.switch.pairs, {(1, 2)})
        return report

    def test_orders_of_an_older_epoch_or_of_another_of_the_same_are_refused(self):
        first = self.obeyed_once(7)
        first.close()
        for epoch in (6, 7):
            twin = self.orchestrator(epoch, {**join(1, 2, False), "segments": [
                {"id": "a1", "want": "absent", "attempt": 1, "adapter": "afu0", "section": 0, "offset_bytes": 0, "size_bytes": 1 << 30}]},
                first.port)
            report = self.changes_nothing(twin)
            self.assertEqual((twin.registrations[-1]["known_epoch"], report["segments"]), (7, []))
            self.assertIn("its orders are refused", self.log())
            self.assertEqual((self.dir / "state/epoch").read_text().split()[0], "7")
            twin.close()
        newer = self.orchestrator(8, join(1, 2, False), first.port)
        eventually("a newer one is obeyed", lambda: not self.switch.pairs, 10)
        self.assertEqual(newer.registrations[-1]["known_instance"], first.instance)

    def test_a_refused_epoch_stays_refused_over_the_agents_restart(self):
        first = self.obeyed_once(7)
        first.close()
        process = self.agent_process()
        older = self.orchestrator(6, join(1, 2, False), first.port)
        self.agent(first.port)
        self.changes_nothing(older)
        self.assertIsNotNone(process.returncode)

    def agent_process(self):
        """Ends the one that runs."""
        process = self.running
        process.kill()
        process.wait()
        return process

    def test_orders_of_an_epoch_end_with_it(self):
        """It is not through with them when a newer one comes, which has no orders yet: nothing of the old ones is done any more."""
        self.switch.silent = True
        first = self.orchestrator(7, join(1, 2))
        self.agent(first.port)
        eventually("it tries", lambda: self.switch.asked > 2 and first.polls > 1, 10)
        first.close()
        newer = self.orchestrator(8, None, first.port)
        eventually("it is registered with", lambda: newer.registrations, 10)
        newer.heard()
        self.switch.silent = False
        eventually("the switch is read again", lambda: newer.reports[-1]["switches_ok"], 10)
        newer.heard()
        self.assertEqual(self.switch.pairs, set())
        newer.orders = join(3, 4)
        eventually("its own orders are carried out", lambda: self.switch.pairs == {(3, 4)}, 10)


if __name__ == "__main__":
    unittest.main()
