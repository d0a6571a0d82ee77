"""F16, F17, F19, F20: clients that exhaust, talk nonsense, try every operation with generated values, or vanish.  The API stays
up for everybody else, and nothing stays behind."""
import concurrent.futures
import contextlib
import datetime
import http.client
import json
import pathlib
import re
import resource
import socket
import string
import subprocess
import sys
import threading
import time
import unittest

from faultrack import GIB, HERE, REPO, FaultRack, count, dice, eventually, has_failed, rack_for, record, trying

sys.path.insert(0, str(HERE.parent / "api"))
import memlaned as described  # noqa: E402  (its client holds every answer against openapi.yaml)

AGAIN_S = 35
GROWTH = 8 << 20
KNOWN_TIMEOUT_S = 90  # a client that signed in, left a request unfinished and closed: noticed by its silence


def private_bytes(pid):
    return int(re.search(r"RssAnon:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) << 10


def setUpModule():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))  # for many clients


class Hostile(unittest.TestCase):
    def setUp(self):
        self.rack = rack_for(self, FaultRack())
        self.rack.api.raw("POST", "/v1/backup")  # SQLite keeps, and takes again, the descriptor of one of many connections to a file
        self.rack.baseline = self.rack.holdings()
        self.kept = self.rack.attach_somehow("n1", GIB, donor="n2")

    def tearDown(self):
        if not has_failed(self):
            self.rack.detach_somehow(self.kept["id"])
            self.rack.judge()
            self.rack.assert_clean()

    def connect(self, timeout=10):
        return socket.create_connection(("127.0.0.1", self.rack.port), timeout=timeout)

    def answers(self):
        """A request of a newcomer."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.rack.port, timeout=5)) as connection:
            connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {self.rack.api.token}"})
            return connection.getresponse().status == 200

    # ---- F16

    def idle_sockets(self, stack, random):
        for _ in range(1100):
            with contextlib.suppress(OSError):
                stack.enter_context(self.connect(2))

    def half_a_head(self, stack, random):
        for _ in range(600):
            with contextlib.suppress(OSError):
                s = stack.enter_context(self.connect(2))
                s.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX-A: ")

    def slow_bodies(self, stack, random):
        """One byte a second each, of a body that is announced."""
        sockets, over = [], threading.Event()
        head = (f"POST /v1/attachments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.rack.api.token}\r\n"
                "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
        for _ in range(300):
            with contextlib.suppress(OSError):
                s = stack.enter_context(self.connect(2))
                s.sendall(head.encode())
                sockets.append(s)

        def drip():
            while not over.wait(1):
                for s in sockets:
                    with contextlib.suppress(OSError):
                        s.send(b" ")
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(over.set)

    def readers_that_never_read(self, stack, random):
        request = (f"GET /v1/topology HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.rack.api.token}\r\n\r\n").encode()
        for _ in range(200):
            with contextlib.suppress(OSError):
                s = stack.enter_context(socket.socket())
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                s.settimeout(2)
                s.connect(("127.0.0.1", self.rack.port))
                s.sendall(request * 40)

    def out_of_descriptors(self, stack, random):
        pid = self.rack.pid("memlaned")
        n_open = len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
        limit = subprocess.run(["prlimit", "--pid", str(pid), "--nofile", "--output=SOFT", "--noheadings"], capture_output=True,
                               text=True, check=True).stdout.strip()
        subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={n_open + 5}:"], check=True)
        stack.callback(lambda: subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={limit}:"], check=True))
        for _ in range(100):
            with contextlib.suppress(OSError):
                stack.enter_context(self.connect(2))

    def test_f16_exhaustion(self):
        began, random, n = time.monotonic(), dice("F16"), count(5, 50)
        acts = [self.out_of_descriptors, self.idle_sockets, self.slow_bodies, self.readers_that_never_read, self.half_a_head]
        if n < len(acts):
            acts = random.sample(acts, n)
        for i in range(n):
            act = acts[i % len(acts)]
            with trying(act.__name__):
                with contextlib.ExitStack() as stack:
                    act(stack, random)
                    self.rack.api.close_all()
                    eventually("the API answers a newcomer", self.answers, AGAIN_S)
                eventually("the API answers a newcomer", self.answers, AGAIN_S)
                self.rack.judge(AGAIN_S)
        record("F16", n, began)

    # ---- F17

    def corpus(self):
        seeds = [p.read_bytes() for p in sorted((REPO / "tests" / "fuzz" / "seeds" / "api").iterdir())]
        token = self.rack.api.token.encode()
        body = json.dumps({"compute_node": "n1", "size_bytes": 1 << 62}).encode()
        for method in (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"):
            for path in (b"/v1/attachments", b"/v1/nodes/n1", b"/v1/topology", b"/v1/events", b"/v1/agents/n1/observed"):
                seeds.append(method + b" " + path + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token +
                             b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return seeds

    @staticmethod
    def mutate(seed, random):
        data = bytearray(seed)
        for _ in range(random.randint(1, 6)):
            at = random.randrange(len(data) + 1)
            kind = random.randrange(5)
            if kind == 0 and data:
                data[at % len(data)] = random.randrange(256)
            elif kind == 1:
                data[at:at] = random.randbytes(random.randint(1, 40))
            elif kind == 2:
                del data[at:at + random.randint(1, 60)]
            elif kind == 3:
                data[at:at] = random.choice((b"\r\n", b"\n", b"%00", b"\0", b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n",
                                             b"../" * 9, b"[" * 900, b"\xff\xfe", b"Host: y\r\n", b"9" * 400))
            else:
                piece = data[at:at + 80]
                data[at:at] = piece * random.randint(1, 30)
        return bytes(data)

    def shout(self, data):
        """The statuses of all answers; the connection's end is an answer, too."""
        with contextlib.closing(self.connect()) as s:
            got = b""
            with contextlib.suppress(OSError):
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                s.settimeout(0.3)  # what is not whole is not answered, and not waited for here
                while len(got) < 1 << 20 and (chunk := s.recv(65536)):
                    got += chunk
        return [int(n) for n in re.findall(rb"^HTTP/1\.[01] (\d{3})", got, re.M)]

    def test_f17_malformed_requests(self):
        began, random, n = time.monotonic(), dice("F17"), count(10000, 1000000)
        seeds, pid = self.corpus(), self.rack.pid("memlaned")
        n_fds = len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
        warm = None
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for first in range(0, n, 200):
                batch = [self.mutate(random.choice(seeds), random) for _ in range(min(200, n - first))]
                for data, statuses in zip(batch, pool.map(self.shout, batch)):
                    self.assertFalse([s for s in statuses if s >= 500 and s not in (501, 505)], f"after {data[:600]!r}")
                if first >= n // 4:
                    warm = warm or private_bytes(pid)
        self.assertEqual(self.rack.pid("memlaned"), pid, "it died")
        self.assertLess(private_bytes(pid), warm + GROWTH)
        eventually("descriptors are back", lambda: len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir())) < n_fds + 8, KNOWN_TIMEOUT_S + 15)
        record("F17", n, began)

    # ---- F19

    def stream(self, path, headers):
        """The beginning of it, or a refusal: its status."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.rack.port, timeout=20)) as connection:
            connection.request("GET", path, headers={**headers, "Accept": "text/event-stream",
                                                     "Authorization": f"Bearer {self.rack.api.token}"})
            answer = connection.getresponse()
            if answer.status == 200:
                self.assertEqual(answer.readline(), b": memlane\n")
            return answer.status

    def test_f19_every_operation(self):
        began, random, n = time.monotonic(), dice("F19"), count(2000, 50000)
        client = described.Client(self.rack.port, self.rack.api.token)
        self.addCleanup(client.close)
        operations = [(m.upper(), path, op, item.get("parameters", []) + op.get("parameters", []))
                      for path, item in described.OPENAPI["paths"].items() for m, op in item.items()
                      if m in ("get", "post", "put", "patch", "delete")]
        cabling = self.rack.api.call("GET", "/v1/topology?declared=1")
        values = Values(random, {"name": ["n1", "n2", "mgmt", "nobody"], "id": [self.kept["id"], self.kept["circuit"], "zzzz"]})
        for i in range(n):
            method, path, operation, parameters = operations[i % len(operations)]
            path, headers = values.fill(path, parameters)
            body = None
            if "requestBody" in operation and random.random() < 0.95:
                media = described.resolve(operation["requestBody"])["content"].get("application/json")
                body = values.of(media["schema"]) if media else None
            if method == "DELETE" and path.startswith(f"/v1/attachments/{self.kept['id']}"):
                continue
            with trying(f"operation {i}: {method} {path} {json.dumps(body)[:300]}"):
                if operation["operationId"] == "events" and random.random() < 0.5:
                    self.assertLess(self.stream(path, headers), 500)
                    continue
                answer = client.request(method, path, body, headers)
                self.assertLess(answer.status, 500, answer.body[:300])
                if operation["operationId"] == "topology_put":  # no ETag was guessed
                    self.assertGreaterEqual(answer.status, 400)
        record("F19", n, began)
        self.assertEqual(self.rack.api.call("GET", "/v1/topology?declared=1"), cabling)
        client.close()
        for a in self.rack.live():
            if a["id"] != self.kept["id"]:
                self.rack.detach_somehow(self.rack.settled(a["id"])["id"])
        for node in ("n1", "n2", "n3", "mgmt"):
            self.rack.api.call("PATCH", f"/v1/nodes/{node}", {"cordoned": False})

    # ---- F20

    def reader(self, stop, took=None):
        """One client of the stream, which goes away without a word.  'took': seconds from each event's own time to its arrival."""
        since, rest = time.time(), b""
        with contextlib.suppress(OSError):
            with contextlib.closing(self.connect(20)) as s:
                s.sendall((f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
                           f"Authorization: Bearer {self.rack.api.token}\r\n\r\n").encode())
                s.settimeout(0.5)
                while not stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        if not (got := s.recv(65536)):
                            return
                        if took is not None:
                            now, (*lines, rest) = time.time(), (rest + got).split(b"\n")
                            times = [event_time(line) for line in lines if line.startswith(b"data:")]
                            took += [now - at for at in times if at > since]

    def test_f20_streams_that_vanish(self):
        began, seconds, took = time.monotonic(), count(30, 1800), []
        dice("F20")
        pid, clients, until = self.rack.pid("memlaned"), [], time.monotonic() + max(seconds, 12)
        warm = None
        while time.monotonic() < until:
            while len(clients) < 400:
                stop = threading.Event()
                watched = took if len(clients) % 20 == 0 else None
                thread = threading.Thread(target=self.reader, args=(stop, watched), daemon=True)
                thread.start()
                clients.append((stop, thread))
            for _ in range(5):
                a = self.rack.attach_somehow("n3", GIB // 4, donor="n2", fill=False)
                self.rack.detach_somehow(a["id"])
            last = self.rack.api.call("GET", "/v1/attachments?limit=1")["as_of"]
            eventually("the events are here", lambda: self.rack.reader.last >= last, 10)
            half, clients = clients[:200], clients[200:]
            for stop, _ in half:
                stop.set()
            for _, thread in half:
                thread.join(5)
            warm = warm or private_bytes(pid)
        for stop, _ in clients:
            stop.set()
        for _, thread in clients:
            thread.join(5)
        self.assertEqual(self.rack.pid("memlaned"), pid)
        self.assertLess(private_bytes(pid), warm + GROWTH)
        self.assertGreater(len(took), 100, "too few events were timed")
        self.assertLess(max(took), 3, "an event took longer than a second (x3)")
        record("F20", f"{seconds} s; {len(took)} arrivals timed, {max(took):.2f} s at most", began)


def event_time(line):
    """time.time() of an event of the stream."""
    return datetime.datetime.fromisoformat(json.loads(line[5:])["at"]).timestamp()


class Values:
    """Values for a schema of openapi.yaml, about half of them valid."""

    ODD = (None, True, 0, -1, 1 << 53, 1.5, "", "\u0000", "x" * 5000, [], {}, [[]], {"a": {}}, "0x0", "n1", "../..", "\ud83d\ude00")

    def __init__(self, random, known):
        self.random, self.known = random, known

    def fill(self, path, parameters):
        query, headers = [], {}
        for p in map(described.resolve, parameters):
            value = self.of(p["schema"])
            text = value if isinstance(value, str) else json.dumps(value)
            if p["in"] == "path":
                known = self.known.get(p["name"], ["x"])
                quoted = "".join(c for c in text if c in string.ascii_letters + string.digits + "-_.")[:200] or "x"
                path = path.replace("{%s}" % p["name"], self.random.choice(known) if self.random.random() < 0.8 else quoted)
            elif p["in"] == "query" and self.random.random() < 0.4:
                quoted = "".join(f"%{b:02X}" for b in text.encode(errors="surrogatepass")[:300])
                query.append(f"{p['name']}={'1' if p['name'] == 'wait' else quoted}")
            elif p["in"] == "header" and self.random.random() < 0.6:
                headers[p["name"]] = "".join(c for c in text if " " < c <= "~")[:300] or "x"
        if self.random.random() < 0.03:
            query.append("surprise=1")
        return path + ("?" + "&".join(query) if query else ""), headers

    def of(self, schema, depth=0):
        random, schema = self.random, described.resolve(schema)
        if random.random() < 0.08 or depth > 6:
            return random.choice(self.ODD)
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self.of(random.choice(schema[key]), depth + 1)
        if "allOf" in schema:
            parts = [self.of(s, depth + 1) for s in schema["allOf"]]
            return {k: v for p in parts if isinstance(p, dict) for k, v in p.items()}
        if "enum" in schema:
            return random.choice(schema["enum"])
        if "const" in schema:
            return schema["const"]
        kind = schema.get("type", "object")
        return getattr(self, f"make_{random.choice(kind) if isinstance(kind, list) else kind}")(schema, depth)

    def make_object(self, schema, depth):
        properties, required = schema.get("properties", {}), schema.get("required", [])
        made = {k: self.of(s, depth + 1) for k, s in properties.items() if k in required or self.random.random() < 0.4}
        if made and self.random.random() < 0.05:
            made.pop(self.random.choice(list(made)))
        if self.random.random() < 0.04:
            made["surprise"] = 1
        return made

    def make_array(self, schema, depth):
        return [self.of(schema.get("items", {}), depth + 1) for _ in range(self.random.choice((0, 1, 1, 2, 5)))]

    def make_string(self, schema, depth):
        return self.random.choice(("n1", "n2", "n3", "afu0", self.known["id"][0], "0x1000", "2026-01-01T00:00:00Z", "a" * 32, "join",
                                   "".join(self.random.choices(string.ascii_lowercase, k=self.random.randint(1, 40)))))

    def make_integer(self, schema, depth):
        low, high = schema.get("minimum", 0), min(schema.get("maximum", 1 << 40), 1 << 40)
        return self.random.choice((low, low - 1, high, high + 1, self.random.randint(low, max(low, high)), 1 << 28))

    make_number = make_integer

    def make_boolean(self, schema, depth):
        return self.random.random() < 0.5

    @staticmethod
    def make_null(schema, depth):
        return None


if __name__ == "__main__":
    unittest.main()
