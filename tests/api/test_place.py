"""Who would lend, and why not the others: the preview, one node rule by rule, and `memlane place` as people see it."""
import os
import subprocess
import unittest

from fake_agent import GIB, FakeAgent
from memlaned import BUILD
from rackcase import Rack

RULES = ["not_ready", "cordoned", "not_pinned", "avoided", "anti_affinity", "no_memory_adapter", "insufficient_memory"]
PAIR_RULES = ["no_path", "ports_busy", "bandwidth", "too_far", "no_section"]
LINKS = [{"a": "n1/afu0/0", "b": "n2/afu1/0", "latency_ns": 20, "gbps": 100},
         {"a": "n1/afu0/1", "b": "n2/afu1/1", "latency_ns": 20, "gbps": 100}]


class Place(Rack):
    agents = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name, unit in (("n1", "1"), ("n2", "1"), ("n3", "2")):
            cls.nodes[name] = FakeAgent(cls.server, name, cls.join, labels={"rack_unit": unit})
            assert cls.nodes[name].register().status == 200
            cls.nodes[name].run()
        etag = cls.admin.get("/v1/topology").headers["ETag"]
        assert cls.admin.put("/v1/topology", {"switches": [], "links": LINKS}, headers={"If-Match": etag}).status == 200
        cls.wait_for(lambda: cls.admin.get("/v1/status").json["nodes"].get("ready") == 3)

    def why(self, node, size=GIB, **more):
        answer = self.admin.post(f"/v1/placements?why={node}", {"compute_node": "n1", "size_bytes": size, **more})
        self.assertEqual(answer.status, 200, answer.json)
        why = answer.json["why"]
        self.assertEqual((why["node"], [r["rule"] for r in why["rules"]]), (node, RULES))
        for pair in why["pairs"]:
            self.assertEqual([r["rule"] for r in pair["rules"]], PAIR_RULES)
        mine = next(c for c in answer.json["candidates"] if c["node"] == node)
        return why, mine

    def falls(self, node, reason, **more):
        """The rule that refuses, in the list and in the ranking: all before it passed with words, none behind it was reached."""
        why, mine = self.why(node, **more)
        self.assertEqual(mine["reason"], reason)
        rules = why["rules"] + (why["pairs"][0]["rules"] if why["pairs"] else [])
        at = [r["rule"] for r in rules].index(reason)
        self.assertEqual([r["outcome"] for r in rules], ["passed"] * at + ["failed"] + ["not_reached"] * (len(rules) - at - 1))
        for r in rules:
            self.assertEqual(r["detail"] is None, r["outcome"] == "not_reached", r)
        self.assertEqual(rules[at]["detail"], mine["detail"])
        return rules[at]["detail"]

    def test_one_that_fits_passes_every_rule(self):
        why, mine = self.why("n2", bandwidth_gbps=10, max_cost_ns=100)
        self.assertTrue(mine["feasible"])
        self.assertEqual([(p["compute"], p["memory"]) for p in why["pairs"]], [("n1/afu0", "n2/afu1")])
        for r in why["rules"] + why["pairs"][0]["rules"]:
            self.assertEqual((r["outcome"], bool(r["detail"])), ("passed", True), r)
        words = {r["rule"]: r["detail"] for r in why["pairs"][0]["rules"]}
        self.assertIn("10 Gbit/s", words["bandwidth"])
        self.assertEqual(words["too_far"], "costs 20 ns, 100 ns are allowed")

    def test_each_rule_that_refuses(self):
        self.falls("n3", "not_pinned", donor="n2")
        self.falls("n2", "avoided", avoid=["n3", "n2"])
        self.assertIn("rack_unit is 1 on both", self.falls("n2", "anti_affinity", anti_affinity="rack_unit"))
        self.assertIn("bytes short", self.falls("n2", "insufficient_memory", size=100 * GIB))
        self.falls("n3", "no_path")
        self.assertIn("200 Gbit/s", self.falls("n2", "bandwidth", bandwidth_gbps=200))
        self.assertIn("costs 20 ns", self.falls("n2", "too_far", max_cost_ns=19))
        self.admin.patch("/v1/nodes/n2", {"cordoned": True})
        self.falls("n2", "cordoned")
        self.admin.patch("/v1/nodes/n2", {"cordoned": False})

    def test_a_circuit_that_is_there_is_named(self):
        a = self.attach()
        why, _ = self.why("n2")
        self.assertIn(f"circuit {a['circuit']} joins them", why["pairs"][0]["rules"][1]["detail"])
        self.assertIn("asks for 2", self.falls("n2", "ports_busy", channels=2))
        self.detach(a["id"])

    def test_an_attachment_keeps_why_it_got_its_donor(self):
        for policy, words in (("nearest", "nearest: only n2 fits: 20 ns, 64 GiB to lend"),
                              ("balanced", "balanced: only n2 fits: 100.0 % of its capacity to lend, 20 ns"),
                              ("packed", "packed: only n2 fits: lends nothing yet, capacity 64 GiB, 20 ns"),
                              ("least_loaded", "least_loaded: only n2 fits: 0 Gbit/s and 0 attachments on its path, 20 ns")):
            a = self.attach(policy=policy)
            self.assertEqual(self.admin.get(f"/v1/attachments/{a['id']}").json["timeline"][0]["reason"], words)
            self.detach(a["id"])
        a = self.attach(donor="n2")
        self.assertEqual(self.admin.get(f"/v1/attachments/{a['id']}").json["timeline"][0]["reason"],
                         "n2 was asked for: 20 ns, 64 GiB to lend")
        self.detach(a["id"])

    def test_bad_questions(self):
        body = {"compute_node": "n1", "size_bytes": GIB}
        self.refused(self.admin.post("/v1/placements?why=nobody", body), 422, "node_unknown")
        self.refused(self.admin.post("/v1/placements?why=n1", body), 422, "field_invalid")
        self.refused(self.admin.post("/v1/placements?whom=n2", body), 422, "field_unknown")
        self.assertNotIn("why", self.admin.post("/v1/placements", body).json)

    def test_a_bad_field_is_named(self):
        good = {"compute_node": "n1", "size_bytes": GIB}
        for field, values in {"compute_node": ["n9", "", 7, None], "size_bytes": [0, -1, 1.5, "1", 2**40 + 1, 2**63 - 1, None],
                              "donor": ["n9", 7, None], "channels": [0, 3, "1", 1.0], "max_cost_ns": [-1, "1", 1.5],
                              "bandwidth_gbps": [-1, 1.5, 10**7], "policy": ["best", 1, None], "anti_affinity": ["", 1, "a" * 64],
                              "avoid": ["n2", {}, ["n2"] * 65], "size": [1], "commit": [True]}.items():
            for value in values:
                answer = self.admin.post("/v1/placements", {**good, field: value})
                self.assertEqual(answer.status, 422, (field, value, answer.json))
                self.assertEqual([f["field"] for f in answer.json["field_errors"]], [field], (value, answer.json))
        answer = self.admin.post("/v1/placements", {**good, "avoid": ["n2", "n9"]})
        self.assertEqual(answer.json["field_errors"][0]["field"], "avoid[1]")
        for field, value in (("a", "n1/afu0/7"), ("b", "nonsense"), ("down", 1), ("up", True)):
            answer = self.admin.patch("/v1/links", {**{k: LINKS[0][k] for k in "ab"}, "down": True, field: value})
            self.assertIn(answer.status, (404, 422), answer.json)
            self.assertEqual(answer.json["field_errors"][0]["field"], field, answer.json)
        self.assertEqual([x["down"] for x in self.admin.get("/v1/topology").json["links"]], [False, False])

    # ---- the command

    def place(self, *arguments):
        environment = {**os.environ, "MEMLANE_URL": f"http://127.0.0.1:{self.server.port}", "MEMLANE_TOKEN": self.server.admin_token}
        done = subprocess.run([BUILD / "bin/memlane", "place", *arguments], env=environment, capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout, done.stderr

    def test_the_command_shows_ranking_and_refusals(self):
        code, out, _ = self.place("n1", "16GiB")
        self.assertEqual(code, 0, out)
        lines = [line.split() for line in out.splitlines()]
        self.assertIn("n2 would lend 16 GiB to n1; 1 of 2 nodes could", out)
        self.assertIn(["1", "n2", "20", "ns", "64", "GiB", "48", "GiB", "n1/afu0/0", ">", "n2/afu1/0"], lines)
        self.assertTrue(any(line[:4] == ["n3", "no_path", "64", "GiB"] for line in lines), out)

    def test_the_command_ends_with_1_when_it_does_not_fit(self):
        code, out, _ = self.place("n1", "100GiB")
        self.assertEqual(code, 1)
        self.assertIn("none of 2 nodes can lend 100 GiB to n1", out)
        code, out, _ = self.place("n1", "1GiB", "--why", "n3")
        self.assertEqual(code, 1)
        self.assertIn("n3 is refused: no_path", out)
        self.assertRegex(out, r"no_path +failed +no path of at most 3 switches")
        self.assertRegex(out, r"ports_busy +not reached")
        code, out, _ = self.place("n1", "1GiB", "--why", "n2")
        self.assertEqual(code, 0)
        self.assertIn("n2 fits, and would be chosen", out)

    def test_the_command_takes_every_wish(self):
        everything = ["--donor", "n2", "--avoid", "n3", "--channels", "2", "--max-cost", "100", "--bandwidth", "50", "--policy",
                      "least_loaded"]
        code, out, err = self.place("n1", "1GiB", *everything)
        self.assertEqual(code, 0, err)
        self.assertIn(" | ", out, "two legs")
        code, out, _ = self.place("n1", "1GiB", *everything, "--anti-affinity", "rack_unit")
        self.assertEqual(code, 1)
        self.assertRegex(out, r"n2 +anti_affinity .* label rack_unit is 1 on both nodes")

    def test_the_command_says_what_is_wrong(self):
        for arguments, word in ((["n1"], "needs"), (["n1", "much"], "not a size"), (["n1", "0"], "size_bytes"),
                                (["n1", "2TiB"], "size_bytes"), (["n9", "1G"], "n9"), (["n1", "1G", "--channels", "3"], "channels"),
                                (["n1", "1G", "--policy", "best"], "policy"), (["n1", "1G", "--donor", "n9"], "donor"),
                                (["n1", "1G", "--avoid", "n9"], "avoid[0]"), (["n1", "1G", "--max-cost", "-1"], "max-cost"),
                                (["n1", "1G", "--why", "n9"], "n9"), (["n1", "1G", "--why", "n1"], "compute node")):
            code, out, err = self.place(*arguments)
            self.assertEqual((code, out), (3 if "n9" in arguments else 2, ""), (arguments, err))
            self.assertIn(word, err, arguments)


del Rack  # its tests are test_api's

if __name__ == "__main__":
    unittest.main()
