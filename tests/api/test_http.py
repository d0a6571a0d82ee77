"""The edge of the API: its description, heads, bodies and clients of every kind.  Every answer is checked against
schema/openapi.yaml (memlaned.py)."""
import json
import os
import pathlib
import re
import resource
import socket
import subprocess
import unittest

from fake_agent import GIB, FakeAgent
from memlaned import BUILD, OPENAPI, REPO, resolve
from rackcase import CABLING, LINKS, Rack


def setUpModule():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))  # for many idle connections


class Description(Rack):
    agents = False

    def test_routes_and_description_name_the_same(self):
        served = {(r["method"], r["path"]) for r in self.admin.get("/v1").json["routes"]}
        described = {(method.upper(), path) for path, item in OPENAPI["paths"].items()
                     for method in item if method in ("get", "put", "post", "patch", "delete")}
        self.assertEqual(served, described)

    def test_error_codes_and_description_name_the_same(self):
        table = (REPO / "common/err.c").read_text()
        codes = set(re.findall(r'\[ERR_\w+\] = \{ "(\w+)"', table)) - {"ok"}
        self.assertEqual(codes, set(OPENAPI["components"]["schemas"]["Code"]["enum"]))
        for code in codes:
            self.assertEqual(self.admin.get(f"/problems/{code}").json["code"], code)
        self.refused(self.admin.get("/problems/nonsense"), 404, "not_found")

    def test_description_is_served_as_it_is_in_the_tree(self):
        self.assertEqual(self.admin.get("/openapi.yaml").body, (REPO / "schema/openapi.yaml").read_bytes())

    def test_open_paths_need_no_credential_and_others_do(self):
        opened = set()
        for route in self.admin.get("/v1").json["routes"]:
            described = OPENAPI["paths"][route["path"]][route["method"].lower()]
            self.assertEqual(route["access"] == "open", described.get("security") == [], route)
            if route["access"] == "open":
                opened.add((route["method"], route["path"]))
                continue
            path = route["path"].replace("{name}", "n1").replace("{id}", "x").replace("{code}", "conflict")
            answer = self.admin.request(route["method"], path, token=None)
            self.refused(answer, 401, "unauthenticated")
            self.assertIn("Bearer", answer.headers["WWW-Authenticate"])
            self.refused(self.admin.request(route["method"], path, token="ml_" + "0" * 64), 401, "unauthenticated")
        sign_in_page = {("GET", "/"), ("GET", "/favicon.svg"), ("GET", "/assets/{file}"), ("POST", "/v1/sessions")}
        self.assertEqual(opened, sign_in_page | {("GET", "/healthz"), ("GET", "/readyz")})  # as the design says, no more

    def test_every_answer_has_the_safe_headers(self):
        for path in ("/healthz", "/v1/status", "/v1/nothing", "/"):
            headers = self.admin.get(path).headers
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
            self.assertNotIn("unsafe", headers["Content-Security-Policy"])
            self.assertTrue(headers["X-Request-Id"])

    def test_traceparent_names_the_request(self):
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        answer = self.admin.get("/v1/status", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
        self.assertEqual(answer.headers["X-Request-Id"], trace)

    def test_metrics_are_in_prometheus_form(self):
        text = self.admin.get("/metrics").body.decode()
        for name in ("memlane_nodes", "memlane_attachments", "memlane_commits_total", "memlane_http_requests_total",
                     "memlane_lendable_bytes", "memlane_http_connections", "memlane_circuits_in_danger",
                     "memlane_attachments_in_danger", "memlane_quarantined_attachments", "memlane_unowned_objects",
                     "memlane_adapters", "memlane_links", "memlane_findings", "memlane_lenders_lost_total", "memlane_read_only",
                     "memlane_recovering"):
            self.assertIn(f"# TYPE {name} ", text)
        kinds = re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M)
        self.assertEqual([name for name, kind in kinds if (kind == "counter") != name.endswith("_total")], [])
        self.assertNotRegex(text, r'memlane_attachments\{state="(detached|failed)"')  # they are not live
        for line in text.splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.e+-]+)$')


class Lists(Rack):
    """Of each list that takes a limit, at least three items."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        gate = cls.admin.post("/v1/tokens", {"role": "join", "name": "gate", "approves": False}).json["token"]
        for i in range(3):
            assert FakeAgent(cls.server, f"waits{i}", gate).register().status == 200
            a = cls.admin.post("/v1/attachments?wait=20", {"compute_node": "n1", "size_bytes": GIB}).json
            assert a["state"] == "attached", a
        one = cls.nodes["n2"].buffers[a["id"]]
        for i in range(3):
            cls.nodes["n2"].buffers[f"nobodys{i}"] = {**one, "id": f"nobodys{i}", "section": 5, "offset_bytes": i * GIB}
        cls.wait_for(lambda: len(cls.admin.get("/v1/unowned").json["items"]) == 3)

    def test_each_is_paged_by_its_limit_and_nothing_is_missed(self):
        paged = [path for path, item in OPENAPI["paths"].items()
                 if {"limit", "cursor"} <= {p["name"] for p in map(resolve, item.get("get", {}).get("parameters", []))}]
        self.assertIn("/v1/unowned", paged)
        for path in paged:
            whole = self.admin.get(f"{path}?limit=1000").json
            least = 1 if path == "/v1/circuits" else 3  # all three share one
            self.assertGreaterEqual(len(whole["items"]), least, path)
            self.assertIsNone(whole["next_cursor"], path)
            for limit in (1, 2, len(whole["items"])):
                with self.subTest(path=path, limit=limit):
                    found, target = [], f"{path}?limit={limit}"
                    while target:
                        answer = self.admin.get(target)
                        self.assertLessEqual(len(answer.json["items"]), limit)
                        found += answer.json["items"]
                        cursor, link = answer.json["next_cursor"], answer.headers.get("Link", "")
                        target = cursor and f"{path}?limit={limit}&cursor={cursor}"
                        self.assertEqual(link, f'<{target}>; rel="next"' if target else "")
                    names = lambda items: [i.get("id", i.get("name", i.get("node"))) for i in items]
                    self.assertEqual(names(found)[:len(whole["items"])], names(whole["items"]))  # of events there may be more by now


class Gate(Rack):
    agents = False

    def raw(self, text):
        return self.server.raw(text.encode("latin-1")).decode("latin-1")

    def head(self, *lines, target="/v1/status", method="GET"):
        return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""])

    def assert_refused(self, text, status):
        got = self.raw(text)
        self.assertTrue(got.startswith(f"HTTP/1.1 {status} "), got[:300])
        self.assertIn("application/problem+json", got)
        self.assertNotIn("<html", got.lower())
        self.assertEqual(got.count("HTTP/1.1 "), 1, got)

    def test_ambiguous_heads_are_refused(self):
        self.assert_refused(self.head("Host: a", "Host: b"), 400)
        self.assert_refused(self.head("Host: a", "Content-Length: 1", "Content-Length: 2") + "xx", 400)
        self.assert_refused(self.head("Host: a", "Content-Length: 3", "Transfer-Encoding: chunked") + "0\r\n\r\n", 400)
        self.assert_refused(self.head("Host: a", "Transfer-Encoding: gzip"), 400)
        self.assert_refused(self.head("Host: a", "Content-Encoding: gzip"), 400)
        self.assert_refused(self.head("Host: a", "Authorization: Bearer x", "Authorization: Bearer y"), 400)

    def test_bad_targets_are_refused(self):
        for target in ("/v1/%00", "/v1/nodes/%zz", "/v1/nodes/%2", "/v1/%ff", "/v1/../etc", "/v1/%2e%2e/x", "//v1", "/v1/a//b",
                       "/v1/nodes?x=%00", "/v1/nodes?limit=1&limit=2", "/v1/nodes/a%0ab"):
            self.assert_refused(self.head("Host: a", target=target), 400)

    def test_unknown_methods_are_refused(self):
        for method in ("FOO", "TRACE", "CONNECT", "OPTIONS"):
            self.assert_refused(self.head("Host: a", method=method), 405)

    def test_oversized_heads_are_refused(self):
        self.assert_refused(self.head("Host: a", *[f"X-{i}: y" for i in range(80)]), 431)
        self.assert_refused(self.head("Host: a", target="/v1/" + "a" * 3000), 431)

    def test_a_known_path_with_another_method_names_the_allowed_ones(self):
        answer = self.admin.put("/v1/nodes", {})
        self.refused(answer, 405, "method_not_allowed")
        self.assertEqual(answer.headers["Allow"], "GET, HEAD")
        answer = self.admin.request("OPTIONS", "/v1/nodes")
        self.refused(answer, 405, "method_not_allowed")
        self.assertEqual(answer.headers["Allow"], "GET, HEAD")
        self.assertIn("/v1/frob", self.refused(self.admin.get("/v1/frob"), 404, "not_found")["detail"])
        for words, said in ((["--bogus"], "--bogus"), (["--db"], "--db"), ([], "--db")):
            done = subprocess.run([BUILD / "bin/memlaned", *words], capture_output=True, text=True, timeout=20)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), done.stderr)
            self.assertIn(said, done.stderr)

    def test_unknown_query_parameters_are_errors(self):
        for route in self.admin.get("/v1").json["routes"]:
            path = route["path"].replace("{name}", "n1").replace("{id}", "x")
            for query in ("frob=1", "limits=5", "lim=", "curso=x"):
                if route["access"] not in ("agent", "enrol"):
                    self.refused(self.admin.request(route["method"], f"{path}?{query}"), 422, "field_unknown")
        for path in ("/v1/nodes?limit=0", "/v1/nodes?limit=1001", "/v1/nodes?limit=-1", "/v1/events?after=x",
                     "/v1/nodes?state=bogus", "/v1/nodes?state=", "/v1/topology?declared=2", "/v1/topology?declared=yes"):
            self.refused(self.admin.get(path), 422, "field_invalid")
        described = {op["operationId"]: {p["name"] for p in map(resolve, op.get("parameters", [])) if p["in"] == "query"}
                     for item in OPENAPI["paths"].values() for op in item.values() if "operationId" in op}
        for kind in ("nodes", "circuits", "tokens", "attachments", "enrolments", "unowned"):
            self.assertLessEqual({"limit", "cursor"}, described[kind])
            self.assertEqual(self.admin.get(f"/v1/{kind}?limit=1").status, 200)
            for cursor in ("purple", "n1", "live.", "circuit", "-1"):
                self.refused(self.admin.get(f"/v1/{kind}?cursor={cursor}"), 422, "field_invalid")

    def test_head_answers_like_get_without_body(self):
        answer = self.admin.request("HEAD", "/v1/nodes")
        self.assertEqual((answer.status, answer.body), (200, b""))

    def test_idle_connections_make_room_for_who_has_a_credential(self):
        client, idle = self.server.client(), []
        kept = self.server.client()
        kept.get("/v1/status")
        kept_socket = kept.connection.sock
        try:
            for _ in range(1100):
                s = socket.create_connection(("127.0.0.1", self.server.port), timeout=5)
                idle.append(s)
            self.assertEqual(client.get("/v1/status").status, 200)
            self.assertEqual(kept.get("/v1/status").status, 200)
            self.assertIs(kept.connection.sock, kept_socket)
        finally:
            for s in idle:
                s.close()
            client.close()
            kept.close()


class Bodies(Rack):
    def post(self, raw):
        return self.admin.request("POST", "/v1/attachments", raw=raw if isinstance(raw, bytes) else raw.encode())

    def bad(self, body, status, code):
        before = self.admin.get("/v1/status").json["revision"]
        self.refused(self.post(body if isinstance(body, (str, bytes)) else json.dumps(body)), status, code)
        status_now = self.admin.get("/v1/status").json
        self.assertEqual(status_now["attachments"], {})
        self.assertLessEqual(status_now["revision"] - before, 2)  # only what agents reported

    def test_bad_sizes(self):
        for size in ("0", "-1", "1.5", '"1G"', "null", "9223372036854775808", str(2**63 - 1), str((1 << 40) + 1), "true"):
            self.bad('{"compute_node":"n1","size_bytes":%s}' % size, 422, "size_invalid")
        for size in (str(2**63), "-" + "9" * 40, str((1 << 40) + 1)):  # whole numbers, but beyond what there is
            detail = self.post('{"compute_node":"n1","size_bytes":%s}' % size).json["detail"]
            self.assertEqual(detail, f"size_bytes has to be from 1 to {1 << 40}")

    def test_unknown_nodes(self):
        self.bad({"compute_node": "nowhere", "size_bytes": GIB}, 422, "node_unknown")
        self.bad({"compute_node": "n1", "size_bytes": GIB, "donor": "nowhere"}, 422, "node_unknown")
        self.refused(self.admin.get("/v1/nodes/nowhere"), 404, "node_unknown")
        self.refused(self.admin.patch("/v1/nodes/nowhere", {"cordoned": True}), 404, "node_unknown")
        self.refused(self.admin.delete("/v1/nodes/nowhere"), 404, "node_unknown")

    def test_fields(self):
        self.bad({"compute_node": "n1", "size_bytes": GIB, "colour": "red"}, 422, "field_unknown")
        self.bad({"size_bytes": GIB}, 422, "field_missing")
        self.bad({"compute_node": "n1", "size_bytes": GIB, "channels": 3}, 422, "field_invalid")
        self.bad({"compute_node": 7, "size_bytes": GIB}, 422, "field_invalid")
        problem = self.post('{"compute_node":"n1","size_bytes":1,"policy":"none"}').json
        self.assertEqual(problem["field_errors"][0]["field"], "policy")

    def test_unreadable_bodies(self):
        for raw in ("{", "[1,2", '{"a":1,"a":2}', '{"compute_node":"n1","compute_node":"n2","size_bytes":1}', "nonsense",
                    b'{"compute_node":"\xff\xfe"}', "[" * 5000, '{"a":' * 200 + "1" + "}" * 200, "", '{"a":1} x'):
            self.bad(raw, 400, "body_invalid")
        self.bad("[]", 422, "field_invalid")

    def test_a_body_that_is_too_large(self):
        self.bad(b" " * (2 << 20), 413, "body_too_large")
        big = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        with_chunks = (b"POST /v1/attachments HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " +
                       self.server.admin_token.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + big + big + b"0\r\n\r\n")
        self.assertIn(b" 413 ", self.server.raw(with_chunks))

    def test_bodies_where_none_belongs(self):
        self.refused(self.admin.request("GET", "/v1/nodes", {"a": 1}), 400, "bad_request")

    def test_bad_cabling(self):
        def put(cabling, status, code):
            etag = self.admin.get("/v1/topology?declared=1").headers["ETag"]
            self.refused(self.admin.put("/v1/topology", cabling, headers={"If-Match": etag}), status, code)
            self.assertEqual(self.admin.get("/v1/topology?declared=1").json, CABLING)
        put({"switches": [], "links": LINKS + [LINKS[0]]}, 422, "field_invalid")
        put({"switches": [], "links": [{"a": "n1/afu0/0", "b": "n9/afu1/0", "latency_ns": 20, "gbps": 100}]}, 422,
            "node_unknown")
        put({"links": []}, 422, "field_missing")
        put({"switches": [], "links": [{"a": "what", "b": "n2/afu1/0", "latency_ns": 20, "gbps": 100}]}, 422, "field_invalid")
        self.refused(self.admin.put("/v1/topology", CABLING), 428, "precondition_required")
        self.refused(self.admin.put("/v1/topology", CABLING, headers={"If-Match": '"topology-0"'}), 412, "precondition_failed")

    def test_unknown_attachments(self):
        self.refused(self.admin.get("/v1/attachments/0123456789abcdef"), 404, "not_found")
        self.refused(self.admin.delete("/v1/attachments/0123456789abcdef"), 404, "not_found")
        self.refused(self.admin.post("/v1/attachments/0123456789abcdef/retry"), 404, "not_found")
        self.refused(self.admin.get("/v1/circuits/none"), 404, "not_found")


class Memory(Rack):
    """What bodies that are under way take of the orchestrator's memory, by whoever sends them."""
    agents = False

    def begin(self, target, length, sent, token=None, method="POST"):
        """A connection that has sent the head and so much of its body."""
        s = socket.create_connection(("127.0.0.1", self.server.port), timeout=20)
        credential = f"Authorization: Bearer {token}\r\n" if token else ""
        s.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{credential}Content-Type: application/json\r\n"
                  f"Content-Length: {length}\r\n\r\n".encode() + b" " * sent)
        return s

    def kept(self):
        return int(re.search(r"^memlane_http_body_bytes (\d+)$", self.admin.get("/metrics").body.decode(), re.M)[1])

    def test_a_stranger_sends_4_kib(self):
        for length in ((4 << 10) + 1, 1 << 20):
            problem = self.refused(self.admin.request("POST", "/v1/sessions", raw=b" " * length, token=None), 413, "body_too_large")
            self.assertIn("4096 bytes", problem["detail"])
            for method, path in (("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/")):
                self.refused(self.admin.request(method, path, raw=b" " * length, token=None), 413, "body_too_large")
        body = json.dumps({"token": self.server.admin_token}).encode()
        self.assertEqual(self.admin.request("POST", "/v1/sessions", raw=body.rjust(4 << 10), token=None).status, 201)
        chunk = b"%x\r\n" % (8 << 10) + b" " * (8 << 10) + b"\r\n"
        got = self.server.raw(b"POST /v1/sessions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n")
        self.assertIn(b" 413 ", got)

    def test_bodies_have_a_budget_and_agents_are_not_held_up(self):
        agent = FakeAgent(self.server, "n1", self.admin.post("/v1/tokens", {"role": "join", "name": "j"}).json["token"])
        self.assertEqual(agent.register().status, 200)
        viewer = self.admin.post("/v1/tokens", {"role": "viewer", "name": "v"}).json["token"]
        under_way, mib = [], 1 << 20
        try:
            for n in range(32):
                under_way.append(self.begin("/v1/placements", mib, mib - 1, viewer))
            self.wait_for(lambda: self.kept() == 32 * mib)
            body = {"compute_node": "n1", "size_bytes": GIB}
            answer = self.admin.post("/v1/placements", body, token=viewer)
            self.refused(answer, 503, "unavailable")
            self.assertTrue(answer.headers["Retry-After"])
            self.assertEqual(self.admin.get("/v1/status").status, 200)
            report = json.dumps(agent.observed()).encode()
            answer = self.admin.request("PUT", "/v1/agents/n1/observed", raw=report.rjust(8 * mib), token=agent.token)
            self.assertEqual(answer.status, 204, answer.json)
            for _ in range(4):
                under_way.append(self.begin("/v1/agents/n1/observed", 8 * mib, 8 * mib - 1, agent.token, "PUT"))
            self.wait_for(lambda: self.kept() == 64 * mib)
            self.refused(agent.report(), 503, "unavailable")
        finally:
            for s in under_way:
                s.close()
        self.wait_for(lambda: self.kept() == 0)
        self.assertEqual(agent.report().status, 204)
        self.assertIn(self.admin.post("/v1/placements", body, token=viewer).status, (200, 422))


class Brake(Rack):
    agents = False

    def test_failed_sign_ins_are_braked(self):
        codes = [self.admin.post("/v1/sessions", {"token": "ml_" + "0" * 64}, token=None).status for _ in range(12)]
        self.assertEqual(codes[:10], [401] * 10)
        self.assertEqual(codes[10:], [429] * 2)


class Leaving(Rack):
    """Clients that close before they have their answer leave no descriptor behind, long before any time-out."""

    def kept(self, ports):
        """How many connections from these ports the orchestrator holds a descriptor of."""
        links = pathlib.Path(f"/proc/{self.server.process.pid}/fd").iterdir()
        inodes = {m[1] for m in (re.fullmatch(r"socket:\[(\d+)\]", self.target(link)) for link in links) if m}
        rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(int(row[2].split(":")[1], 16) in ports and row[9] in inodes for row in rows)

    def target(self, link):
        try:
            return os.readlink(link)
        except OSError:  # closed meanwhile
            return ""

    def connect(self, head, rest=b""):
        s = socket.create_connection(("127.0.0.1", self.server.port), timeout=30)
        s.sendall(f"{head} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.server.admin_token}\r\n".encode() + rest)
        return s

    def test_half_a_request_is_given_up(self):
        halves = (b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{", b"", b"Content-Le",
                  b"\r\nGET /v1/sta")  # a whole request, and the rest of another's head
        ports = set()
        for n in range(40):
            with self.connect("GET /v1/status" if n % 4 == 3 else "POST /v1/tokens", halves[n % 4]) as s:
                ports.add(s.getsockname()[1])
        self.wait_for(lambda: self.kept(ports) == 0, 6)

    def test_who_waits_no_more_is_let_go(self):
        self.nodes["n1"].held = True  # so that nothing settles
        made = self.admin.post("/v1/attachments", {"compute_node": "n1", "size_bytes": GIB}).json["id"]
        waiting = [self.connect(f"DELETE /v1/attachments/{made}?wait=60", b"\r\n") for _ in range(10)]
        ports = {s.getsockname()[1] for s in waiting}
        self.wait_for(lambda: self.kept(ports) == 10)
        for s in waiting:
            s.close()
        self.wait_for(lambda: self.kept(ports) == 0, 6)
        self.nodes["n1"].held = False
        self.wait_for(lambda: self.admin.get(f"/v1/attachments/{made}").json["state"] == "detached")

    def test_a_client_that_closes_its_half_gets_its_answer(self):
        with self.connect("GET /v1/nodes", b"Connection: close\r\n\r\n") as s:
            s.shutdown(socket.SHUT_WR)
            got = b""
            while chunk := s.recv(65536):
                got += chunk
        self.assertTrue(got.startswith(b"HTTP/1.1 200 ") and got.rstrip().endswith(b"}"), got[:200])


if __name__ == "__main__":
    unittest.main()
