"""Failures of the fabric: a link that is down is out at once, and whose memory is in danger is said everywhere."""
import os
import subprocess
import unittest

from fake_agent import GIB, FakeAgent
from memlaned import BUILD
from rackcase import Rack

LINKS = [{"a": f"{node}/{adapter}/{port}", "b": f"ocs1/{first + port}", "latency_ns": 20, "gbps": 100}
         for node, adapter, first in (("n1", "afu0", 1), ("n2", "afu1", 3), ("n3", "afu0", 5)) for port in (0, 1)]
CABLING = {"switches": [{"name": "ocs1", "kind": "circuit", "ports": 8, "latency_ns": 30, "managed_by": "mgmt"}], "links": LINKS}


class Agent(FakeAgent):
    """Joins what it is asked to, and reports what the test sets: signals of switch ports, error captures of adapters."""

    def __init__(self, *args):
        super().__init__(*args)
        self.signals, self.captures, self.pairs, self.errors, self.found = {}, {}, {}, {}, []

    def adapters(self):
        return [] if self.name == "mgmt" else super().adapters()

    def registration(self):
        return {**super().registration(), "switches": ["ocs1"] if self.name == "mgmt" else []}

    def observed(self):
        o = super().observed()
        if self.name == "mgmt":
            o["adapters"] = []
        for a in o["adapters"]:
            a["error_capture"] = self.captures.get(a["name"], "0x0")
            if a["name"] in self.errors:
                a.update(ok=False, error=self.errors[a["name"]])
        o["findings"] = self.found
        o["crossconnects"] = [{"switch": "ocs1", "port_a": a, "port_b": b} for a, b in self.pairs]
        o["signals"] = [{"switch": "ocs1", "port": p, "signal": s} for p, s in self.signals.items()]
        return o

    def apply(self, desired):
        for x in desired["crossconnects"]:
            pair = (min(x["port_a"], x["port_b"]), max(x["port_a"], x["port_b"]))
            self.pairs.pop(pair, None)
            if x["connected"]:
                self.pairs[pair] = True
        super().apply(desired)


class Danger(Rack):
    agents = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("n1", "n2", "n3", "mgmt"):
            cls.nodes[name] = Agent(cls.server, name, cls.join)
            assert cls.nodes[name].register().status == 200
            cls.nodes[name].run()
        etag = cls.admin.get("/v1/topology").headers["ETag"]
        answer = cls.admin.put("/v1/topology", CABLING, headers={"If-Match": etag})
        assert answer.status == 200, answer.json
        cls.wait_for(lambda: cls.admin.get("/v1/status").json["nodes"].get("ready") == 4)

    def setUp(self):
        self.after = self.admin.get("/v1/events?after=0&limit=1").json["as_of"]
        self.one, self.two = self.attach(), self.attach()
        self.assertEqual(self.one["circuit"], self.two["circuit"])
        self.path = self.one["path"][0]

    def tearDown(self):
        for a in (self.one, self.two):
            self.detach(a["id"])

    def link(self, index=0):
        ends = {self.path[2 * index], self.path[2 * index + 1]}
        return next(x for x in self.admin.get("/v1/topology").json["links"] if {x["a"], x["b"]} == ends)

    def circuit(self):
        return self.admin.get(f"/v1/circuits/{self.one['circuit']}").json

    def dangers(self):
        """The circuit.danger events of this test, in order."""
        events = self.admin.get(f"/v1/events?after={self.after}&limit=1000").json["items"]
        return [e for e in events if e["type"] == "circuit.danger"]

    def in_danger(self, link):
        ids, danger = sorted([self.one["id"], self.two["id"]]), self.circuit()["danger"]
        if danger is None:
            return False
        self.assertEqual(sorted(danger["attachments"]), ids)
        self.assertEqual((danger["compute_nodes"], danger["size_bytes"]), (["n1"], 2 * GIB))
        self.assertIn({"a": link["a"], "b": link["b"]}, danger["links"])
        on_circuit = [x for x in self.admin.get("/v1/topology").json["links"] if x["circuit"] == self.one["circuit"]]
        self.assertEqual([x["in_danger"] for x in on_circuit], [True] * 2)
        for x in on_circuit:
            self.assertEqual(sorted(x["blast_radius"]["attachments"]), ids)
        return True

    def out_of_use(self, reason, detail):
        """The link is down in the topology, and no placement takes it: neither the circuit that is there nor a new one."""
        self.assertEqual(self.link()["state"], "down")
        preview = self.admin.post("/v1/placements", {"compute_node": "n1", "size_bytes": GIB}).json
        n2 = next(c for c in preview["candidates"] if c["node"] == "n2")
        self.assertEqual((preview["chosen"], n2["reason"]), (None, reason), n2)
        self.assertIn(detail, n2["detail"])

    def goes_down_and_comes_back(self, down, up, reason="ports_busy", detail="down"):
        link = self.link()
        self.assertEqual((link["in_danger"], self.circuit()["danger"], self.dangers()), (False, None, []))
        down()
        self.wait_for(lambda: self.in_danger(link))
        self.out_of_use(reason, detail)
        up()
        self.wait_for(lambda: self.circuit()["danger"] is None)
        self.assertNotEqual(self.link()["state"], "down")
        self.assertFalse(self.link()["in_danger"])
        first, last = self.dangers()
        self.assertEqual((first["object"], first["from"], first["to"]), (f"circuit/{self.one['circuit']}", "safe", "in_danger"))
        self.assertEqual((last["from"], last["to"]), ("in_danger", "safe"))
        self.assertIn(f"link {link['a']} {link['b']}: n1 borrows over it:", first["reason"])
        for a in (self.one, self.two):
            self.assertIn(a["id"], first["reason"])

    def test_a_switch_that_nobody_reads_any_more_can_be_fenced(self):
        fence = lambda name, body: self.admin.post(f"/v1/switches/{name}/fence", body)
        fenced = lambda: self.admin.get("/v1/topology").json["switches"][0]["fenced"]
        self.refused(fence("ocs9", {"name": "ocs9"}), 404, "not_found")
        self.refused(fence("ocs1", {"name": "ocs9"}), 422, "field_invalid")
        self.refused(fence("ocs1", {"name": "ocs1"}), 409, "conflict")  # it is read
        mgmt = self.nodes["mgmt"]
        mgmt.stop()
        self.addCleanup(lambda: mgmt.thread.is_alive() or (mgmt.stopping.clear(), mgmt.run()))
        self.wait_for(lambda: self.admin.get("/v1/nodes/mgmt").json["state"] == "unreachable", 30)
        answer = fence("ocs1", {"name": "ocs1"})
        self.assertEqual((answer.status, answer.json["switches"][0]["fenced"]), (200, True))
        self.assertEqual(self.link()["state"], "down")
        self.assertEqual(self.admin.get(f"/v1/attachments/{self.one['id']}").json["state"], "attached")  # shown in danger, not touched
        self.assertEqual([d["to"] for d in self.dangers()], ["in_danger"])
        self.refused(self.admin.post("/v1/attachments", {"compute_node": "n3", "size_bytes": GIB, "donor": "n2"}), 409, "no_donor")
        self.assertIn("switch.fence", [a["action"] for a in self.admin.get("/v1/audit?limit=1000").json["items"]])
        mgmt.stopping.clear()
        mgmt.run()
        self.wait_for(lambda: not fenced())  # read again
        self.wait_for(lambda: self.link()["state"] == "unknown")

    def test_a_link_that_an_operator_takes_out(self):
        link = self.link()
        self.goes_down_and_comes_back(*[lambda d=d: self.admin.patch("/v1/links", {"a": link["b"], "b": link["a"], "down": d})
                                        for d in (True, False)])

    def test_a_switch_that_sees_no_signal(self):
        port = int(self.path[1].split("/")[1])
        self.goes_down_and_comes_back(*[lambda s=s: self.nodes["mgmt"].signals.update({port: s}) for s in ("down", "up")])
        self.nodes["mgmt"].signals.clear()

    def test_an_adapter_that_captured_an_error(self):
        self.addCleanup(self.nodes["n1"].captures.clear)
        self.goes_down_and_comes_back(*[lambda v=v: self.nodes["n1"].captures.update(afu0=v) for v in ("0x4", "0x0")], "no_path",
                                      "no path")

    def metrics(self):
        lines = [line for line in self.admin.get("/metrics").body.decode().splitlines() if not line.startswith("#")]
        return {name.removeprefix("memlane_"): int(float(value)) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def test_an_adapter_in_error_is_danger_and_everything_is_counted(self):
        ids = sorted([self.one["id"], self.two["id"]])
        n2, before = self.nodes["n2"], self.admin.get("/v1/status").json
        self.addCleanup(n2.found.clear)
        self.addCleanup(n2.errors.clear)
        self.assertEqual((before["circuits_in_danger"], before["attachments_in_danger"], before["adapters"]["error"]), (0, 0, 0))
        n2.errors["afu1"] = "cannot read register 0x0"
        n2.found.append({"code": "x_test", "severity": "error", "detail": "it is a test", "advice": "none"})
        danger = self.wait_for(lambda: self.circuit()["danger"])
        self.assertEqual((sorted(danger["attachments"]), danger["links"]), (ids, []))
        self.assertEqual(danger["adapters"], [{"node": "n2", "adapter": "afu1", "error": "cannot read register 0x0"}])
        self.assertEqual([x["in_danger"] for x in self.admin.get("/v1/topology").json["links"] if x["circuit"]], [True] * 2)
        now, m = self.admin.get("/v1/status").json, self.metrics()
        self.assertEqual((now["circuits_in_danger"], m["circuits_in_danger"]), (1, 1))
        self.assertEqual((now["attachments_in_danger"], m["attachments_in_danger"]), (2, 2))
        self.assertEqual((now["adapters"]["error"], m['adapters{state="error"}']), (1, 1))
        self.assertEqual(now["findings"]["error"], before["findings"]["error"] + 1)
        for name in ("info", "warning", "error"):
            self.assertEqual(m[f'findings{{severity="{name}"}}'], now["findings"][name])
        for name in ("unknown", "up", "down"):
            self.assertEqual(m[f'links{{state="{name}"}}'], now["links"][name])
        self.assertEqual(sum(now["links"].values()), len(LINKS))
        for name in ("quarantined_attachments", "unowned_objects"):
            self.assertEqual((now[name], m[name]), (0, 0))
        self.assertEqual(m["lenders_lost_total"], now["lenders_lost"])
        told = self.memlane("status")
        self.assertRegex(told, r"attention +1 circuit in danger, 2 attachments in danger, 1 adapter in error, 1 error found")
        self.assertIn("adapter n2/afu1 is in error: cannot read register 0x0\n", self.memlane("circuit", "show", self.one["circuit"]))
        n2.errors.clear()
        n2.found.clear()
        self.wait_for(lambda: self.circuit()["danger"] is None)
        self.wait_for(lambda: "attention    nothing\n" in self.memlane("status"))
        self.assertEqual([d["to"] for d in self.dangers()], ["in_danger", "safe"])
        failed, well = [e for e in self.admin.get(f"/v1/events?after={self.after}&limit=1000").json["items"] if e["type"] == "adapter.state"]
        self.assertEqual((failed["object"], failed["to"], well["to"]), ("adapter/n2/afu1", "error", "ok"))
        self.assertTrue(failed["reason"].startswith("cannot read register 0x0; n1 borrows over it: "), failed)
        for one in ids:
            self.assertIn(one, failed["reason"])

    def test_a_link_that_is_down_is_counted(self):
        down = lambda d: self.admin.patch("/v1/links", {"a": self.path[0], "b": self.path[1], "down": d})
        down(True)
        self.addCleanup(down, False)
        self.assertEqual((self.admin.get("/v1/status").json["links"]["down"], self.metrics()['links{state="down"}']), (1, 1))
        self.assertIn("1 link down", self.memlane("status"))

    def test_a_second_failure_on_a_circuit_in_danger_is_no_second_event(self):
        ends = [self.link(0), self.link(1)]
        for down in (True, False):
            for x in ends:
                self.admin.patch("/v1/links", {"a": x["a"], "b": x["b"], "down": down})
            danger = self.circuit()["danger"]
            self.assertEqual(len(danger["links"]) if danger else 0, 2 if down else 0)
        self.assertEqual([e["to"] for e in self.dangers()], ["in_danger", "safe"])

    def test_a_link_that_carries_nothing_endangers_nobody(self):
        idle = next(x for x in self.admin.get("/v1/topology").json["links"] if x["circuit"] is None)
        self.assertIsNone(idle["blast_radius"])
        for down in (True, False):
            self.admin.patch("/v1/links", {"a": idle["a"], "b": idle["b"], "down": down})
        self.assertEqual(self.dangers(), [])

    def test_a_circuit_over_another_path_still_places(self):
        link = self.link()
        self.admin.patch("/v1/links", {"a": link["a"], "b": link["b"], "down": True})
        preview = self.admin.post("/v1/placements", {"compute_node": "n3", "size_bytes": GIB}).json
        self.admin.patch("/v1/links", {"a": link["a"], "b": link["b"], "down": False})
        self.assertEqual(preview["chosen"], "n2")

    def test_blast_radius_of_nodes_and_switches(self):
        ids = sorted([self.one["id"], self.two["id"]])
        donor, borrower, manager = (self.admin.get(f"/v1/nodes/{n}").json["blast_radius"] for n in ("n2", "n1", "mgmt"))
        self.assertEqual((sorted(donor["attachments"]), donor["compute_nodes"], donor["size_bytes"]), (ids, ["n1"], 2 * GIB))
        self.assertEqual((donor["switches"], donor["carried"]["attachments"]), ([], []))
        self.assertEqual((borrower["attachments"], borrower["size_bytes"]), ([], 0))
        self.assertEqual((manager["attachments"], manager["switches"]), ([], ["ocs1"]))
        self.assertEqual((sorted(manager["carried"]["attachments"]), manager["carried"]["compute_nodes"],
                          manager["carried"]["size_bytes"]), (ids, ["n1"], 2 * GIB))
        switch = self.admin.get("/v1/topology").json["switches"][0]["blast_radius"]
        self.assertEqual((sorted(switch["attachments"]), switch["compute_nodes"], switch["size_bytes"]), (ids, ["n1"], 2 * GIB))

    def memlane(self, *words):
        environment = {**os.environ, "MEMLANE_URL": f"http://127.0.0.1:{self.server.port}", "MEMLANE_TOKEN": self.server.admin_token}
        return subprocess.run([BUILD / "bin/memlane", *words], env=environment, capture_output=True, text=True, timeout=20,
                              check=True).stdout

    def test_the_command_line_says_so_too(self):
        link, down = self.link(), lambda d: self.admin.patch("/v1/links", {"a": self.path[0], "b": self.path[1], "down": d})
        row = f"{link['a']} +{link['b'].replace('/', '.')} +"
        self.assertRegex(self.memlane("topology", "show"), row + rf"\S+ .*{self.one['circuit']} +2 GiB of n1\n")
        self.assertRegex(self.memlane("topology", "show"), r"ocs1 .* mgmt +2 GiB of n1\n")
        down(True)
        self.addCleanup(down, False)
        self.assertRegex(self.memlane("topology", "show"), row + rf"down .*{self.one['circuit']} in danger +2 GiB of n1\n")
        self.assertIn("lost with it: 2 GiB borrowed by n1\n", self.memlane("node", "show", "n2"))
        self.assertIn("lost with it: nobody's memory\n", self.memlane("node", "show", "n1"))
        self.assertIn("manages ocs1: without it nothing is joined or cleared there; 2 GiB of n1 lives on\n",
                      self.memlane("node", "show", "mgmt"))


del Rack  # its tests are test_api's

if __name__ == "__main__":
    unittest.main()
