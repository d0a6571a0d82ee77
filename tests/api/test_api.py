"""The REST API of a real memlaned, with fake agents: who may, attachments, events, restarts.  Every answer is checked against
schema/openapi.yaml (memlaned.py)."""
import concurrent.futures
import http.client
import json
import signal
import stat
import time
import unittest

from fake_agent import GIB, FakeAgent
from rackcase import LINKS, Rack


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
