"""200 requests at once on 32 nodes by 32 clients: everybody gets what is theirs alone, or a true reason why not."""
import concurrent.futures
import pathlib
import random
import re
import unittest

import patterns
from harness import GIB, Problem, Rack
from refusals import ORDER, Judge

CLIENTS, REQUESTS = 32, 200
MEMLANED_MAX, AGENT_MAX = 32 << 20, 4 << 20


def private_bytes(pid):
    return int(re.search(r"RssAnon:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) << 10


def overlaps(ranges):
    """Pairs of (start, end) ranges of one list that share a byte."""
    ordered = sorted(ranges)
    return [(x, y) for x, y in zip(ordered, ordered[1:]) if y[0] < x[1]]


class AllAtOnce(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rack = cls.enterClassContext(Rack("rack32"))
        cls.block = cls.rack.plan["nodes"][0]["block_bytes"]

    def request(self, dice):
        body = {"channels": 2} if dice.random() < 0.1 else {}
        name, size = f"n{dice.randrange(1, 33):02}", dice.choice((1, 2, 4, 8, 16, 300)) * GIB // 4
        try:
            return self.rack.try_attach(name, size, **body)
        except Problem as refused:
            refused.request = {"compute_node": name, "size_bytes": size, **body}
            return refused

    def judge(self):
        api = self.rack.api
        return Judge(api.items("/v1/nodes"), api.call("GET", "/v1/topology"), api.items("/v1/circuits"), self.rack.live())

    def check_refusal(self, refused, judge):
        """True when it was said, and true still, since nothing was given back: by our own rules, and by the preview's."""
        self.assertEqual((refused.status, refused.code), (409, "no_donor"), refused)
        self.assertEqual(len(refused.body["candidates"]), 32, "one for every other node")
        now = self.rack.api.call("POST", "/v1/placements", refused.request)
        self.assertIsNone(now["chosen"], f"{refused.request} was refused, and now it fits")
        later = {c["node"]: c["reason"] for c in now["candidates"]}
        for candidate in refused.body["candidates"]:
            self.assertFalse(candidate["feasible"])
            self.assertIsNone(judge.untrue(refused.request, candidate), f"{refused.request}: {candidate}")
            self.assertLessEqual(ORDER.index(later[candidate["node"]]), ORDER.index(candidate["reason"]),
                                 f"{refused.request}: {candidate} came nearer: {later[candidate['node']]}")

    @staticmethod
    def planted(refused, judge):
        """The same refusal with reasons that are not true."""
        for candidate in refused.body["candidates"]:
            if candidate["reason"] != "no_memory_adapter":
                yield {**candidate, "reason": "no_memory_adapter"}
                yield {**candidate, "reason": "no_path"}
            if judge.lendable(candidate["node"]) >= refused.request["size_bytes"] + judge.nodes["n01"]["block_bytes"]:
                yield {**candidate, "reason": "insufficient_memory"}

    def check_given_once(self, found):
        donors, windows, ports, sections = {}, {}, {}, {}
        for a in found:
            start, address = int(a["effective_addr"], 16), int(a["physical_addr"], 16)
            donors.setdefault(a["donor"], []).append((start, start + a["size_bytes"]))
            windows.setdefault(a["compute_node"], []).append((address, address + a["size_bytes"]))
            sections.setdefault((a["compute_node"], a["section"]), set()).add(a["circuit"])
            for leg in a["path"]:
                for port in leg:
                    ports.setdefault(port, set()).add(a["circuit"])
        for name, ranges in (donors | windows).items():
            self.assertEqual(overlaps(ranges), [], name)
        for name, ranges in windows.items():
            self.assertEqual(overlaps(ranges), [], name)
        shared = {name: circuits for name, circuits in (ports | sections).items() if len(circuits) > 1}
        self.assertEqual(shared, {}, "in more than one circuit")

    def test_each_is_attached_or_refused_and_nothing_is_given_twice(self):
        dice = [random.Random(seed) for seed in range(REQUESTS)]
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(self.request, dice))
        found = [a for a in answers if isinstance(a, dict)]
        refusals, judge = [r for r in answers if isinstance(r, Problem)], self.judge()
        self.assertGreater(len(refusals), 0, "nobody was refused: what is refused for which reason is not tested")
        for refused in refusals:
            self.check_refusal(refused, judge)
        for mistaken in self.planted(refusals[0], judge):
            self.assertIsNotNone(judge.untrue(refusals[0].request, mistaken), f"not noticed: {mistaken}")
        self.assertEqual([(a["id"], a["reason"]) for a in found if a["state"] != "attached"], [])
        print(f"{len(found)} attached, {REQUESTS - len(found)} refused", flush=True)
        self.assertGreater(len(found), REQUESTS // 4)
        self.check_given_once(found)
        for a in found:
            patterns.fill(self.rack.segment_file(a), a["id"], self.block)
        for a in found:
            self.assertEqual(patterns.verify(self.rack.buffer_file(a), a["id"], self.block), [], a["id"])
        self.assertLess(private_bytes(self.rack.pid("memlaned")), MEMLANED_MAX)
        agents = [private_bytes(self.rack.pid(f"agent-{n['name']}")) for n in self.rack.plan["nodes"]]
        self.assertLess(max(agents), AGENT_MAX)
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda a: self.rack.detach(a["id"]), found))
        self.rack.assert_clean()


if __name__ == "__main__":
    unittest.main()
