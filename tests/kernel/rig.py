"""rig.py - one virtual machine that borrows, and an emulated donor whose lender runs outside, with the orchestrator around them."""
import contextlib
import mmap
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "rack"), str(HERE.parent.parent / "deploy")]
import machines  # noqa: E402
from harness import RACK_COMMAND, Problem, Rack, eventually, has_failed  # noqa: E402,F401

MIB, GIB = 1 << 20, 1 << 30
SLOW = float(os.environ.get("MEMLANE_KERNEL_SLOW", "1"))  # multiplies what is waited for, on a machine that is busy with other things


BLOCK_TIMEOUT_MS = int(5000 * SLOW)


class Platform:
    """What differs between the machines that borrow."""

    def __init__(self, name, arch, block, local, window_addr, window):
        self.name, self.arch, self.block, self.local = name, arch, block, local
        self.piece = min(block, 256 * MIB)  # what programs in the machine use, at most: filling it takes time
        self.numa = 0 if name == "powernv9" else 1
        self.file_offset = local if name == "powernv9" else 0  # of the window, in the file that backs the machine
        self.window_addr, self.window = window_addr, window

    def adapter(self):
        return {"name": "afu0", "role": "compute", "ports": 2, "window_addr": hex(self.window_addr), "window_bytes": self.window}

    def nodes(self):
        donor = {"name": "afu1", "role": "memory", "ports": 2}
        return [{"name": "m", "memory_bytes": self.local, "free_bytes": self.local // 2, "block_bytes": self.block,
                 "adapters": [self.adapter()]},
                {"name": "d", "memory_bytes": 64 * GIB, "free_bytes": 32 * GIB, "block_bytes": self.block, "adapters": [donor]}]


PSERIES = Platform("pseries", "ppc64el", 256 * MIB, 768 * MIB, 768 * MIB, 512 * MIB)
POWERNV = Platform("powernv9", "ppc64el", GIB, GIB, GIB, 2 * GIB)
X86 = Platform("x86", "amd64", 128 * MIB, 512 * MIB, 4 * GIB, 6 * GIB)
LINKS = [{"a": "m/afu0/0", "b": "d/afu1/0", "latency_ns": 20, "gbps": 100}]


TOUCHED = (0x6d656d6c616e6531).to_bytes(8, "little")  # what a touch writes (touch.c)
UP = []  # rigs that are up


def ended_by_signal(*_):
    """Whatever the test runner does with exceptions: no machine and no rack stays."""
    for rig in UP:
        rig.stack.close()
    os._exit(1)


signal.signal(signal.SIGTERM, ended_by_signal)


class Rig:
    def __init__(self, platform, policy="offline", cmdline="", extra=(), rack_options=()):
        self.platform, self.policy, self.cmdline, self.extra = platform, policy, cmdline, extra
        self.rack_options = list(rack_options)
        self.stack = contextlib.ExitStack()
        self.arena = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ml-vm-", dir="/tmp"))
            stack.callback(shutil.rmtree, self.dir, ignore_errors=True)
            vm, options = f"m,qmp={self.dir}/m.qmp", []
            if self.platform is not X86:
                self.arena = self.make_arena(stack)
                place = f"{self.arena}@{self.platform.file_offset:#x}"
                vm += f",window={place}" + (",counted=new" if self.platform is POWERNV else "")
                options = ["--arena", f"d={place}"]
            rack_file = machines.rack_file(self.dir / "rack.json", self.platform.nodes(), LINKS)
            self.rack = stack.enter_context(Rack(str(rack_file), ["--vm", vm, *options, *self.rack_options], check_trace=False))
            self.rack.settle_seconds = 60 * SLOW
            self.machine = stack.enter_context(self.make_machine())
            self.machine.wait_up(60 * SLOW)
            command = [*RACK_COMMAND, "cable", "--dir", str(self.rack.dir), "--timeout", str(60 * SLOW)]
            subprocess.run(command, check=True)
            self.wait_ready()
            self.stack = stack.pop_all()
            UP.append(self)
        return self

    def __exit__(self, *error):
        if error[0]:
            self.save_log()
        UP.remove(self)
        self.stack.__exit__(*error)

    def save_log(self):
        with contextlib.suppress(machines.MachineError):
            print(f"agent.log of {self.platform.name}:\n{self.machine.run('tail -n 60 /run/agent.log')}", file=sys.stderr)
        print(f"console of {self.platform.name}:{self.machine.log(30)}", file=sys.stderr)

    def make_arena(self, stack):
        """The file that is both the machine's window and the donor's arena.  On powernv9 it is all of the machine's memory: the
        machine's own part comes first."""
        path = pathlib.Path("/dev/shm", f"memlane-{self.dir.name}")
        stack.callback(lambda: path.unlink(missing_ok=True))
        with open(path, "wb") as file:
            file.truncate(self.platform.file_offset + self.platform.window)
        return path

    def make_machine(self):
        p = self.platform
        if p is X86:
            platform = machines.q35(p.local)
        elif p is PSERIES:
            platform = machines.pseries([(p.local, None), (p.window, self.arena)], p.local)
        else:
            platform = machines.powernv9(p.local + p.window, self.arena, p.local)
        files = machines.agent_conf("m", [p.adapter()], block_timeout_ms=BLOCK_TIMEOUT_MS)
        files["join.token"] = (self.rack.dir / "join.token").read_text()
        link_port = int((self.rack.dir / "link.port").read_text())
        return machines.Machine("m", p.arch, platform, self.dir, self.rack.port, link_port, files, self.cmdline, self.policy, self.extra)

    def wait_ready(self, seconds=60 * SLOW):
        def ready():
            node = self.rack.node("m")
            return node["state"] == "ready" and all(a["ok"] for a in node["adapters"])
        eventually("the machine's agent is there", ready, seconds)

    # ---- the donor's memory, seen from outside

    def donor_place(self, a):
        """(file, offset) of the donor's buffer."""
        return (self.arena, self.platform.file_offset + a["offset_bytes"]) if self.arena else (self.rack.buffer_file(a), 0)

    def was_touched(self, a):
        """Whether the agent's mark is in the donor's buffer; makes no page there.  Where borrowed memory has no NUMA node of its own, any
        program takes the page afterwards, and the mark is gone: then, whether there is anything."""
        path, at = self.donor_place(a)
        end = at + a["size_bytes"]
        with open(path, "rb") as file:
            with contextlib.suppress(OSError):  # behind the last page
                while (at := os.lseek(file.fileno(), at, os.SEEK_DATA)) < end:
                    hole = min(os.lseek(file.fileno(), at, os.SEEK_HOLE), end)
                    if self.platform is POWERNV or TOUCHED in os.pread(file.fileno(), hole - at, at):
                        return True
                    at = hole
        return False

    @contextlib.contextmanager
    def donor_memory(self, a):
        """The donor's buffer of an attachment, mapped; what is at 0 is what the machine has at physical_addr."""
        path, offset = self.donor_place(a)
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), a["size_bytes"], offset=offset) as memory:
            yield memory
