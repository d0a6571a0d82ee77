"""Every change is audited: each POST, PUT, PATCH and DELETE of the API adds its one row, which says who, from where, in which request.
A route without a case here fails."""
import json
import unittest

from fake_agent import GIB, FakeAgent
from memlaned import OPENAPI
from rackcase import CABLING, Rack

METHODS = ("POST", "PUT", "PATCH", "DELETE")
SWITCH = {"name": "ocs1", "kind": "circuit", "ports": 8, "latency_ns": 30, "managed_by": "silent"}
ACTORS = {"operator": "token:night-shift", "admin": "token:admin", "enrol": "token:join", "open": "token:admin", "self": "token:admin"}


class Agent(FakeAgent):
    """Takes no memory offline while it has a fault to tell."""
    fault = None

    def observed(self):
        o = super().observed()
        for s in o["segments"] if self.fault else []:
            s.update(error=self.fault, blocks_online=s["blocks_total"], touched=True, quiesced=False)
        return o


# ---- each does one change with t.by, and answers (the answer, the object of its row)

def patch_node(t):
    return t.by.patch("/v1/nodes/n2", {"labels": {"row": "1"}}), "node/n2"


def forget_node(t):
    assert FakeAgent(t.server, "guest", t.join).register().status == 200
    return t.by.delete("/v1/nodes/guest"), "node/guest"


def fence_node(t):
    t.wait_for(lambda: t.admin.get("/v1/nodes/silent").json["state"] == "unreachable", 30)
    return t.by.post("/v1/nodes/silent/fence", {"boot_id": t.silent.boot_id}), "node/silent"


def put_topology(t):
    etag = t.admin.get("/v1/topology").headers["ETag"]
    return t.by.put("/v1/topology", {**CABLING, "switches": [SWITCH]}, headers={"If-Match": etag}), "topology"


def fence_switch(t):
    if not t.admin.get("/v1/topology").json["switches"]:
        put_topology(t)
    body = {"name": "ocs1"}
    answer = t.wait_for(lambda: (a := t.by.post("/v1/switches/ocs1/fence", body)) and a.status != 409 and a, 30)
    return answer, "switch/ocs1"


def patch_link(t):
    link = CABLING["links"][1]
    return t.by.patch("/v1/links", {"a": link["a"], "b": link["b"], "down": False}), "link"


def attach(t):
    answer = t.by.post("/v1/attachments?wait=20", {"compute_node": "n1", "size_bytes": GIB})
    return answer, f"attachment/{answer.json['id']}"


def detach(t):
    id = t.attach()["id"]
    return t.by.delete(f"/v1/attachments/{id}?wait=20"), f"attachment/{id}"


def stuck(t):
    id = t.attach()["id"]
    t.nodes["n1"].fault = "block 7 is busy"
    t.admin.delete(f"/v1/attachments/{id}")
    t.wait_for(lambda: t.admin.get(f"/v1/attachments/{id}").json["state"] == "stuck")
    return id


def retry(t):
    id = stuck(t)
    return t.by.post(f"/v1/attachments/{id}/retry"), f"attachment/{id}"


def cancel(t):
    id = stuck(t)
    return t.by.post(f"/v1/attachments/{id}/cancel"), f"attachment/{id}"


def register(t):
    return FakeAgent(t.server, "guest", t.join).register(), "node/guest"


def create_token(t):
    answer = t.by.post("/v1/tokens", {"role": "viewer", "name": "guest"})
    return answer, f"token/{answer.json['id']}"


def revoke_token(t):
    id = t.admin.post("/v1/tokens", {"role": "viewer", "name": "guest"}).json["id"]
    return t.by.delete(f"/v1/tokens/{id}"), f"token/{id}"


def sign_in(t):
    return t.by.post("/v1/sessions", {"token": t.server.admin_token}, token=None), None


def sign_out(t):
    cookie = t.admin.post("/v1/sessions", {"token": t.server.admin_token}, token=None).headers["Set-Cookie"].split(";")[0]
    return t.by.delete("/v1/sessions", token=None, headers={"Cookie": cookie, "X-Memlane-CSRF": "1",
                                                                   "Origin": f"http://127.0.0.1:{t.server.port}"}), None


def make_code(t):
    return t.by.post("/v1/sessions/codes"), None


def waiting(t, name):
    gate = t.admin.post("/v1/tokens", {"role": "join", "name": "gate", "approves": False}).json["token"]
    assert FakeAgent(t.server, name, gate).register().status == 200
    return name


def approve(t):
    return t.by.post(f"/v1/enrolments/{waiting(t, 'wanted')}/approve"), "node/wanted"


def refuse(t):
    return t.by.post(f"/v1/enrolments/{waiting(t, 'unwanted')}/refuse"), "node/unwanted"


def adopt(t):
    id = t.attach()["id"]
    t.nodes["n2"].buffers["nobodys"] = {**t.nodes["n2"].buffers[id], "id": "nobodys", "offset_bytes": 8 * GIB, "section": 5}
    t.wait_for(lambda: t.admin.get("/v1/unowned").json["items"])
    without = [n["name"] for n in t.admin.get("/v1/recovery").json["nodes"] if not n["reported"] or n["name"] == "silent"]
    return t.by.post("/v1/recovery/adopt", {"without": without}), "orchestrator"


def backup(t):
    return t.by.post("/v1/backup"), "database"


CASES = {
    "PATCH /v1/nodes/{name}": ("node.patch", patch_node),
    "DELETE /v1/nodes/{name}": ("node.forget", forget_node),
    "POST /v1/nodes/{name}/fence": ("node.fence", fence_node),
    "PUT /v1/topology": ("topology.declare", put_topology),
    "POST /v1/switches/{name}/fence": ("switch.fence", fence_switch),
    "PATCH /v1/links": ("link.patch", patch_link),
    "POST /v1/attachments": ("attachment.create", attach),
    "DELETE /v1/attachments/{id}": ("attachment.delete", detach),
    "POST /v1/attachments/{id}/retry": ("attachment.retry", retry),
    "POST /v1/attachments/{id}/cancel": ("attachment.cancel", cancel),
    "POST /v1/agents/register": ("agent.register", register),
    "POST /v1/tokens": ("token.create", create_token),
    "DELETE /v1/tokens/{id}": ("token.revoke", revoke_token),
    "POST /v1/sessions": ("session.create", sign_in),
    "DELETE /v1/sessions": ("session.delete", sign_out),
    "POST /v1/sessions/codes": ("session.code", make_code),
    "POST /v1/enrolments/{name}/approve": ("enrolment.approve", approve),
    "POST /v1/enrolments/{name}/refuse": ("enrolment.refuse", refuse),
    "POST /v1/recovery/adopt": ("recovery.adopt", adopt),
    "POST /v1/backup": ("backup", backup),
}
UNAUDITED = {
    "POST /v1/placements": lambda t: t.admin.post("/v1/placements", {"compute_node": "n1", "size_bytes": GIB}),  # a preview
    "PUT /v1/agents/{name}/observed": lambda t: t.nodes["n2"].report(),  # what it is; what became of it is in the events
}


class EveryChange(Rack):
    options = {"time_scale": 0.5}  # of the silence before a fence
    agents = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.silent = FakeAgent(cls.server, "silent", cls.join)
        assert cls.silent.register().status == 200 and cls.silent.report().status == 204
        for name in ("n1", "n2"):
            cls.nodes[name] = Agent(cls.server, name, cls.join)
            assert cls.nodes[name].register().status == 200
            cls.nodes[name].run()
        etag = cls.admin.get("/v1/topology").headers["ETag"]
        assert cls.admin.put("/v1/topology", CABLING, headers={"If-Match": etag}).status == 200
        cls.wait_for(lambda: all(cls.admin.get(f"/v1/nodes/{n}").json["state"] == "ready" for n in ("n1", "n2")))
        cls.shift = cls.admin.post("/v1/tokens", {"role": "operator", "name": "night-shift"}).json["token"]
        cls.access = {f"{r['method']} {r['path']}": r["access"] for r in cls.admin.get("/v1").json["routes"]}

    def tearDown(self):
        self.nodes["n1"].fault = None
        self.nodes["n2"].buffers.pop("nobodys", None)
        for a in self.admin.get("/v1/attachments?state=live").json["items"]:
            self.admin.post(f"/v1/attachments/{a['id']}/retry")  # one that was stuck
            self.detach(a["id"])

    def rows(self):
        return self.admin.get("/v1/audit?limit=1000").json["items"]

    def test_every_operation_that_changes_something_has_a_case(self):
        described = {f"{method.upper()} {path}" for path, item in OPENAPI["paths"].items() for method in item if method.upper() in METHODS}
        routes = {operation for operation in self.access if operation.split()[0] in METHODS}
        self.assertEqual(described, set(CASES) | set(UNAUDITED))
        self.assertEqual(routes, described)

    def check(self, operation):
        action, change = CASES[operation]
        access = self.access[operation]
        self.by = self.server.client(self.shift) if access == "operator" else self.server.client()
        answer, thing = change(self)
        self.assertIn(answer.status, range(200, 300), answer.json)
        rows = [r for r in self.rows() if r["request_id"] == answer.headers["X-Request-Id"]]
        self.assertEqual([(r["action"], r["actor"], r["remote"]) for r in rows], [(action, ACTORS[access], "127.0.0.1")])
        self.assertEqual(rows[0]["object"], thing or rows[0]["object"])
        self.assertTrue(rows[0]["object"])
        self.assertNotRegex(json.dumps(rows), "ml[a-z]?_")  # no token, session or code

    def test_previews_and_reports_are_none(self):
        for operation, call in UNAUDITED.items():
            with self.subTest(operation):
                answer = call(self)
                self.assertIn(answer.status, (200, 204))
                self.assertNotIn(answer.headers["X-Request-Id"], [r["request_id"] for r in self.rows()])

    def test_a_change_that_was_refused_is_none(self):
        before = len(self.rows())
        self.refused(self.admin.patch("/v1/nodes/nowhere", {"cordoned": True}), 404, "node_unknown")
        self.refused(self.admin.post("/v1/recovery/adopt", {}), 409, "conflict")
        self.refused(self.admin.delete("/v1/tokens/none"), 404, "not_found")
        self.assertEqual(len(self.rows()), before)


def named(operation):
    return "test_" + "".join(c if c.isalnum() else "_" for c in operation)


for each in CASES:
    setattr(EveryChange, named(each), lambda self, each=each: self.check(each))


if __name__ == "__main__":
    unittest.main()
