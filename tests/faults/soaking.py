"""soaking.py - a rack of 64 agents under steady change and random faults; see `soak` for the command.

Twice a second somebody borrows memory, and as often somebody gives some back; every other second something goes wrong and is mended.
Three parts: for a third of the time everything is killed now and then; for the most of it the orchestrator, the emulator and some
agents live, so that what leaks in them adds up; at the end everything is killed again.  Every now and then all waits until it is
quiet, and every invariant has to hold (oracle.py, `memlane check` among it).  Then the figures of all processes are taken: those of
the second part's beginning and end are compared for every process that lived through it, and the last ones for all.
"""
import contextlib
import json
import os
import pathlib
import re
import sys
import threading
import time

from faultrack import GIB, FaultRack, Problem, dice, eventually, star
from harness import lasting_processes

NODES = 64
RATE = 2.0
HELD = 40          # attachments at a time
SCALE = 0.2
STEADY = [f"n{i}" for i in range(1, 17)]  # whose agents live through the second part
PARTS = (0.3, 0.6, 0.1)  # of the time
LOOK_S = 300       # at most so long between two looks
KNOWN_S = 5        # after so long everybody knows what was lost
GROWTH = {"memlaned": 8 << 20, "emulator": 4 << 20, "agent": 1 << 20, "lender": 256 << 10}  # private bytes
FDS = {"memlaned": 8, "emulator": 8, "agent": 2, "lender": 2}
THREADS = 0


def descriptors(pid, buffers):
    """How many it has, but those of the files in 'buffers', which a lender holds: where they are placed is chance, and the oracle counts
    them."""
    n = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            n += os.path.dirname(os.readlink(f"/proc/{pid}/fd/{fd}")) != buffers
    return n


def figures(rack):
    """name -> (pid, descriptors, threads, private bytes) of every program of the rack."""
    found = {}
    for pid, words in lasting_processes(rack.dir).items():
        with contextlib.suppress(OSError, TypeError):
            node = re.search(r"/nodes/([^/]+)/", " ".join(words))
            name = os.path.basename(words[0]).removeprefix("memlane-") + (f"-{node[1]}" if node else "")
            buffers = os.path.realpath(rack.dir / "nodes" / node[1] / "buffers") if node else ""
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            found[name] = (pid, descriptors(pid, buffers), int(re.search(r"Threads:\s+(\d+)", status)[1]),
                           int(re.search(r"RssAnon:\s+(\d+)", status)[1]) << 10)
    return found


class Faults:
    """Each breaks something and answers what mends it."""

    def __init__(self, rack, random):
        self.rack, self.random = rack, random
        self.nodes = [n["name"] for n in rack.plan["nodes"]]
        self.spared = []  # programs
        self.n = {}
        self.lost_at = 0  # when memory in use was taken away last, CLOCK_MONOTONIC
        self.crashed = 0

    def one(self):
        act = self.random.choice((self.kill_agent, self.kill_agent, self.kill_orchestrator, self.link_down, self.slow, self.block_busy,
                                  self.adapter_error, self.kill_lender, self.power_cut))
        self.n[act.__name__] = self.n.get(act.__name__, 0) + 1
        return act()

    def kill_agent(self):
        self.kill(f"agent-{self.random.choice(self.nodes)}")
        return lambda: None

    def kill_orchestrator(self):
        if self.random.random() < 0.3:
            self.kill("memlaned")
        return lambda: None

    def kill(self, program):
        if program not in self.spared:
            self.rack.kill(program)

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


    def adapter_error(self):
        node, adapter = self.random.choice(self.nodes[:NODES]), self.random.choice(("afu0", "afu1"))
        self.rack.ctl("adapter", f"{node}/{adapter}", "error")
        return lambda: self.rack.ctl("adapter", f"{node}/{adapter}", "ok")

    def kill_lender(self):
        lending = [n for n in self.nodes[:NODES] if self.rack.lender_pid(n)]
        if lending:
            self.lost_at = time.monotonic()
            self.rack.kill_lender(self.random.choice(lending))
        return self.reboot_borrowers_of_the_lost

    def power_cut(self):
        mortal = [n for n in self.nodes[:NODES] if f"agent-{n}" not in self.spared]
        self.lost_at = time.monotonic()
        self.rack.reboot(self.random.choice(mortal))
        return self.reboot_borrowers_of_the_lost

    def reboot_borrowers_of_the_lost(self):
        """Their reboot alone ends a quarantine; whom they lent to loses it in turn."""
        while lost := self.lost():
            node = lost[0]["compute_node"]
            known = {a["id"] for a in lost if a["compute_node"] == node}
            self.lost_at = time.monotonic()
            self.rack.reboot(node)
            eventually(f"{node} holds nothing any more of {known}", lambda: not known & {a["id"] for a in self.lost()}, 60)

    def settle(self):
        """What somebody in charge of the rack does in the end; a loss may have been noticed just now."""
        self.power_on_the_crashed()
        self.reboot_borrowers_of_the_lost()

    def power_on_the_crashed(self):
        """A machine whose kernel was moving pages home when their donor died is gone: nothing that anybody ordered before can help
        it.  That lasts until the loss is known; a crash later than that is ours."""
        off = {n["name"] for n in self.rack.ctl("status")["nodes"] if not n["on"]}
        for node in sorted(off):
            late = self.off_at(node) - self.lost_at
            assert 0 <= late < KNOWN_S, f"{node} crashed {late:.1f} s after the last loss of memory"
            self.crashed += 1
            self.rack.ctl("power", node, "on")

    def off_at(self, node):
        with (self.rack.dir / "trace.jsonl").open() as trace:
            events = [json.loads(line) for line in trace if '"power_off"' in line]
        return max(e["t_ns"] for e in events if e["node"] == node) / 1e9

    def lost(self):
        return [a for a in self.rack.live() if a["state"] == "lost" and a["compute_node"] in a["holds"]]


class Soak:
    def __init__(self, rack, random):
        self.rack, self.random, self.faults = rack, random, Faults(rack, random)
        self.attached = self.refused = self.undone = self.looks = 0
        self.began = time.monotonic()
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

    def go_on(self, seconds):
        """Changes and faults, with a look every now and then."""
        until = time.monotonic() + seconds
        mend, number, ticker = [], 0, threading.Event()
        next_at, look_at = time.monotonic(), time.monotonic() + LOOK_S
        while time.monotonic() < until:
            number += 1
            self.borrow()
            while len(self.held) > HELD:
                self.give_back()
            if number % 4 == 0:
                for m in mend:
                    m()
                self.faults.power_on_the_crashed()
                mend = [self.faults.one()]
            if time.monotonic() > look_at:
                for m in mend:
                    m()
                mend = []
                self.quiet()
                next_at, look_at = time.monotonic(), time.monotonic() + LOOK_S
            next_at += 1 / RATE
            ticker.wait(max(0, next_at - time.monotonic()))
        for m in mend:
            m()

    def quiet(self):
        """Every invariant holds, and all that is held is attached or gone; the figures of that moment."""
        def look():
            self.faults.settle()
            self.rack.judge(10)
            return True
        eventually("all is quiet", look, 60)
        now = {a["id"] for a in self.rack.live()}
        self.undone += len([h for h in self.held if h not in now])
        self.held = [h for h in self.held if h in now]
        found = figures(self.rack)
        pid, fds, threads, memory = found["memlaned"]
        self.looks += 1
        print(f"{time.monotonic() - self.began:7.0f} s  {self.attached:6} attached, {len(self.held)} held; memlaned {pid}: "
              f"{fds} descriptors, {threads} threads, {memory >> 10} KiB", file=sys.stderr, flush=True)
        return found


def kind_of(name):
    return name.split("-")[0]


def compare(before, after):
    """What grew more than it may in a process that is still the same, as text."""
    wrong = []
    for name, (pid, fds, threads, memory) in after.items():
        old_pid, old_fds, old_threads, old_memory = before.get(name, (0, 0, 0, 0))
        if pid != old_pid:
            continue
        if fds > old_fds + FDS[kind_of(name)] or threads > old_threads + THREADS:
            wrong.append(f"{name}: {old_fds} descriptors, {old_threads} threads, then {fds} and {threads}")
        if memory > old_memory + GROWTH[kind_of(name)]:
            wrong.append(f"{name}: {old_memory >> 10} KiB, then {memory >> 10} KiB")
    return wrong


def compare_kinds(before, after):
    """Others have taken the places of those that were killed: none of them is larger than the largest of its kind was."""
    wrong = []
    for kind in GROWTH:
        old = [f for name, f in before.items() if kind_of(name) == kind]
        for name, (_, fds, threads, memory) in after.items():
            if kind_of(name) == kind and (fds > max(f[1] for f in old) + FDS[kind] or threads > max(f[2] for f in old) + THREADS
                                          or memory > max(f[3] for f in old) + GROWTH[kind]):
                wrong.append(f"{name}: {fds} descriptors, {threads} threads, {memory >> 10} KiB: more than any {kind} before")
    return wrong


def table(before, after):
    """One line a kind of program: the largest of those that lived from 'before' to 'after'."""
    lines = [f"{'PROGRAM':10} {'LIVED':>5} {'DESCRIPTORS':>14} {'THREADS':>10} {'PRIVATE KiB':>16} {'GREW AT MOST':>13} {'ALLOWED':>9}"]
    for kind, allowed in GROWTH.items():
        same = [(before[n], f) for n, f in after.items() if kind_of(n) == kind and n in before and before[n][0] == f[0]]
        if same:
            def span(column, scale=1, same=same):
                return f"{max(b[column] for b, _ in same) // scale} > {max(a[column] for _, a in same) // scale}"
            grew = max(a[3] - b[3] for b, a in same) >> 10
            lines.append(f"{kind:10} {len(same):5} {span(1):>14} {span(2):>10} {span(3, 1024):>16} {grew:>13} {allowed >> 10:>9}")
    return "\n".join(lines)


def run(seconds):
    """Raises AssertionError; answers a line of text."""
    random = dice("soak")
    plan = star(NODES, "star64")
    with FaultRack(plan, ["--timeout", "120"], time_scale=SCALE) as rack:
        soak = Soak(rack, random)
        soak.go_on(PARTS[0] * seconds)
        soak.faults.spared = ["memlaned", *[f"agent-{n}" for n in STEADY]]
        before = soak.quiet()
        soak.go_on(PARTS[1] * seconds)
        after = soak.quiet()
        soak.faults.spared = []
        soak.go_on(PARTS[2] * seconds)
        last = soak.quiet()
        while soak.held:
            soak.give_back()
        eventually("all is given back", lambda: soak.faults.settle() or not rack.live(), 60)
        rack.judge(60)
        text = (f"{NODES} agents, {seconds} s: {soak.attached} attached, {soak.refused} refused, {soak.undone} undone; "
                f"{soak.looks} times all was quiet and every invariant held; faults "
                + ", ".join(f"{k} {v}" for k, v in sorted(soak.faults.n.items())) + f"; {soak.faults.crashed} machines crashed with them")
        print(f"{table(before, after)}\n{text}", file=sys.stderr, flush=True)
        wrong = compare(before, after) + compare_kinds(before, last)
        assert not wrong, wrong
        return text
