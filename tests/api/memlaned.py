"""A memlaned of its own for a test, and a client whose every answer is checked against schema/openapi.yaml."""
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import jsonschema
import yaml

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "deploy"))
from ports import port_of, reserve_port  # noqa: E402

BUILD = pathlib.Path(os.environ.get("MEMLANE_BUILD", REPO / "build"))
OPENAPI = yaml.safe_load((REPO / "schema/openapi.yaml").read_text())
RESOLVER = jsonschema.RefResolver("", OPENAPI)
FORMATS = jsonschema.FormatChecker()


def resolve(node):
    while isinstance(node, dict) and "$ref" in node:
        node = RESOLVER.resolve(node["$ref"])[1]
    return node


def operation_of(method, path):
    """The operation that the description has for a concrete path, or None."""
    path = path.split("?")[0]
    for template, item in sorted(OPENAPI["paths"].items(), key=lambda kv: kv[0].count("{")):
        pattern = re.sub(r"\\\{[a-z_]+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path):
            return item.get("get" if method == "HEAD" else method.lower())
    return None


def check_answer(method, path, answer):
    """Raises when the description does not allow this answer."""
    operation = operation_of(method, path)
    if operation is None:
        assert answer.status in (400, 404, 405, 431), (method, path, answer.status)
        responses = {"default": {"$ref": "#/components/responses/Problem"}}
    else:
        responses = operation["responses"]
    response = responses.get(str(answer.status)) or (responses.get("default") if answer.status >= 400 else None)
    assert response is not None, f"{method} {path}: status {answer.status} is not described"
    content = resolve(response).get("content")
    if method == "HEAD" or not content:
        assert answer.body == b"", (method, path)
        return
    kind = answer.headers.get("Content-Type", "").split(";")[0]
    media = content.get(kind) or content.get("*/*")
    assert media is not None, f"{method} {path}: {kind} is not described for {answer.status}"
    if kind.endswith("json"):
        schema = media["schema"]
        jsonschema.Draft202012Validator(schema, resolver=RESOLVER, format_checker=FORMATS).validate(answer.json)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.json = json.loads(body) if body and "json" in headers.get("Content-Type", "") else None

    @property
    def code(self):
        return self.json["code"] if self.json else None


class Client:
    """One kept connection, which is closed with the last reference.  'token' may be changed at any time."""

    def __init__(self, port, token=None, timeout=70):
        self.port, self.token, self.timeout = port, token, timeout
        self.connection = None

    def request(self, method, path, body=None, headers=None, raw=None, token=...):
        headers = dict(headers or {})
        token = self.token if token is ... else token
        if token:
            headers.setdefault("Authorization", f"Bearer {token}")
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        if data is not None:
            headers.setdefault("Content-Type", "application/json")
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
            try:
                self.connection.request(method, path, data, headers)
                reply = self.connection.getresponse()
                answer = Answer(reply.status, reply.headers, reply.read())
                break
            except (http.client.RemoteDisconnected, ConnectionError):
                self.close()
                if attempt == 2:
                    raise
            except BaseException:  # half an answer: nothing can follow on this connection
                self.close()
                raise
        if answer.headers.get("Connection", "").lower() == "close":
            self.close()
        check_answer(method, path, answer)
        return answer

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def __del__(self):
        self.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def post(self, path, body=None, **kw):
        return self.request("POST", path, body, **kw)

    def put(self, path, body=None, **kw):
        return self.request("PUT", path, body, **kw)

    def patch(self, path, body=None, **kw):
        return self.request("PATCH", path, body, **kw)

    def delete(self, path, **kw):
        return self.request("DELETE", path, **kw)


class Memlaned:
    environment = {}  # beside the test's own
    names_admin_file = True

    def __init__(self, **options):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="memlane-api-"))
        self.options = options
        self.process = None
        self.reserved = reserve_port()  # also while it is down
        self.port = port_of(self.reserved)
        self.start()

    def start(self):
        self.log = open(self.dir / "log", "ab")
        begin = self.log.tell()
        arguments = [str(BUILD / "bin/memlaned"), "--db", str(self.dir / "rack.db"), "--listen", f"127.0.0.1:{self.port}",
                     "--check-invariants", "--log-level", "debug"]
        if self.names_admin_file:
            arguments += ["--admin-token-file", str(self.dir / "admin.token")]
        for key, value in self.options.items():
            arguments += ["--" + key.replace("_", "-"), str(value)]
        self.process = subprocess.Popen(arguments, stderr=self.log, stdin=subprocess.DEVNULL,
                                        env={**os.environ, **self.environment})
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            text = (self.dir / "log").read_bytes()[begin:].decode()
            if f"api.listening port={self.port}\n" in text:
                return
            time.sleep(0.01)
        raise RuntimeError((self.dir / "log").read_text())

    @property
    def admin_token(self):
        return (self.dir / "admin.token").read_text().strip()

    def client(self, token=...):
        return Client(self.port, self.admin_token if token is ... else token)

    def raw(self, data, timeout=5):
        """Sends bytes as they are; answers all that comes until the server closes or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            s.sendall(data)
            got = b""
            s.settimeout(20)
            try:
                while chunk := s.recv(65536):
                    got += chunk
                    if b"\r\n\r\n" in got and b"}" in got.split(b"\r\n\r\n", 1)[1]:
                        break
            except TimeoutError:
                pass
            return got

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        code = self.process.wait(20)
        self.log.close()
        return code

    def remove(self):
        if self.process.poll() is None:
            self.stop()
        self.reserved.close()
        shutil.rmtree(self.dir, ignore_errors=True)
