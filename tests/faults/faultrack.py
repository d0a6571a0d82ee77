"""faultrack.py - a small emulated rack of the test build: time runs 20 times as fast, fault points can be armed, and one oracle
looks at it from every side.

    with FaultRack() as rack:
        rack.arm("agent-n1", "map.after", "kill")      # common/faultpoint.h says what there is to do
        a = rack.attach_somehow("n1", GIB, donor="n2")
        rack.await_hit("agent-n1", "map.after")
        rack.judge()                                   # oracle.py

The build is $MEMLANE_BUILD, or build-faults/ of this tree.  Every random choice comes from `dice(name)`, whose seed is printed and
can be given again as $MEMLANE_SEED.  How much is done comes from `count(ci, long)` and $MEMLANE_FAULTS: tenth, ci (default), long.
"""
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import random
import signal
import statistics
import sys
import tempfile
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
os.environ.setdefault("MEMLANE_BUILD", str(HERE.parent.parent / "build-faults"))
sys.path.insert(0, str(HERE.parent / "rack"))
import harness  # noqa: E402, F401
import patterns  # noqa: E402
from harness import (BUILD, GIB, MIB, REPO, Api, EventReader, Problem, Rack, eventually, has_failed, rack_for)  # noqa: E402, F401
import oracle  # noqa: E402

TIME_SCALE = 0.05
PROMISED_S = 5  # to converge, whatever the clocks are scaled by
TIMES = 3       # machines that test are busy
SECONDS = TIMES * PROMISED_S
MODE = os.environ.get("MEMLANE_FAULTS", "ci")
PASSING = {"not_ready", "compute_not_ready"}  # true for a moment, while an agent is on its way back


def count(ci, long):
    """How often something is done."""
    return {"tenth": max(1, round(ci / 10)), "ci": ci, "long": long}[MODE]


def dice(name):
    seed = int(os.environ.get("MEMLANE_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"{name}: MEMLANE_SEED={seed}", file=sys.stderr, flush=True)
    return random.Random(seed)


@contextlib.contextmanager
def trying(what):
    """Says in which round of a test something went wrong."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


def record(fault, n, began, converged=()):
    """For the table of tests/README.md; only called when it went well.  'converged': FaultRack.converged, all of them."""
    row = {"fault": fault, "count": n, "mode": MODE, "seconds": round(time.monotonic() - began, 1)}
    if converged:
        row |= {"median_s": round(statistics.median(converged), 2), "longest_s": round(max(converged), 2)}
        print(f"{fault}: converged {len(converged)} times, after {row['median_s']} s (median), {row['longest_s']} s (the longest)",
              file=sys.stderr, flush=True)
    if path := os.environ.get("MEMLANE_FAULTS_RESULTS"):
        with open(path, "a") as file:
            file.write(json.dumps(row) + "\n")


def _generate():
    loader = importlib.machinery.SourceFileLoader("generate", str(REPO / "deploy" / "racks" / "generate"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("generate", loader))
    loader.exec_module(module)
    return module


def star(n_nodes, name=None):
    """A plan: nodes n1... and mgmt around one circuit switch, every adapter cabled to it with both ports."""
    g = _generate()
    nodes = [g.node(f"n{i + 1}", 512, 75, i + 1, "ab"[i % 2]) for i in range(n_nodes)]
    links = [g.cable(f"n{i + 1}/afu{slot // 2}/{slot % 2}", f"ocs1/{4 * i + slot + 1}", 1)
             for i in range(n_nodes) for slot in range(4)]
    return {"name": name or f"star{n_nodes}", "nodes": nodes + [g.manager(40)],
            "switches": [g.switch("ocs1", 4 * n_nodes)], "links": links}


class FaultRack(Rack):
    def __init__(self, plan=None, options=(), time_scale=TIME_SCALE, **more):
        plan = plan or star(3)
        self.plan_dir = tempfile.TemporaryDirectory(prefix="ml-plan-")
        path = pathlib.Path(self.plan_dir.name, "rack.json")
        path.write_text(json.dumps(plan))
        super().__init__(path, ["--time-scale", str(time_scale), "--memlaned=--check-invariants", *options], **more)
        self.block = plan["nodes"][0]["block_bytes"]
        self.acknowledged = {}  # id -> node, size: what POST answered with a 2xx
        self.filled = {}        # id -> attachment whose pages hold a pattern
        self.written = set()    # ids whose pages were written at some time
        self.reader = None
        self.converged = []     # seconds of each judge_since()

    def environment(self):
        self.faults_dir = pathlib.Path(self.plan_dir.name, "points")
        self.faults_dir.mkdir(exist_ok=True)
        return {"MEMLANE_FAULT_DIR": str(self.faults_dir)}

    def __enter__(self):
        super().__enter__()
        self.reader = EventReader(self, self.api.call("GET", "/v1/attachments?limit=1")["as_of"])
        self.reader.start()
        assert self.reader.connected.wait(SECONDS), "no event stream"
        self.baseline = self.holdings()
        return self

    def __exit__(self, kind, value, traceback):
        self.reader.ending = True
        if kind is None:
            try:
                oracle.judge_logs(self)
            except AssertionError:
                super().__exit__(AssertionError, None, None)
                raise
        super().__exit__(kind, value, traceback)
        self.plan_dir.cleanup()

    def listening_port(self):
        """Known before the rack is up."""
        argv = json.loads((self.dir / "processes.json").read_text())[0]["argv"]
        return int(argv[argv.index("--listen") + 1].rsplit(":", 1)[1])

    # ---- fault points

    def arm(self, who, point, order):
        path = self.faults_dir / f"{who}.{point}"
        path.with_name(path.name + ".hit").unlink(missing_ok=True)
        fresh = self.faults_dir / f".{uuid.uuid4().hex}"
        fresh.write_text(order + "\n")
        fresh.rename(path)

    def hit(self, who, point):
        return (self.faults_dir / f"{who}.{point}.hit").exists()

    def await_hit(self, who, point, seconds=SECONDS):
        eventually(f"{who} reached {point}", lambda: self.hit(who, point), seconds)

    def hit_at(self, who, point):
        """When it was (time.time()): the order's file was renamed."""
        return (self.faults_dir / f"{who}.{point}.hit").stat().st_ctime

    def let_go(self, who, point):
        """Of a process that waits there."""
        (self.faults_dir / f"{who}.{point}.hit").unlink(missing_ok=True)

    def disarm(self):
        """All points.  Answers the names of those that nobody had reached."""
        missed = []
        for path in self.faults_dir.iterdir():
            if not path.name.endswith(".hit"):
                missed.append(path.name)
            path.unlink(missing_ok=True)
        return missed

    # ---- requests that go on through a kill

    def post_somehow(self, node, size_bytes, seconds=SECONDS, **more):
        """The id; asked for again with the same key while an agent or the orchestrator is away."""
        key, deadline = uuid.uuid4().hex, time.monotonic() + seconds
        body = {"compute_node": node, "size_bytes": size_bytes, **more}
        while True:
            try:
                a = self.api.persistently("POST", "/v1/attachments", body, {"Idempotency-Key": key})
                break
            except Problem as refused:
                reasons = {c["reason"] for c in refused.body.get("candidates", [])} | {refused.code}
                if time.monotonic() > deadline or not reasons & PASSING:
                    raise
                time.sleep(0.01)
        self.acknowledged[a["id"]] = (node, a["size_bytes"])
        return a["id"]

    def attach_somehow(self, node, size_bytes, fill=True, **more):
        """Attached, in spite of what was armed; its pages hold a pattern from then on."""
        a = self.settled(self.post_somehow(node, size_bytes, **more), SECONDS)
        assert a["state"] == "attached", f"{a['id']} is {a['state']}: {a['reason']}"
        if fill:
            self.fill(a)
        return a

    def fill(self, a):
        path = eventually(f"the segment of {a['id']}", lambda: self.segment_file(a).exists() and self.segment_file(a))
        if a["id"] not in self.written:
            assert not (bad := patterns.not_zero(path, self.block)), f"3: {a['id']} is fresh, and not zero at {bad[:4]}"
        self.written.add(a["id"])
        patterns.fill(path, a["id"], self.block)
        self.filled[a["id"]] = a

    def detach_somehow(self, attachment_id):
        self.filled.pop(attachment_id, None)
        self.api.persistently("DELETE", f"/v1/attachments/{attachment_id}")
        a = self.settled(attachment_id, SECONDS)
        assert a["state"] == "detached", f"{a['id']} is {a['state']}: {a['reason']}"
        return a

    # ---- machines

    def block_state(self, node, number):
        try:
            return (self.dir / "nodes" / node / "sys/devices/system/memory" / f"memory{number}" / "state").read_text().strip()
        except FileNotFoundError:
            return "absent"

    def reboot(self, *nodes):
        """Power off and on, all at once: another boot id, adapters reset, its processes and its memory gone."""
        boots = {node: self.node(node)["boot_id"] for node in nodes}
        for how in ("off", "on"):
            for node in nodes:
                self.ctl("power", node, how)
        for node in nodes:
            eventually(f"{node} is back in another boot",
                       lambda: self.node(node)["boot_id"] != boots[node] and self.node(node)["state"] == "ready", SECONDS)

    def lender_pid(self, node):
        for n in self.ctl("status")["nodes"]:
            for a in n["adapters"]:
                if n["name"] == node and a["role"] == "memory" and a["pid"]:
                    return a["pid"]
        return None

    def kill_lender(self, node):
        pid = eventually("there is a lender", lambda: self.lender_pid(node))
        os.kill(pid, signal.SIGKILL)
        return pid

    # ---- the end of a round

    def await_ready(self, seconds=SECONDS):
        """Every program runs, every node is ready: what was killed is back."""
        def all_of_it():
            states = {n["name"]: n["state"] for n in self.api.items("/v1/nodes")}
            assert set(states.values()) == {"ready"}, states
            down = [p["name"] for p in self.supervisor("status")["processes"] if not p["pid"]]
            assert not down, down
            return True
        eventually("all nodes are ready", all_of_it, seconds)

    def judge(self, seconds=SECONDS):
        """Waits until all is quiet, then holds the invariants against everything that can be seen."""
        self.await_ready(seconds)
        oracle.judge(self, seconds)

    def judge_since(self, since, promised_s=PROMISED_S):
        """judge(), and all of it was quiet in time: counted from 'since' (time.time()), when somebody was killed or came back."""
        self.judge(TIMES * promised_s)
        took = self.quiet_at - since
        assert took <= TIMES * promised_s, f"converged only after {took:.1f} s; promised: {promised_s} s, of which we ask {TIMES} times"
        self.converged.append(took)
