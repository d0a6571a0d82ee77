"""memlaned --simulate: refusals confirmed by the brute-force reference, the same figures every time, all forms of output."""
import csv
import gzip
import io
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MEMLANE_BUILD", REPO / "build"))
POLICIES = ["nearest", "balanced", "packed", "least_loaded", "random", "round_robin", "first_fit"]
CLOCK = {"decisions_per_s", "p99_decision_ns"}  # the only figures that depend on the machine


def memlaned(*arguments, stdin=None):
    return subprocess.run([BUILD / "bin/memlaned", "--simulate", *map(str, arguments)], input=stdin, capture_output=True, timeout=120)


class Simulate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory(prefix="memlane-simulate-")
        cls.dir = pathlib.Path(cls.holder.name)
        cls.rack = cls.dir / "rack.json"
        with open(cls.rack, "w") as out:
            subprocess.run([REPO / "deploy/racks/generate", "--nodes", "32", "--leaf", "8", "--memory-adapters", "1"], stdout=out,
                           check=True)

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    def run_json(self, *arguments, **kw):
        done = memlaned(*arguments, "-o", "json", **kw)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_the_reference_confirms_200_refusals_of_each_policy(self):
        study = self.run_json(self.rack, "--generate", "6000", "--days", "0.6", "--refusals", "200", "--dump-refusals",
                              self.dir / "refusals")
        self.assertEqual([p["policy"] for p in study["policies"]], POLICIES)
        files = [self.dir / "refusals" / f"{name}.jsonl" for name in POLICIES]
        for path in files:
            self.assertEqual(len(path.read_text().splitlines()), 200, path)
        done = subprocess.run([BUILD / "tests/placement-confirm", self.rack, *files], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.stdout.splitlines()[-1], "1400 passed, 0 failed", done.stdout)

    def test_memlane_simulate_is_the_same_and_speaks_of_itself(self):
        def memlane(*words):
            return subprocess.run([BUILD / "bin/memlane", *map(str, words)], capture_output=True, text=True, timeout=60)
        options = (self.rack, "--generate", "50", "--policy", "nearest", "--refusals", "0")
        for words in ((*("-o", "json"), "simulate", *options), ("simulate", *options, "-o", "json")):
            self.assertEqual(json.loads(memlane(*words).stdout)["policies"][0]["policy"], "nearest")
        self.assertIn("usage: memlane simulate RACK", memlane("simulate", self.rack, "--help").stdout)
        wrong = memlane("-o", "csv", "simulate", *options)
        self.assertEqual((wrong.returncode, wrong.stderr[:17]), (2, "memlane simulate:"))
        self.assertEqual(memlane("--frob", "simulate", *options).returncode, 2)

    def test_a_wrong_refusal_is_found_out(self):
        self.run_json(self.rack, "--generate", "3000", "--days", "0.3", "--policy", "nearest", "--refusals", "1", "--dump-refusals",
                      self.dir / "one")
        refusal = json.loads((self.dir / "one/nearest.jsonl").read_text())
        for spoil in (lambda r: r.update(attachments=[], circuits=[]), lambda r: r["reasons"].update(mgmt="no_path")):
            wrong = json.loads(json.dumps(refusal))
            spoil(wrong)
            (self.dir / "wrong.jsonl").write_text(json.dumps(wrong) + "\n")
            done = subprocess.run([BUILD / "tests/placement-confirm", self.rack, self.dir / "wrong.jsonl"], capture_output=True,
                                  text=True, timeout=60)
            self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (1, "0 passed, 1 failed"), done.stdout)

    def test_the_same_seed_gives_the_same_figures(self):
        runs = []
        for seed in ("7", "7", "8"):
            study = self.run_json(self.rack, "--generate", "2000", "--days", "1", "--seed", seed)
            for policy in study["policies"]:
                for key in CLOCK:
                    policy.pop(key)
            runs.append(json.dumps(study["policies"]))
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0], runs[2])

    def trace(self, *rows):
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([["vmId", "tenantId", "cores", "ram", "vmTypeId", "starttime", "endtime"], *rows])
        return out.getvalue()

    def test_figures_of_a_trace_that_can_be_checked_by_hand(self):
        # n1 .. n32 have compute adapters; vmId 32 is n1 again.  Two days: 10 GiB all the time, 20 GiB on the second day.
        trace = self.trace([0, 1, 1, 10, 0, 0, "inf"], [32, 1, 1, 19.5, 0, 1, 9], [7, 1, 1, 5, 0, -1, 3],
                           [1, 1, 1, 2000, 0, 1.5, 2], [2, 1, 1, 0.1, 0, 2, 2])
        for path in ("plain", "packed.gz", "-"):
            data = gzip.compress(trace.encode()) if path == "packed.gz" else trace.encode()
            if path != "-":
                (self.dir / path).write_bytes(data)
            study = self.run_json(self.rack, "-" if path == "-" else self.dir / path, "--policy", "nearest", stdin=data)
            one = study["policies"][0]
            self.assertEqual((study["left_out"], study["window_days"], study["donors"]), (1, 2, 32))
            self.assertEqual((one["requests"], one["accepted"], one["oversize"]), (4, 3, 1))
            self.assertAlmostEqual(one["mean_lent_bytes"] / 2**30, 20)
            self.assertAlmostEqual(one["idle_donor_hours"], 31 * 48, msg="one donor serves both")
            self.assertAlmostEqual(one["memory_acceptance"], (10 * 48 + 20 * 24) / (10 * 48 + 20 * 24 + 2000 * 12))
            self.assertEqual(len(one["over_time"]), 240)
            self.assertAlmostEqual(one["over_time"][0]["lent_bytes"] / 2**30, 10)
            self.assertAlmostEqual(one["over_time"][-1]["lent_bytes"] / 2**30, 30)

    def test_bad_input_names_line_and_column(self):
        good = ["1", "1", "1", "8", "0", "0", "1"]
        header = "vmId,tenantId,cores,ram,vmTypeId,starttime,endtime\n"

        def row(**change):
            cells = dict(zip(header.strip().split(","), good), **change)
            return header + ",".join(good) + "\n" + ",".join(cells.values()) + "\n"

        cases = {
            "": "no request that begins at t >= 0",
            "vmId,ram\n": "t.csv:1: 2 columns instead of 7",
            header.replace("ram", "mem"): "t.csv:1: ram: the first line has 'mem'",
            header: "no request that begins at t >= 0",
            row(vmId="x"): "t.csv:3: vmId: 'x' is not a whole number",
            row(vmId="-1"): "t.csv:3: vmId",
            row(ram="-1"): "t.csv:3: ram: '-1' is not from",
            row(ram="0"): "t.csv:3: ram: '0' is not more than 0",
            row(ram="nan"): "t.csv:3: ram: 'nan' is not a number",
            row(ram="inf"): "t.csv:3: ram: 'inf' is not a number",
            row(ram="0x10"): "t.csv:3: ram",
            row(ram=""): "t.csv:3: ram: '' is not a number",
            row(starttime="inf"): "t.csv:3: starttime",
            row(starttime="1e300"): "t.csv:3: starttime",
            row(endtime="-1"): "t.csv:3: endtime: '-1' is before the start",
            row(endtime="1,2"): "t.csv:3: 8 columns instead of 7",
            row(endtime="\x1b[31m"): "t.csv:3: endtime: '?[31m'",
            row(endtime="9" * 2000): "t.csv:3: a line of more than",
            header + "1,1,\0": "t.csv:2",
        }
        path = self.dir / "t.csv"
        for text, message in cases.items():
            path.write_text(text)
            done = memlaned(self.rack, path)
            self.assertEqual(done.returncode, 1, (text, done.stdout))
            self.assertIn(message, done.stderr.decode(), text)
            self.assertEqual(done.stdout, b"")
        path = self.dir / "cut.gz"
        path.write_bytes(gzip.compress(self.trace(*[good] * 5000).encode())[:-40])
        done = memlaned(self.rack, path)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.decode(), r"cut.gz:\d+: ")

    def test_bad_use_is_said(self):
        for arguments, message in (([], "needs RACK.json"), ([self.rack], "a trace, or --generate"),
                                   ([self.rack, "--generate", "0"], "--generate takes"),
                                   ([self.rack, "x.csv", "y.csv"], "one argument too many: 'y.csv'"),
                                   ([self.rack, "x.csv", "--policy", "best"], "there is no policy 'best'"),
                                   ([self.rack, "x.csv", "--unit-gib", "-1"], "--unit-gib takes"),
                                   ([self.rack, "x.csv", "--days", "nan"], "--days takes"),
                                   ([self.rack, "x.csv", "-o", "xml"], "-o takes table or json"),
                                   ([self.rack, "x.csv", "--frobnicate"], "unknown option")):
            done = memlaned(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(message, done.stderr.decode())
        for arguments, message in (([self.dir / "none.json", "--generate", "1"], "none.json"),
                                   ([self.rack, self.dir / "none.csv"], "none.csv"),
                                   ([self.rack, "--generate", "1", "--html", self.dir / "no/where"], "no/where"),
                                   ([self.rack, "--generate", "1", "--dump-refusals", self.dir / "no/where"], "no/where")):
            done = memlaned(*arguments)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertIn(message, done.stderr.decode())

    def test_the_page_is_one_whole_document(self):
        page = self.dir / "study.html"
        done = memlaned(self.rack, "--generate", "2000", "--days", "1", "--html", page)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = page.read_text()
        self.assertEqual(text.count("<svg viewBox=\"0 0 640"), 4)
        self.assertEqual(text.count("<svg "), text.count("</svg>"))
        self.assertNotRegex(text, r"(?i)https?:|<script|\bsrc=|url\(|@import")
        self.assertNotRegex(text, r"\b(nan|inf)\b")
        for name in POLICIES:
            self.assertIn(name, text)
            self.assertIn(name, done.stdout.decode())

    def test_generated_racks_are_whole_and_repeatable(self):
        texts = [subprocess.run([REPO / "deploy/racks/generate", "--nodes", "100", "--seed", seed], capture_output=True, text=True,
                                check=True).stdout for seed in ("3", "3", "4")]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])
        (self.dir / "r100.json").write_text(texts[0])
        self.assertEqual(self.run_json(self.dir / "r100.json", "--generate", "10")["donors"], 100)


if __name__ == "__main__":
    unittest.main()
