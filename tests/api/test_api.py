"""The REST API of a real memlaned, with fake agents.  Every answer is checked against schema/openapi.yaml (memlaned.py)."""
import concurrent.futures
import http.client
import json
import pathlib
import re
import resource
import signal
import socket
import stat
import subprocess
import time
import unittest

import fake_agent
from fake_agent import GIB, FakeAgent
from memlaned import BUILD, OPENAPI, REPO, Memlaned, resolve

LINKS = [{"a": "n1/afu0/0", "b": "n2/afu1/0", "latency_ns": 20, "gbps": 100},
         {"a": "n1/afu0/1", "b": "n2/afu1/1", "latency_ns": 20, "gbps": 100}]
CABLING = {"switches": [], "links": LINKS}


def setUpModule():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))  # for many idle connections


class Rack(unittest.TestCase):
    """A memlaned, two fake nodes, one cabled to borrow from the other."""
    agents = True

    @classmethod
    def setUpClass(cls):
        cls.server = Memlaned(heartbeat_ms=200)
        cls.admin = cls.server.client()
        cls.join = cls.admin.post("/v1/tokens", {"role": "join", "name": "join"}).json["token"]
        cls.nodes = {}
        if cls.agents:
            for name in ("n1", "n2"):
                cls.nodes[name] = FakeAgent(cls.server, name, cls.join)
                assert cls.nodes[name].register().status == 200
                cls.nodes[name].run()
            etag = cls.admin.get("/v1/topology").headers["ETag"]
            answer = cls.admin.put("/v1/topology", CABLING, headers={"If-Match": etag})
            assert answer.status == 200, answer.json
            cls.wait_for(lambda: cls.admin.get("/v1/status").json["nodes"].get("ready") == 2)

    @classmethod
    def tearDownClass(cls):
        for agent in cls.nodes.values():
            agent.stop()
        cls.admin.close()
        code = cls.server.stop()
        log = (cls.server.dir / "log").read_text()
        cls.server.remove()
        assert code == 0, log[-2000:]
        assert "ml_" not in log and cls.join not in log, "a secret is in the log"

    @staticmethod
    def wait_for(condition, seconds=10):
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            if time.monotonic() > deadline:
                raise AssertionError("it did not happen in time")
            time.sleep(0.02)
        return result

    def refused(self, answer, status, code):
        self.assertEqual((answer.status, answer.code), (status, code), answer.json)
        self.assertEqual(answer.json["instance"], answer.headers["X-Request-Id"])
        return answer.json

    def attach(self, size=GIB, **more):
        answer = self.admin.post("/v1/attachments?wait=20", {"compute_node": "n1", "size_bytes": size, **more})
        self.assertEqual(answer.status, 201, answer.json)
        self.assertEqual(answer.json["state"], "attached", answer.json)
        return answer.json

    def detach(self, id):
        answer = self.admin.delete(f"/v1/attachments/{id}?wait=20")
        self.assertEqual((answer.status, answer.json["state"]), (200, "detached"), answer.json)
        return answer.json


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
                     "memlane_lendable_bytes", "memlane_http_connections"):
            self.assertIn(f"# TYPE {name} ", text)
        self.assertNotRegex(text, r'memlane_attachments\{state="(detached|failed)"')  # they are not live
        for line in text.splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.e+-]+)$')


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


class Access(Rack):
    def token(self, role):
        return self.admin.post("/v1/tokens", {"role": role, "name": role}).json

    def test_roles(self):
        viewer, operator = self.token("viewer")["token"], self.token("operator")["token"]
        body = {"compute_node": "n1", "size_bytes": GIB}
        self.refused(self.admin.post("/v1/attachments", body, token=viewer), 403, "forbidden")
        self.assertEqual(self.admin.post("/v1/placements", body, token=viewer).status, 200)
        self.assertEqual(self.admin.get("/metrics", token=viewer).status, 200)
        self.refused(self.admin.get("/v1/tokens", token=operator), 403, "forbidden")
        self.refused(self.admin.post("/v1/backup", token=operator), 403, "forbidden")
        self.refused(self.admin.get("/v1/nodes", token=self.join), 403, "forbidden")
        self.refused(self.admin.post("/v1/attachments", body, token=self.join), 403, "forbidden")
        self.assertEqual(self.admin.get("/v1/attachments").json["items"], [])

    def test_an_agent_sees_its_own_node_only(self):
        n1 = self.nodes["n1"].token
        self.assertEqual(self.admin.get("/v1/agents/n1/desired", token=n1).status, 200)
        self.refused(self.admin.get("/v1/agents/n2/desired", token=n1), 403, "forbidden")
        self.refused(self.admin.put("/v1/agents/n2/observed", self.nodes["n2"].observed(), token=n1), 403, "forbidden")
        self.refused(self.admin.get("/v1/agents/n1/desired"), 403, "forbidden")
        self.refused(self.admin.get("/v1/nodes", token=n1), 403, "forbidden")
        thief = FakeAgent(self.server, "n2", n1)
        self.refused(thief.register(), 403, "forbidden")

    def test_a_join_token_cannot_take_over_a_name(self):
        thief = FakeAgent(self.server, "n1", self.join)
        self.refused(thief.register(), 409, "identity_conflict")
        thief.machine_id = self.nodes["n1"].machine_id
        self.refused(thief.register(), 409, "identity_conflict")

    def test_revoked_and_expired_tokens(self):
        token = self.token("viewer")
        self.assertEqual(self.admin.get("/v1/nodes", token=token["token"]).status, 200)
        self.assertEqual(self.admin.delete(f"/v1/tokens/{token['id']}").status, 204)
        self.refused(self.admin.get("/v1/nodes", token=token["token"]), 401, "unauthenticated")
        self.refused(self.admin.delete(f"/v1/tokens/{token['id']}"), 404, "not_found")
        short = self.admin.post("/v1/tokens", {"role": "viewer", "name": "short", "expires_in_s": 3}).json
        self.assertEqual(self.admin.get("/v1/nodes", token=short["token"]).status, 200)
        self.wait_for(lambda: self.admin.get("/v1/nodes", token=short["token"]).status == 401)
        listed = self.admin.get("/v1/tokens").json["items"]
        self.assertTrue(all("token" not in t for t in listed))

    def sign_in(self, **how):
        answer = self.admin.post("/v1/sessions", how, token=None)
        self.assertEqual(answer.status, 201, answer.json)
        cookie = answer.headers["Set-Cookie"]
        for attribute in ("HttpOnly", "SameSite=Strict", "Path=/"):
            self.assertIn(attribute, cookie)
        return cookie.split(";")[0]

    def test_cookie_sessions_and_cross_site_requests(self):
        host = f"127.0.0.1:{self.server.port}"
        cookie = self.sign_in(token=self.server.admin_token)
        body = {"compute_node": "n1", "size_bytes": GIB}
        def call(method, path, **headers):
            return self.admin.request(method, path, body if method == "POST" else None, token=None,
                                      headers={"Cookie": cookie, **{k.replace("_", "-"): v for k, v in headers.items()}})
        self.assertEqual(call("GET", "/v1/sessions").json["role"], "admin")
        self.refused(call("POST", "/v1/placements"), 403, "forbidden")
        self.refused(call("POST", "/v1/placements", X_Memlane_CSRF="1"), 403, "forbidden")
        self.refused(call("POST", "/v1/placements", X_Memlane_CSRF="1", Origin="http://evil"), 403, "forbidden")
        self.refused(call("POST", "/v1/placements", Origin=f"http://{host}"), 403, "forbidden")
        self.assertEqual(call("POST", "/v1/placements", X_Memlane_CSRF="1", Origin=f"http://{host}").status, 200)
        secret = cookie.split("=")[1]
        self.refused(self.admin.get("/v1/nodes", token=secret), 401, "unauthenticated")
        self.assertEqual(call("DELETE", "/v1/sessions", X_Memlane_CSRF="1", Origin=f"http://{host}").status, 204)
        self.refused(call("GET", "/v1/sessions"), 401, "unauthenticated")

    def test_a_code_signs_in_once(self):
        code = self.admin.post("/v1/sessions/codes").json["code"]
        self.sign_in(code=code)
        self.refused(self.admin.post("/v1/sessions", {"code": code}, token=None), 401, "unauthenticated")

    def test_a_session_ends_with_its_token(self):
        token = self.token("operator")
        cookie = self.sign_in(token=token["token"])
        self.assertEqual(self.admin.get("/v1/nodes", token=None, headers={"Cookie": cookie}).status, 200)
        self.admin.delete(f"/v1/tokens/{token['id']}")
        self.refused(self.admin.get("/v1/nodes", token=None, headers={"Cookie": cookie}), 401, "unauthenticated")

    def test_the_admin_token_file_is_private(self):
        mode = (self.server.dir / "admin.token").stat().st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    def test_every_change_is_in_the_audit_log(self):
        token = self.token("viewer")
        rows = self.admin.get("/v1/audit?limit=1000").json["items"]
        mine = [r for r in rows if r["object"] == f"token/{token['id']}"]
        self.assertEqual([(r["actor"], r["action"], r["remote"]) for r in mine],
                         [("token:admin", "token.create", "127.0.0.1")])
        self.assertNotIn(token["token"], json.dumps(rows))


class Brake(Rack):
    agents = False

    def test_failed_sign_ins_are_braked(self):
        codes = [self.admin.post("/v1/sessions", {"token": "ml_" + "0" * 64}, token=None).status for _ in range(12)]
        self.assertEqual(codes[:10], [401] * 10)
        self.assertEqual(codes[10:], [429] * 2)


class Attachments(Rack):
    def test_attach_shows_itself_everywhere_and_detach_leaves_nothing(self):
        a = self.attach(GIB + 1)
        self.assertEqual((a["size_bytes"], a["requested_bytes"]), (GIB + (256 << 20), GIB + 1))
        self.assertEqual((a["donor"], a["holds"]), ("n2", ["n1", "n2"]))
        one = self.admin.get(f"/v1/attachments/{a['id']}").json
        self.assertEqual([t["to"] for t in one["timeline"] if t["type"] == "attachment.state"][-1], "attached")
        circuit = self.admin.get(f"/v1/circuits/{a['circuit']}").json
        self.assertEqual(circuit["attachments"], [a["id"]])
        n2 = self.admin.get("/v1/nodes/n2").json
        self.assertEqual((n2["lends"], n2["blast_radius"]["compute_nodes"]), ([a["id"]], ["n1"]))
        links = self.admin.get("/v1/topology").json["links"]
        self.assertIn(a["circuit"], [l["circuit"] for l in links])
        self.refused(self.admin.delete("/v1/nodes/n2"), 409, "conflict")
        self.detach(a["id"])
        self.assertEqual(self.admin.get("/v1/circuits").json["items"], [])
        ended = self.admin.get(f"/v1/attachments/{a['id']}").json
        self.assertEqual((ended["state"], ended["holds"]), ("detached", []))
        again = self.admin.delete(f"/v1/attachments/{a['id']}")
        self.assertEqual((again.status, again.json["state"]), (200, "detached"))
        self.refused(self.admin.post(f"/v1/attachments/{a['id']}/retry"), 409, "conflict")

    def test_a_refusal_says_why_for_every_node(self):
        problem = self.refused(self.admin.post("/v1/attachments", {"compute_node": "n1", "size_bytes": 512 * GIB}), 409,
                               "no_donor")
        self.assertEqual([(c["node"], c["feasible"], c["reason"]) for c in problem["candidates"]],
                         [("n2", False, "insufficient_memory")])
        self.refused(self.admin.post("/v1/attachments", {"compute_node": "n2", "size_bytes": GIB}), 409, "no_donor")
        preview = self.admin.post("/v1/placements", {"compute_node": "n1", "size_bytes": GIB}).json
        self.assertEqual((preview["chosen"], preview["candidates"][0]["feasible"]), ("n2", True))

    def test_the_same_key_is_one_attachment(self):
        body = {"compute_node": "n1", "size_bytes": GIB}
        key = {"Idempotency-Key": "k-1"}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: self.server.client().post("/v1/attachments?wait=20", body, headers=key), range(8)))
        self.assertEqual({a.status for a in answers}, {201})
        self.assertEqual(len({a.json["id"] for a in answers}), 1)
        self.assertEqual(sum(a.headers["Idempotency-Replayed"] == "true" for a in answers), 7)
        spaced = self.admin.request("POST", "/v1/attachments", headers=key,
                                    raw=b'{ "size_bytes": %d, "compute_node": "n1" }' % GIB)
        self.assertEqual(spaced.json["id"], answers[0].json["id"])
        self.refused(self.admin.post("/v1/attachments", {**body, "size_bytes": 2 * GIB}, headers=key), 422,
                     "idempotency_key_reused")
        self.detach(answers[0].json["id"])
        late = self.admin.post("/v1/attachments", body, headers=key)
        self.assertEqual(late.json["state"], "detached")
        too_big = {"compute_node": "n1", "size_bytes": 512 * GIB}
        for _ in range(2):
            self.refused(self.admin.post("/v1/attachments", too_big, headers={"Idempotency-Key": "k-2"}), 409, "no_donor")

    def test_two_requests_never_get_the_last_memory(self):
        lendable = self.admin.get("/v1/nodes/n2").json["lendable_bytes"]
        body = {"compute_node": "n1", "size_bytes": lendable // 2 + (256 << 20)}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: self.server.client().post("/v1/attachments?wait=20", body), range(8)))
        won = [a for a in answers if a.status == 201]
        self.assertEqual(len(won), 1)
        self.assertEqual({a.code for a in answers if a not in won}, {"no_donor"})
        self.detach(won[0].json["id"])

    def test_lists_page_through_live_and_ended(self):
        ids = [self.attach(256 << 20)["id"] for _ in range(5)]
        for id in ids[:2]:
            self.detach(id)
        seen, path = [], "/v1/attachments?limit=2"
        while path:
            answer = self.admin.get(path)
            seen += [(i["id"], i["state"]) for i in answer.json["items"]]
            cursor = answer.json["next_cursor"]
            if cursor:
                self.assertIn(f"cursor={cursor}>; rel=\"next\"", answer.headers["Link"])
            path = f"/v1/attachments?limit=2&cursor={cursor}" if cursor else None
        self.assertEqual(len(seen), len(set(seen)))
        live = [s for s in seen if s[1] == "attached"]
        self.assertEqual(sorted(i for i, _ in live), sorted(ids[2:]))
        self.assertEqual(seen[:3], sorted(live))
        self.assertTrue(set(ids[:2]) <= {i for i, s in seen if s == "detached"})
        for query, want in (("state=attached", set(ids[2:])), ("state=live&donor=n2", set(ids[2:])), ("donor=n1", set()),
                            ("state=attached&node=n1", set(ids[2:])), ("state=pending,stuck", set())):
            got = {i["id"] for i in self.admin.get(f"/v1/attachments?{query}").json["items"]}
            self.assertEqual(got, want, query)
        self.refused(self.admin.get("/v1/attachments?state=purple"), 422, "field_invalid")
        self.refused(self.admin.get("/v1/attachments?cursor=purple"), 422, "field_invalid")
        for id in ids[2:]:
            self.detach(id)

    def test_etags(self):
        a = self.attach()
        path = f"/v1/attachments/{a['id']}"
        etag = self.admin.get(path).headers["ETag"]
        self.assertTrue(etag.startswith(f'"{a["id"]}-'))
        self.assertEqual(self.admin.get(path, headers={"If-None-Match": etag}).status, 304)
        self.refused(self.admin.delete(path, headers={"If-Match": f'"{a["id"]}-0"'}), 412, "precondition_failed")
        self.assertEqual(self.admin.get(path).json["state"], "attached")
        self.assertEqual(self.admin.delete(path + "?wait=20", headers={"If-Match": etag}).json["state"], "detached")
        etag = self.admin.get("/v1/topology?declared=1").headers["ETag"]
        self.assertEqual(self.admin.get("/v1/topology?declared=1", headers={"If-None-Match": etag}).status, 304)

    def test_what_has_ended_shows_nothing_of_its_life_and_is_too_late_to_keep(self):
        a = self.attach()
        self.detach(a["id"])
        ended = self.admin.get(f"/v1/attachments/{a['id']}").json
        self.assertEqual([ended[k] for k in ("undoing", "effective_addr", "physical_addr")], [None] * 3)
        self.refused(self.admin.post(f"/v1/attachments/{a['id']}/cancel"), 409, "too_late")
        self.refused(self.admin.post(f"/v1/attachments/{a['id']}/retry"), 409, "conflict")

    def test_labels_are_merged(self):
        def patch(labels):
            return self.admin.patch("/v1/nodes/n1", {"labels": labels})
        self.assertEqual(patch({"feed": "a", "row": "1"}).json["labels"], {"feed": "a", "row": "1"})
        self.assertEqual(patch({"feed": "b"}).json["labels"], {"feed": "b", "row": "1"})
        self.assertEqual(patch({"row": None, "never": None}).json["labels"], {"feed": "b"})
        wrong = self.refused(patch({"feed": 5}), 422, "field_invalid")
        self.assertEqual(wrong["field_errors"][0]["field"], "labels.feed")
        many = {f"k{i}": "v" for i in range(100)}
        self.refused(patch(many), 422, "field_invalid")
        self.assertEqual(patch({"feed": None}).json["labels"], {})

    def test_labels_are_the_agents_until_an_operator_changes_one(self):
        agent = FakeAgent(self.server, "n0", self.join, labels={"feed": "a", "row": "1"})

        def labels():
            self.assertEqual(agent.register().status, 200)
            return self.admin.get("/v1/nodes/n0").json["labels"]
        self.assertEqual(labels(), {"feed": "a", "row": "1"})
        agent.labels = {"feed": "a", "row": "2"}
        self.assertEqual(labels(), {"feed": "a", "row": "2"})
        changed = self.admin.patch("/v1/nodes/n0", {"labels": {"feed": "b", "row": None}, "headroom_bytes": GIB}).json
        self.assertEqual((changed["labels"], changed["headroom_bytes"]), ({"feed": "b"}, GIB))
        self.assertEqual(labels(), {"feed": "b"})
        told = self.admin.get("/v1/events?object=node/n0").json["items"]
        self.assertIn("head-room 1 GiB, labels", [e["reason"] for e in told if e["type"] == "node.changed"])
        self.assertEqual([n["name"] for n in self.admin.get("/v1/recovery").json["nodes"]], ["n0", "n1", "n2"])  # by name
        self.assertEqual(self.admin.delete("/v1/nodes/n0").status, 200)

    def test_pages_of_nodes_follow_each_other(self):
        page = self.admin.get("/v1/nodes?limit=1").json
        rest = self.admin.get(f"/v1/nodes?limit=1&cursor={page['next_cursor']}").json
        self.assertEqual([n["name"] for n in page["items"] + rest["items"]], ["n1", "n2"])
        self.assertIsNone(rest["next_cursor"])

    def test_cordon_and_link_down_refuse(self):
        body = {"compute_node": "n1", "size_bytes": GIB}
        etag = self.admin.get("/v1/nodes/n2").headers["ETag"]
        answer = self.admin.patch("/v1/nodes/n2", {"cordoned": True}, headers={"If-Match": etag})
        self.assertTrue(answer.json["cordoned"])
        problem = self.refused(self.admin.post("/v1/attachments", body), 409, "no_donor")
        self.assertEqual(problem["candidates"][0]["reason"], "cordoned")
        self.admin.patch("/v1/nodes/n2", {"cordoned": False, "headroom_bytes": 0})
        for link in LINKS:
            self.admin.patch("/v1/links", {"a": link["b"], "b": link["a"], "down": True})
        problem = self.refused(self.admin.post("/v1/attachments", body), 409, "no_donor")
        self.assertEqual(problem["candidates"][0]["reason"], "no_path")
        self.assertIn(f"{len(LINKS)} cables of the fabric are down", problem["candidates"][0]["detail"])
        for link in LINKS:
            self.admin.patch("/v1/links", {"a": link["a"], "b": link["b"], "down": False})
        self.refused(self.admin.patch("/v1/links", {"a": "n1/afu0/0", "b": "n1/afu1/0", "down": True}), 404, "not_found")
        self.detach(self.attach()["id"])

    def test_cabling_in_use_stays(self):
        a = self.attach()
        etag = self.admin.get("/v1/topology").headers["ETag"]
        answer = self.admin.put("/v1/topology", {"switches": [], "links": []}, headers={"If-Match": etag})
        self.refused(answer, 409, "conflict")
        self.detach(a["id"])

    def test_backup_is_a_database(self):
        answer = self.admin.post("/v1/backup")
        self.assertTrue(answer.body.startswith(b"SQLite format 3\0"))
        self.assertEqual([f.name for f in self.server.dir.glob("*backup*")], [])


class Losing(Rack):
    def test_a_detach_that_gives_nothing_back_is_no_200(self):
        a = self.attach()
        donor, lender = self.nodes["n2"], fake_agent.LENDER
        try:
            donor.lender = "lender-2"  # another process: the memory is gone, and the borrower holds on to it
            donor.buffers.clear()
            self.wait_for(lambda: self.admin.get(f"/v1/attachments/{a['id']}").json["state"] == "lost")
            self.nodes["n1"].held = True
            answer = self.admin.delete(f"/v1/attachments/{a['id']}?wait=2")
            self.assertEqual(answer.status, 202 if answer.json["holds"] else 200, answer.json)
            self.assertTrue(answer.json["holds"])
        finally:
            donor.lender = lender
            self.nodes["n1"].held = False


class Leaving(Rack):
    """Clients that close before they have their answer leave no descriptor behind, long before any time-out."""

    def open_files(self):
        return len(list(pathlib.Path(f"/proc/{self.server.process.pid}/fd").iterdir()))

    def connect(self, head, rest=b""):
        s = socket.create_connection(("127.0.0.1", self.server.port), timeout=30)
        s.sendall(f"{head} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.server.admin_token}\r\n".encode() + rest)
        return s

    def test_half_a_request_is_given_up(self):
        self.admin.get("/v1/status")
        before = self.open_files()
        halves = (b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{", b"", b"Content-Le",
                  b"\r\nGET /v1/sta")  # a whole request, and the rest of another's head
        for n in range(40):
            self.connect("GET /v1/status" if n % 4 == 3 else "POST /v1/tokens", halves[n % 4]).close()
        self.wait_for(lambda: self.open_files() <= before, 6)

    def test_who_waits_no_more_is_let_go(self):
        self.wait_for(lambda: self.admin.get("/v1/status").status == 200)
        before = self.open_files()
        self.nodes["n1"].held = True  # so that nothing settles
        made = self.admin.post("/v1/attachments", {"compute_node": "n1", "size_bytes": GIB}).json["id"]
        waiting = [self.connect(f"DELETE /v1/attachments/{made}?wait=60", b"\r\n") for _ in range(10)]
        self.wait_for(lambda: self.open_files() >= before + 10)
        for s in waiting:
            s.close()
        self.wait_for(lambda: self.open_files() <= before, 6)
        self.nodes["n1"].held = False
        self.wait_for(lambda: self.admin.get(f"/v1/attachments/{made}").json["state"] == "detached")

    def test_a_client_that_closes_its_half_gets_its_answer(self):
        with self.connect("GET /v1/nodes", b"Connection: close\r\n\r\n") as s:
            s.shutdown(socket.SHUT_WR)
            got = b""
            while chunk := s.recv(65536):
                got += chunk
        self.assertTrue(got.startswith(b"HTTP/1.1 200 ") and got.rstrip().endswith(b"}"), got[:200])


class Agents(Rack):
    def n_waiting(self):
        return int(re.search(r"^memlane_http_waiting_requests (\d+)", self.admin.get("/metrics").body.decode(), re.M)[1])

    def test_a_long_poll_ends_when_there_is_news(self):
        self.nodes["n2"].stop()
        agent = self.nodes["n2"]
        first = agent.poll(wait=0, after="0.0").json
        agent.apply(first)
        began = time.monotonic()
        self.assertEqual(agent.poll(wait=1).status, 204)
        self.assertGreater(time.monotonic() - began, 0.9)
        self.wait_for(lambda: self.n_waiting() == 1)  # the other agent's
        waiting = concurrent.futures.ThreadPoolExecutor(1).submit(agent.poll, 20)
        self.wait_for(lambda: self.n_waiting() == 2)
        began = time.monotonic()
        id = self.admin.post("/v1/attachments", {"compute_node": "n1", "size_bytes": GIB}).json["id"]
        answer = waiting.result(10)
        self.assertLess(time.monotonic() - began, 8)  # of 20
        self.assertEqual([b["id"] for b in answer.json["buffers"]], [id])
        other_epoch = agent.poll(wait=20, after=f"{answer.json['epoch'] + 7}.{answer.json['revision']}")
        self.assertEqual(other_epoch.status, 200)
        agent.stopping.clear()
        agent.run()
        self.wait_for(lambda: self.admin.get(f"/v1/attachments/{id}").json["state"] == "attached")
        self.detach(id)

    def test_old_sessions_and_sequences_are_stale(self):
        agent = FakeAgent(self.server, "n3", self.join)
        self.assertEqual(agent.register().status, 200)
        self.assertEqual(agent.report().status, 204)
        agent.sequence -= 1
        self.refused(agent.report(), 409, "session_stale")
        old = agent.session
        self.assertEqual(agent.register().status, 200)
        agent.session = old
        self.refused(agent.report(), 409, "session_stale")
        agent.stop()
        self.wait_for(lambda: self.admin.delete("/v1/nodes/n3").status in (200, 404))
        self.refused(self.admin.get("/v1/agents/n3/desired", token=agent.token), 401, "unauthenticated")

    def test_what_a_terminal_would_obey_is_no_text(self):
        agent = FakeAgent(self.server, "n9", self.join)
        for version in ("1\x1b[31m", "1\x9b31m", "1\x7f", "1\n2"):
            problem = self.refused(agent.reports.post("/v1/agents/register", {**agent.registration(), "version": version},
                                                      token=self.join), 422, "field_invalid")
            self.assertIn("control character", problem["detail"])
        agent.reports.close()

    def test_bad_reports_are_refused(self):
        agent = self.nodes["n1"]
        for change in ({"colour": 1}, {"free_bytes": -1}, {"adapters": "x"}, {"sequence": "1"}):
            body = {**agent.observed(), **change}
            answer = self.admin.put("/v1/agents/n1/observed", body, token=agent.token)
            self.assertEqual(answer.status, 422, answer.json)
        self.assertEqual(self.admin.get("/v1/agents/n1/desired?after=nonsense", token=agent.token).status, 422)


    def test_an_agent_that_only_registers_is_unreachable_and_says_why(self):
        agent = FakeAgent(self.server, "mute", self.join)
        node = lambda: self.admin.get("/v1/nodes/mute").json
        self.wait_for(lambda: agent.register().status == 200 and node()["state"] == "unreachable", 30)
        self.assertEqual([f["code"] for f in node()["findings"]], ["no_reports"])
        events = self.admin.get("/v1/events?after=0&limit=1000").json["items"]
        self.assertEqual([e["type"] for e in events if e["object"] == "node/mute"], ["node.registered", "node.state"])
        self.refused(self.admin.post("/v1/nodes/mute/fence", {"boot_id": agent.boot_id}), 409, "conflict")  # it is heard
        self.assertEqual(agent.report().status, 204)
        self.assertEqual((node()["state"], node()["findings"]), ("ready", []))
        agent.stop()


class Recovery(Rack):
    def test_an_agent_that_knows_a_later_epoch_stops_changes_until_an_operator_adopts(self):
        agent = FakeAgent(self.server, "n4", self.join)
        agent.known_epoch = 41
        self.assertEqual(agent.register().status, 200)  # what it holds has to be seen
        self.assertEqual(self.admin.get("/v1/status").json["state"], "recovering")
        self.assertEqual(self.admin.get("/readyz").status, 503)
        self.refused(self.admin.post("/v1/attachments", {"compute_node": "n1", "size_bytes": GIB}), 503, "recovering")
        self.refused(self.admin.patch("/v1/nodes/n1", {"cordoned": True}), 503, "recovering")
        self.assertEqual(self.admin.post("/v1/sessions", {"token": self.server.admin_token}, token=None).status, 201)
        self.assertEqual(self.admin.post("/v1/backup").status, 200)
        self.refused(self.admin.post("/v1/recovery/adopt"), 409, "conflict")  # n4 has not reported
        self.refused(self.admin.post("/v1/recovery/adopt", {"without": ["n9"]}), 422, "node_unknown")
        self.refused(self.admin.post("/v1/recovery/adopt", {"without": [3]}), 422, "field_invalid")
        self.assertEqual(agent.report().status, 204)
        self.assertEqual(agent.poll(wait=0, after="41.0").status, 204)  # no orders meanwhile
        recovery = self.admin.get("/v1/recovery").json
        self.assertEqual((recovery["recovering"], recovery["known_epoch"]), (True, 41))
        self.assertTrue(all(n["reported"] for n in recovery["nodes"]), recovery)
        before = self.admin.get("/v1/nodes").json["as_of"]
        adopted = self.admin.post("/v1/recovery/adopt")
        self.assertEqual((adopted.status, adopted.json["recovering"], adopted.json["epoch"]), (200, False, 42))
        self.refused(self.admin.post("/v1/recovery/adopt"), 409, "conflict")
        self.refused(agent.report(), 409, "session_stale")
        self.assertEqual(agent.register().json["epoch"], 42)
        agent.stop()
        self.wait_for(lambda: {"node/n1", "node/n2"} <= {e["object"] for e in self.admin.get(f"/v1/events?after={before}").json["items"]
                                                        if e["type"] == "node.registered"})  # sessions begin anew
        self.wait_for(lambda: all(a["ok"] for n in ("n1", "n2") for a in self.admin.get(f"/v1/nodes/{n}").json["adapters"]))
        self.detach(self.attach()["id"])

    def test_only_the_boot_of_a_silent_node_can_be_fenced(self):
        n1 = self.nodes["n1"]
        self.refused(self.admin.post("/v1/nodes/n1/fence", {"boot_id": "other"}), 409, "conflict")
        self.refused(self.admin.post("/v1/nodes/n1/fence", {"boot_id": n1.boot_id}), 409, "conflict")
        self.refused(self.admin.post("/v1/nodes/n1/fence", {}), 422, "field_missing")
        self.refused(self.admin.post("/v1/nodes/nowhere/fence", {"boot_id": "x"}), 404, "node_unknown")

    def test_a_fenced_node_that_is_forgotten_stays_refused_and_its_name_is_free(self):
        agent = FakeAgent(self.server, "n9", self.join)
        self.assertEqual(agent.register().status, 200)
        agent.run()
        self.wait_for(lambda: self.admin.get("/v1/nodes/n9").json["state"] == "ready")
        agent.stop()
        self.wait_for(lambda: self.admin.get("/v1/nodes/n9").json["state"] == "unreachable", 30)
        self.assertEqual(self.admin.post("/v1/nodes/n9/fence", {"boot_id": agent.boot_id}).status, 200)
        self.assertEqual(self.admin.delete("/v1/nodes/n9").json, {"name": "n9", "links_dropped": 0})
        again = FakeAgent(self.server, "n8", self.join)
        again.boot_id = agent.boot_id
        self.refused(again.register(), 403, "forbidden")
        other = FakeAgent(self.server, "n9", self.join)
        self.assertEqual(other.register().status, 200)
        self.assertEqual(self.admin.delete("/v1/nodes/n9").status, 200)  # it has not reported yet
        audit = [a["action"] for a in self.admin.get("/v1/audit?limit=1000").json["items"] if a["object"] == "node/n9"]
        self.assertEqual([a for a in audit if a.startswith("node.")], ["node.fence", "node.forget", "node.forget"])


class Forgetting(Rack):
    def test_a_node_that_reports_is_not_forgotten_and_its_cables_are_counted(self):
        said = self.refused(self.admin.delete("/v1/nodes/n2"), 409, "conflict")
        self.assertIn("agent", said["detail"])
        self.nodes["n2"].stop()
        self.wait_for(lambda: self.admin.get("/v1/nodes/n2").json["state"] == "unreachable", 30)
        self.assertEqual(self.admin.delete("/v1/nodes/n2").json, {"name": "n2", "links_dropped": 2})
        self.assertEqual(self.admin.get("/v1/topology").json["links"], [])


class Stream:
    """A reader of the event stream."""

    def __init__(self, server, token, **headers):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=15)
        self.connection.request("GET", "/v1/events", headers={"Accept": "text/event-stream", "Authorization": f"Bearer {token}",
                                                             **{k.replace("_", "-"): v for k, v in headers.items()}})
        self.reply = self.connection.getresponse()

    def events(self):
        event = {}
        while line := self.reply.readline():
            line = line.decode().rstrip("\n")
            if not line:
                if "data" in event:
                    yield int(event["id"]), event["event"], json.loads(event["data"])
                event = {}
            elif not line.startswith(":"):
                key, _, value = line.partition(": ")
                event[key] = value

    def until(self, wanted):
        out = []
        for event in self.events():
            out.append(event)
            if wanted(event):
                return out
        raise AssertionError("the stream ended")

    def close(self):
        self.connection.close()


class Events(Rack):
    def test_the_stream_tells_what_the_log_tells(self):
        stream = Stream(self.server, self.server.admin_token)
        self.assertEqual(stream.reply.status, 200)
        id = self.attach()["id"]
        self.detach(id)
        got = stream.until(lambda e: e[1] == "attachment.state" and e[2]["to"] == "detached")
        stream.close()
        states = [e[2]["to"] for e in got if e[1] == "attachment.state" and e[2]["object"] == f"attachment/{id}"]
        self.assertEqual(states, ["pending", "attached", "detaching", "detached"])
        log = self.admin.get(f"/v1/events?after={got[0][0] - 1}&limit=1000").json["items"]
        self.assertEqual([(e[0], e[1], e[2]) for e in got], [(e["id"], e["type"], e) for e in log][:len(got)])

    def test_a_stream_resumes_without_a_gap(self):
        first = self.admin.get("/v1/events?limit=1").json["items"][0]["id"]
        stream = Stream(self.server, self.server.admin_token, Last_Event_ID=str(first))
        last = self.admin.get("/v1/nodes").json["as_of"]
        ids = [e[0] for e in stream.until(lambda e: e[0] >= last)]
        stream.close()
        self.assertEqual(ids, list(range(first + 1, ids[-1] + 1)))

    def test_a_stream_from_another_database_resets(self):
        stream = Stream(self.server, self.server.admin_token, Last_Event_ID="999999999")
        self.assertEqual(next(stream.events())[1], "reset")
        stream.close()


class Restart(Rack):
    def test_a_restart_keeps_everything(self):
        a = self.attach()
        cookie = self.admin.post("/v1/sessions", {"token": self.server.admin_token}, token=None).headers["Set-Cookie"].split(";")[0]
        last = self.admin.get("/v1/nodes").json["as_of"]
        epoch = self.admin.get("/v1/status").json["epoch"]
        self.server.stop(signal.SIGKILL)
        self.server.start()
        self.admin.close()
        self.assertEqual(self.admin.get("/v1/status").json["epoch"], epoch + 1)
        self.assertEqual(self.admin.get(f"/v1/attachments/{a['id']}").json["state"], "attached")
        self.assertEqual(self.admin.get("/v1/sessions", token=None, headers={"Cookie": cookie}).status, 200)
        self.wait_for(lambda: self.admin.get("/v1/status").json["nodes"].get("ready") == 2)
        stream = Stream(self.server, self.server.admin_token, Last_Event_ID=str(last - 1))
        self.assertEqual(next(stream.events())[0], last)
        stream.close()
        self.detach(a["id"])

    def test_a_live_node_is_not_fenced_just_after_a_start(self):
        n1, body = self.nodes["n1"], {"boot_id": self.nodes["n1"].boot_id}
        n1.stop()  # it lives on, and is not heard for a moment
        self.server.stop(signal.SIGKILL)
        self.server.start()
        self.admin.close()
        self.assertEqual(self.admin.get("/v1/nodes/n1").json["state"], "unreachable")
        problem = self.refused(self.admin.post("/v1/nodes/n1/fence", body), 409, "conflict")
        self.assertRegex(problem["detail"], r"^node n1 was heard, or this orchestrator was started, \d+ ms ago: it can be fenced in \d+ ms$")
        n1.stopping.clear()
        n1.run()
        self.wait_for(lambda: self.admin.get("/v1/status").json["nodes"].get("ready") == 2)
        self.refused(self.admin.post("/v1/nodes/n1/fence", body), 409, "conflict")

    def test_a_stop_ends_what_waits(self):
        stream = Stream(self.server, self.server.admin_token)
        began = time.monotonic()
        self.assertEqual(self.server.stop(), 0)
        self.assertLess(time.monotonic() - began, 5)
        stream.close()
        self.server.start()
        self.admin.close()
        self.wait_for(lambda: self.admin.get("/v1/status").json["nodes"].get("ready") == 2)


if __name__ == "__main__":
    unittest.main()
