"""soaking.py - a rack of 64 agents under steady change and random faults; see `soak` for the command.

Twice a second somebody borrows memory, and as often somebody gives some back; every other second something goes wrong and is mended.
The figures of every process (descriptors, threads, private memory) are taken when it is quiet after a warm-up, and at the end.
"""
import contextlib
import os
import pathlib
import re
import sys
import threading
import time

from faultrack import GIB, FaultRack, Problem, dice, eventually, star

NODES = 64
RATE = 2.0
HELD = 40          # attachments at a time
SCALE = 0.2
WARM_UP = 0.3      # of the time
GROWTH = {"memlaned": 8 << 20, "emulator": 16 << 20, "agent": 1 << 20, "lender": 1 << 20}
FDS = 4            # more than after the warm-up, in one process


def figures(rack):
    """name -> (pid, descriptors, threads, private bytes) of every program of the supervisor."""
    found = {}
    for p in rack.supervisor("status")["processes"]:
        with contextlib.suppress(OSError, TypeError):
            status = pathlib.Path(f"/proc/{p['pid']}/status").read_text()
            found[p["name"]] = (p["pid"], len(os.listdir(f"/proc/{p['pid']}/fd")), int(re.search(r"Threads:\s+(\d+)", status)[1]),
                                int(re.search(r"RssAnon:\s+(\d+)", status)[1]) << 10)
    return found


class Faults:
    """Each breaks something and answers what mends it."""

    def __init__(self, rack, random):
        self.rack, self.random = rack, random
        self.nodes = [n["name"] for n in rack.plan["nodes"]]
        self.n = {}

    def one(self):
        act = self.random.choice((self.kill_agent, self.kill_agent, self.kill_orchestrator, self.link_down, self.slow, self.block_busy))
        self.n[act.__name__] = self.n.get(act.__name__, 0) + 1
        return act()

    def kill_agent(self):
        self.rack.kill(f"agent-{self.random.choice(self.nodes)}")
        return lambda: None

    def kill_orchestrator(self):
        if self.random.random() < 0.3:
            self.rack.kill("memlaned")
        return lambda: None

    def link_down(self):
        used = {port for c in self.rack.api.items("/v1/circuits") for leg in c["path"] for port in leg}
        free = [link for link in self.rack.plan["links"] if link["a"] not in used and link["b"] not in used]
        link = self.random.choice(free)
        self.rack.ctl("link", link["a"], link["b"], "down")
        return lambda: self.rack.ctl("link", link["a"], link["b"], "up")

    def slow(self):
        node = self.random.choice(self.nodes)
        self.rack.ctl("slow", node, self.random.randint(1, 20))
        return lambda: self.rack.ctl("slow", node, 0)

    def block_busy(self):
        live = [a for a in self.rack.live() if a["state"] == "attached"]
        if not live:
            return lambda: None
        a = self.random.choice(live)
        block = int(a["physical_addr"], 16) // self.rack.block
        self.rack.ctl("block", a["compute_node"], block, "ebusy")
        return lambda: self.rack.ctl("block", a["compute_node"], block, "ok")


class Soak:
    def __init__(self, rack, random):
        self.rack, self.random, self.faults = rack, random, Faults(rack, random)
        self.attached = self.refused = self.undone = 0
        self.held = []

    def borrow(self):
        try:
            made = self.rack.post_somehow(f"n{self.random.randint(1, NODES)}", self.random.choice((1, 2, 4)) * GIB // 4, seconds=30)
        except Problem as refusal:
            assert refusal.code in ("no_donor", "compute_not_ready", "compute_unreachable"), refusal
            self.refused += 1
            return
        self.held.append(made)
        self.attached += 1

    def give_back(self):
        made = self.held.pop(self.random.randrange(len(self.held)))
        self.rack.api.persistently("DELETE", f"/v1/attachments/{made}", seconds=30)

    def go_on(self, until):
        mend = []
        ticker = threading.Event()
        number = 0
        while time.monotonic() < until:
            number += 1
            self.borrow()
            while len(self.held) > HELD:
                self.give_back()
            if number % 4 == 0:
                for m in mend:
                    m()
                mend = [self.faults.one()]
            ticker.wait(1 / RATE)
        for m in mend:
            m()

    def quiet(self):
        """All that is held is attached or gone; the figures of that moment."""
        self.rack.judge(60)
        now = {a["id"] for a in self.rack.live()}
        self.undone += len([h for h in self.held if h not in now])
        self.held = [h for h in self.held if h in now]
        return figures(self.rack)


def compare(before, after):
    """What grew more than it may, as text."""
    wrong = []
    for name, (pid, fds, threads, memory) in after.items():
        kind = name.split("-")[0]
        if name not in before:
            continue
        old_pid, old_fds, old_threads, old_memory = before[name]
        if fds > old_fds + FDS or threads > old_threads:
            wrong.append(f"{name}: {old_fds} descriptors, {old_threads} threads, then {fds} and {threads}")
        if memory > old_memory + GROWTH[kind] and (pid == old_pid or memory > 2 * old_memory):
            wrong.append(f"{name}: {old_memory >> 10} KiB, then {memory >> 10} KiB")
    return wrong


def run(seconds):
    """Raises AssertionError; answers a line of text."""
    random = dice("soak")
    plan = star(NODES, "star64")
    with FaultRack(plan, ["--timeout", "120"], time_scale=SCALE) as rack:
        soak, began = Soak(rack, random), time.monotonic()
        soak.go_on(began + WARM_UP * seconds)
        before = soak.quiet()
        soak.go_on(began + seconds)
        after = soak.quiet()
        wrong = compare(before, after)
        assert not wrong, wrong
        while soak.held:
            soak.give_back()
        eventually("all is given back", lambda: not rack.live(), 60)
        rack.judge(60)
        text = (f"{NODES} agents, {seconds} s: {soak.attached} attached, {soak.refused} refused, {soak.undone} undone; faults "
                + ", ".join(f"{k} {v}" for k, v in sorted(soak.faults.n.items()))
                + f"; memlaned {before['memlaned'][3] >> 10} KiB, then {after['memlaned'][3] >> 10} KiB"
                + f", {before['memlaned'][1]} descriptors, then {after['memlaned'][1]}")
        print(text, file=sys.stderr, flush=True)
        return text
