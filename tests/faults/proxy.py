"""proxy.py - between agents and orchestrator: passes HTTP requests on one by one, and holds those that a test wants held.

    proxy = Proxy(rack.listening_port)
    held = proxy.hold(lambda r: r.method == "PUT" and r.node == "n1")     # the next one that matches, once
    request = held.wait()                                                 # it is here, and has not reached the orchestrator
    status = request.deliver()                                            # now it does, whether its sender still lives or not
"""
import contextlib
import http.client
import re
import socket
import threading


class Request:
    def __init__(self, port, method, path, headers, body):
        self.port, self.method, self.path, self.headers, self.body = port, method, path, headers, body
        found = re.match(r"/v1/agents/([^/?]+)/", path)
        self.node = found[1] if found else None

    def send(self):
        """(status, headers, body) of the orchestrator."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port(), timeout=60)) as connection:
            connection.request(self.method, self.path, self.body or None, self.headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def deliver(self):
        return self.send()[0]


class Held:
    def __init__(self, matches):
        self.matches, self.arrived, self.request = matches, threading.Event(), None

    def wait(self, seconds=15):
        assert self.arrived.wait(seconds), "the request did not come"
        return self.request


class Proxy:
    def __init__(self, port):
        self.upstream = port
        self.lock = threading.Lock()
        self.holds = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def hold(self, matches):
        held = Held(matches)
        with self.lock:
            self.holds.append(held)
        return held

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()

    def serve(self, connection):
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            stream = connection.makefile("rb")
            while line := stream.readline():
                method, path, _ = line.decode().split()
                headers = {}
                while (field := stream.readline().decode().strip()):
                    name, _, value = field.partition(":")
                    headers[name.strip()] = value.strip()
                length = int(next((v for k, v in headers.items() if k.lower() == "content-length"), 0))
                request = Request(self.upstream, method, path, headers, stream.read(length) if length else b"")
                if self.held(request):
                    stream.read(1)  # until its sender is gone
                    return
                self.answer(connection, request)

    def held(self, request):
        with self.lock:
            for held in self.holds:
                if held.matches(request):
                    self.holds.remove(held)
                    held.request = request
                    held.arrived.set()
                    return True
        return False

    @staticmethod
    def answer(connection, request):
        status, headers, body = request.send()
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'X')}", f"Content-Length: {len(body)}"]
        lines += [f"{k}: {v}" for k, v in headers.items() if k.lower() in ("content-type", "etag", "location")]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
