#!/usr/bin/env python3
"""kernels.py DIR PORT - two POWER9 servers, each a virtual machine with its own Linux: one lends, the other hot-plugs.

Called by `deploy/quickstart --kernels`, which installs and builds.  Orchestrator, dashboard and the emulated fabric run outside; each
machine runs the real agent.  The donor's lender lends from inside its machine, from huge pages on the NUMA node that a file of
this machine backs; the same file is the window of the compute node, so a byte written on one is in the memory of the other.  The
emulator refuses to lead a section to anything else.  With a terminal it waits before it ends; without one it ends by itself.  However it
ends, machines and rack end with it; DIR and DIR.machines, with their logs, stay only when something went wrong.
"""
import contextlib
import json
import mmap
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

sys.dont_write_bytecode = True
import machines  # noqa: E402
from machines import MIB, Machine, MachineError  # noqa: E402

REPO = pathlib.Path(__file__).resolve().parent.parent
GIB = 1024 * MIB
# Both machines: local memory, then a NUMA node that is the shared file.  What is lent is one huge page of 1 GiB: the only whole GiB
# that the donor's node has (1 GiB to 2 GiB), so where it lies is certain, and that it is in one piece.
LOCAL, SHARED, BLOCK = 768 * MIB, 1536 * MIB, 256 * MIB
PLACE = GIB - LOCAL  # of the huge page in the file
NOISE = 128 * MIB  # what else a machine takes or frees meanwhile
COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
BOLD, GREEN, DIM, PLAIN = ("\033[1m", "\033[32m", "\033[2m", "\033[0m") if COLOUR else ("", "", "", "")

COMPUTE = {"name": "afu0", "role": "compute", "ports": 2, "window_addr": hex(LOCAL + PLACE), "window_bytes": GIB}
MEMORY = {"name": "afu1", "role": "memory", "ports": 2}
NODES = [{"name": "compute", "memory_bytes": LOCAL, "free_bytes": 0, "block_bytes": BLOCK, "adapters": [COMPUTE]},
         {"name": "donor", "memory_bytes": LOCAL, "free_bytes": 0, "block_bytes": BLOCK, "adapters": [MEMORY]}]
LINKS = [{"a": f"compute/afu0/{port}", "b": f"donor/afu1/{port}", "latency_ns": 20, "gbps": 100} for port in (0, 1)]

LENDER = """
mkdir -p /dev/hugepages /run/memlane
echo 1 >/sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages
mount -t hugetlbfs -o pagesize=1G,mode=0700 none /dev/hugepages
memlane-lender --adapter afu1 --device "$(echo /machine/ocxl/*)" --run-dir /run/memlane --ocxl-library /usr/lib/memlane/libocxl.so \\
    --backing locked --backing-dir /dev/hugepages --numa-nodes 1 >/run/lender.log 2>&1 &
"""


def say(text=""):
    print(f"   {text}".rstrip(), flush=True)


def step(text):
    print(f"\n{BOLD}== {text}{PLAIN}", flush=True)


def mib(size_bytes):
    return f"{size_bytes // MIB:,} MiB"


class Demo:
    def __init__(self, directory, port):
        self.dir, self.port = directory, port
        self.machines_dir = directory.parent / f"{directory.name}.machines"
        self.file = pathlib.Path("/dev/shm", f"memlane-kernels-{os.getpid()}")

    def rack(self, *words):
        done = subprocess.run([sys.executable, "-B", str(REPO / "deploy" / "rack"), *words, "--dir", str(self.dir)],
                              capture_output=True, text=True)
        if done.returncode:
            raise MachineError((done.stderr or done.stdout).strip())

    def memlane(self, *words, show=True):
        """The command line; its output goes to the terminal as it comes."""
        if show:
            say(f"{BOLD}$ memlane {' '.join(words)}{PLAIN}")
        with subprocess.Popen([str(machines.BUILD / "bin" / "memlane"), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=self.env) as process:
            lines = [line.rstrip() for line in process.stdout if not (show and say(line))]
        if process.returncode:
            raise MachineError(f"memlane {words[0]} failed" if show else "\n".join(lines))
        return "\n".join(lines)

    # ---- up

    def bring_up(self, stack):
        with open(self.file, "wb") as file:
            file.truncate(SHARED)
        stack.callback(lambda: self.file.unlink(missing_ok=True))
        stack.callback(lambda: self.rack("down"))
        self.rack("down")
        run = self.machines_dir
        run.mkdir(mode=0o700, exist_ok=True)
        rack_file = machines.rack_file(run / "kernels.json", NODES, LINKS)
        self.rack("up", "--rack", str(rack_file), "--port", str(self.port), "--no-agents",
                  "--vm", f"compute,qmp={run}/compute.qmp,window={self.file}@{PLACE:#x}", "--vm", f"donor,qmp={run}/donor.qmp,memory={self.file}@{LOCAL:#x}")
        words = dict(line.split("=", 1) for line in (self.dir / "rack.env").read_text().splitlines())
        self.env, self.url = {**os.environ, **words}, words["MEMLANE_URL"]
        compute = machines.agent_conf("compute", [COMPUTE])
        donor = machines.agent_conf("donor", [MEMORY], lender_backing="locked", lender_backing_dir="/dev/hugepages", lender_numa_nodes="1")
        donor["boot"] = LENDER + donor["boot"]
        self.compute = self.machine(run, "compute", compute, LOCAL)
        self.donor = self.machine(run, "donor", donor, 0)
        for machine in (self.compute, self.donor):
            stack.enter_context(machine)
        for machine in (self.compute, self.donor):
            machine.wait_up(180)
        self.rack("cable", "--timeout", "180")

    def remove_files(self):
        for folder in (self.dir, self.machines_dir):
            if (folder / ".memlane-rack").exists() or folder == self.machines_dir:
                shutil.rmtree(folder, ignore_errors=True)

    def machine(self, run, name, files, mem):
        files["join.token"] = (self.dir / "join.token").read_text()
        nodes = [(LOCAL, None), (SHARED, self.file)]
        port, link = int(self.url.rsplit(":", 1)[1]), int((self.dir / "link.port").read_text())
        return Machine(name, "ppc64el", machines.pseries(nodes, mem), run, port, link, files, "default_hugepagesz=1G")

    def code(self):
        """A code for the dashboard's sign-in, good once, for ten minutes."""
        request = urllib.request.Request(f"{self.url}/v1/sessions/codes", data=b"", method="POST",
                                         headers={"Authorization": f"Bearer {self.env['MEMLANE_TOKEN']}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["code"]

    # ---- what there is to see

    def free(self):
        """{name: (total, free, of which huge pages)} as the kernels say."""
        found = {}
        for machine in (self.compute, self.donor):
            m = machine.meminfo()
            huge = m["HugePages_Free"] * m["Hugepagesize"]
            found[machine.name] = (m["MemTotal"], m["MemFree"] + huge, huge)
        return found

    def show_free(self, before=None):
        now = self.free()
        say(f"{DIM}{'/proc/meminfo on':18}{'total':>12}{'free':>12}{'in huge pages':>16}{'' if before is None else '    free since then'}{PLAIN}")
        for name, (total, free, huge) in now.items():
            change = ""
            if before:
                difference = free - before[name][1]
                change = f"    {BOLD}{GREEN if difference > 0 else ''}{difference // MIB:+,} MiB{PLAIN}"
            say(f"{name:18}{mib(total):>12}{mib(free):>12}{mib(huge):>16}{change}")
        return now

    def show_moved(self, before, borrowed):
        """The table, and that it says so: what the compute node has more of (or again), the donor has less of, but for some noise."""
        now = self.show_free(before)
        for name, want in (("compute", borrowed), ("donor", -borrowed)):
            change = now[name][1] - before[name][1]
            if abs(change - want) > NOISE:
                raise MachineError(f"what is free on {name} changed by {change // MIB:+,} MiB instead of {want // MIB:+,} MiB")
        if now["compute"][0] - before["compute"][0] != borrowed:
            raise MachineError("the total of the compute node did not change by what is borrowed")

    def letter(self, a):
        """A file in borrowed memory on the compute node, and where its bytes are on the donor."""
        text = f"written on the compute node, {time.strftime('%H:%M:%S')}, {os.urandom(6).hex()}"
        self.compute.run(f"mkdir -p /borrowed; mount -t tmpfs -o mpol=bind:{a['numa_node']} borrowed /borrowed; echo '{text}' >/borrowed/letter")
        say(f"compute {BOLD}# mount -t tmpfs -o mpol=bind:{a['numa_node']} borrowed /borrowed{PLAIN}      {DIM}(node {a['numa_node']} is the borrowed memory){PLAIN}")
        say(f"compute {BOLD}# echo '{text}' >/borrowed/letter{PLAIN}")
        with open(self.file, "rb") as file, mmap.mmap(file.fileno(), GIB, offset=PLACE, access=mmap.ACCESS_READ) as memory:
            offset = memory.find(text.encode())
        if offset < 0:
            raise MachineError("what was written on the compute node is not in the donor's memory")
        page, within = divmod(offset, 4096)
        lines = self.donor.run(f"dd if=/dev/hugepages/{a['id']} bs=4096 skip={page} count=1 2>/dev/null | "
                               f"hexdump -C -s {within} -n {len(text)}").splitlines()
        say()
        say(f"donor   {BOLD}# hexdump -C -s {offset:#x} /dev/hugepages/{a['id']}{PLAIN}      {DIM}(the lender's buffer){PLAIN}")
        for line in (line for line in lines if "|" in line):
            say(f"        {line}")
        if "compute node" not in "".join(line.split("|")[1] for line in lines if "|" in line):
            raise MachineError("the donor does not see it")
        self.compute.run("umount /borrowed")

    def show(self):
        step("two servers, each with its own kernel")
        for machine in (self.donor, self.compute):
            say(f"{machine.name:8}{machine.run('uname -srm')}, POWER9, {machine.run('ls -d /sys/devices/system/node/node* | wc -l')} NUMA nodes, "
                f"blocks of {int(machine.read('/sys/devices/system/memory/block_size_bytes'), 16) // MIB} MiB")
        say()
        before = self.show_free()
        step("borrow 1 GiB, in four memory blocks")
        self.memlane("attach", "compute", "1GiB")
        a = json.loads(self.memlane("attachment", "list", "-o", "json", show=False))["items"][0]
        say()
        self.show_moved(before, GIB)
        step("the proof: the bytes of one are in the memory of the other")
        self.letter(a)
        return a, before


def wait_for_enter(demo, a):
    code = demo.code()
    print(f"""
{GREEN}{BOLD}It works.{PLAIN}  The memory is still borrowed.  In another terminal:

  dashboard   {BOLD}{demo.url}/#code={code}{PLAIN}
              signs in once, within ten minutes; or open {demo.url}/ and enter the code {code}
  look at it  set -a; . {demo.dir}/rack.env; set +a; PATH={machines.BUILD}/bin:$PATH
              memlane attachment show {a['id']}
              memlane node show compute
  consoles    {demo.machines_dir}/*.console
""")
    with contextlib.suppress(EOFError):
        input(f"{BOLD}Enter{PLAIN} gives it back and ends both machines and the rack. ")


def run(demo):
    stack = contextlib.ExitStack()
    try:
        step("the rack and two virtual machines (no KVM needed; some seconds)")
        demo.bring_up(stack)
        a, before = demo.show()
        if sys.stdin.isatty() and sys.stdout.isatty():
            wait_for_enter(demo, a)
        step("give it back")
        demo.memlane("detach", a["id"])
        say()
        demo.show_moved(before, 0)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # nothing interrupts the cleaning up
        stack.close()


def main():
    demo = Demo(pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2]))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    try:
        run(demo)
    except (MachineError, OSError, subprocess.CalledProcessError, StopIteration) as error:
        print(f"error: {error}\n   logs: {demo.dir}/log, {demo.machines_dir}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\n   interrupted: the machines and the rack have ended, too")
        demo.remove_files()
        return 130
    demo.remove_files()
    step("end")
    say("both machines and the rack have ended; nothing is left but the caches below build/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
