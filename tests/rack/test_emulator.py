"""The emulator alone: a lender and an agent are played by this test, through the drop-in libocxl.so and the file trees.

Run: test_emulator.py [BUILD-DIR]   (default: build below the project)
"""
import ctypes
import errno
import json
import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import trace_check  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("MEMLANE_BUILD", os.path.join(ROOT, "build"))
MIB = 1 << 20
BLOCK = 256 * MIB
WINDOW = 0x0002000000000000
PARKED = 0x4000000000000000
PR_SET_CHILD_SUBREAPER = 36
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def until(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def load_library():
    lib = ctypes.CDLL(os.path.join(BUILD, "lib", "emulated", "libocxl.so"))
    for name, args in {
        "ocxl_afu_open_from_dev": [ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)],
        "ocxl_afu_attach": [ctypes.c_void_p, ctypes.c_uint64],
        "ocxl_afu_close": [ctypes.c_void_p],
        "ocxl_mmio_map": [ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p)],
        "ocxl_mmio_read64": [ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.POINTER(ctypes.c_uint64)],
        "ocxl_mmio_write64": [ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_uint64],
    }.items():
        getattr(lib, name).argtypes = args
    return lib


class Adapter:
    def __init__(self, lib, path, attach=False):
        self.lib, self.afu, self.area = lib, ctypes.c_void_p(), ctypes.c_void_p()
        self.rc = lib.ocxl_afu_open_from_dev(path.encode(), ctypes.byref(self.afu))
        if self.rc == 0 and attach:
            self.rc = lib.ocxl_afu_attach(self.afu, 0)
        if self.rc == 0:
            self.rc = lib.ocxl_mmio_map(self.afu, 0, ctypes.byref(self.area))

    def read(self, offset):
        value = ctypes.c_uint64()
        rc = self.lib.ocxl_mmio_read64(self.area, offset, 1, ctypes.byref(value))
        return value.value if rc == 0 else rc

    def write(self, offset, value):
        return self.lib.ocxl_mmio_write64(self.area, offset, 1, value)

    def close(self):
        if self.afu:
            self.lib.ocxl_afu_close(self.afu)
        self.afu = ctypes.c_void_p()


def write_file(path, text):
    """One write(2), as the agent does it; 0 or an errno."""
    try:
        fd = os.open(path, os.O_WRONLY)
    except OSError as e:
        return e.errno
    try:
        os.write(fd, text.encode())
        return 0
    except OSError as e:
        return e.errno
    finally:
        os.close(fd)


def read_file(path):
    with open(path) as f:
        return f.read().strip()


class Emulator(unittest.TestCase):
    rack = "pair.json"
    program = os.path.join(BUILD, "bin", "memlane-emulator")

    def start(self, *options):
        self.process = subprocess.Popen(
            [self.program, "run", "--rack", os.path.join(ROOT, "deploy", "racks", self.rack), "--dir", self.dir,
             "--log-level", "error", *options], stdout=subprocess.PIPE, text=True)
        self.assertTrue(self.process.stdout.readline().startswith("ready "))

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="memlane-emu-")
        self.lib = load_library()
        self.adapters = []
        self.maps = []
        self.start()

    def tearDown(self):
        for a in self.adapters:
            a.close()
        for addr, size in self.maps:
            LIBC.munmap(addr, size)
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(10), 0)
        self.process.stdout.close()
        self.assertFalse(os.path.ismount(os.path.join(self.dir, "sys")))
        shutil.rmtree(self.dir)

    def ctl(self, *words):
        p = subprocess.run([self.program, "ctl", "--dir", self.dir, *map(str, words)], capture_output=True, text=True)
        return json.loads(p.stdout)

    def node(self, name, *rest):
        return os.path.join(self.dir, "nodes", name, *rest)

    def open(self, node, index, attach=False):
        a = Adapter(self.lib, self.node(node, "dev", "ocxl", f"IBM,RMEM.0000:00:00.{index}.0"), attach)
        self.adapters.append(a)
        return a

    def block(self, n, name="state", node="a"):
        return self.node(node, "sys", "devices", "system", "memory", f"memory{n}", name)

    def lend(self, ident, size=2 * BLOCK, node="b"):
        """What a lender does: reserve an arena, map a file over its beginning."""
        if not self.maps:
            addr = LIBC.mmap(None, 1 << 40, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, -1, 0)
            self.maps.append((addr, 1 << 40))
        fd = os.open(self.node(node, "buffers", ident), os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(fd, size)
        base = self.maps[0][0]
        LIBC.mmap(base, size, 3, mmap.MAP_SHARED | 0x10, fd, 0)
        os.close(fd)
        return base

    def mapped(self, ports=1):
        """Both adapters as after lend, connect and map; answers (compute, memory, arena base)."""
        memory, compute = self.open("b", 1, attach=True), self.open("a", 0)
        base = self.lend("one")
        for n in range(8):
            compute.write(0x20 + 8 * n, PARKED - (n << 40) | 1)
        memory.write(0, 1)
        memory.write(0x78, memory.read(0x78) | ports)
        compute.write(0x78, compute.read(0x78) | ports)
        compute.write(0x20, base | (3 if ports == 3 else 1))
        return compute, memory, base

    def online(self, first=WINDOW // BLOCK, count=2):
        probe = os.path.dirname(os.path.dirname(self.block(0))) + "/probe"
        for n in range(first, first + count):
            self.assertEqual(write_file(probe, hex(n * BLOCK)), 0)
            self.assertEqual(write_file(self.block(n), "online_movable"), 0)

    def check_trace(self):
        with open(os.path.join(self.dir, "trace.jsonl")) as f:
            self.assertEqual(trace_check.check(f), [])

    # ---- tests ---------------------------------------------------------------------------------------------------
    def test_bytes_travel_both_ways_and_the_segment_is_there_only_while_reachable(self):
        compute, _, base = self.mapped()
        segment = self.node("a", "segments", "one")
        self.assertFalse(os.path.lexists(segment))
        self.online(count=1)
        self.assertFalse(os.path.lexists(segment))
        self.online(first=WINDOW // BLOCK + 1, count=1)
        self.assertTrue(os.path.lexists(segment))
        with open(segment, "r+b") as f, mmap.mmap(f.fileno(), 2 * BLOCK) as m:
            m[BLOCK : BLOCK + 5] = b"hello"
        self.assertEqual(ctypes.string_at(base + BLOCK, 5), b"hello")
        self.assertEqual(self.ctl("peek", "a", hex(WINDOW + BLOCK))["data"][:10], b"hello".hex())
        self.ctl("poke", "a", hex(WINDOW + 64), b"back".hex())
        self.assertEqual(ctypes.string_at(base + 64, 4), b"back")
        self.assertEqual(write_file(self.node("a", "emulator", "touch"), hex(WINDOW) + "\n"), 0)
        self.assertGreater(compute.read(0x60), 0)
        self.assertEqual(compute.read(0x60), 0)
        n = WINDOW // BLOCK
        self.assertEqual(write_file(self.block(n + 1), "offline"), 0)
        self.assertFalse(os.path.lexists(segment))
        self.assertEqual(write_file(self.block(n), "offline"), 0)
        self.assertEqual(write_file(self.node("a", "emulator", "quiesce"), "afu0\n"), 0)
        self.assertEqual(compute.write(0x20, PARKED | 1), 0)
        self.check_trace()

    def test_link_loss_takes_the_segment_away_and_a_transaction_then_fences(self):
        self.mapped()
        self.online()
        segment = self.node("a", "segments", "one")
        self.assertTrue(os.path.lexists(segment))
        self.ctl("link", "a/afu0/0", "b/afu1/0", "down")
        self.assertFalse(os.path.lexists(segment))
        self.ctl("link", "b/afu1/0", "a/afu0/0", "up")
        self.assertTrue(os.path.lexists(segment))
        self.ctl("link", "a/afu0/0", "b/afu1/0", "down")
        self.assertEqual(write_file(self.node("a", "emulator", "touch"), hex(WINDOW)), errno.EIO)

    def test_bonded_channels_use_both_ports(self):
        self.mapped(ports=3)
        self.online()
        for i in range(4):
            self.assertIn("data", self.ctl("peek", "a", hex(WINDOW + 128 * i)))
        self.assertTrue(os.path.lexists(self.node("a", "segments", "one")))
        self.ctl("link", "a/afu0/1", "b/afu1/1", "down")
        self.assertFalse(os.path.lexists(self.node("a", "segments", "one")))

    def test_registers_answer_as_the_hardware_does(self):
        a = self.open("a", 0)
        self.assertEqual(a.read(0x08), 0x4000 << 48)
        self.assertEqual(a.read(0x80), -7)
        self.assertEqual(a.write(0x120, 1), -7)
        self.assertEqual(a.read(0x200), (1 << 64) - 1)
        self.ctl("adapter", "a/afu0", "error")
        self.assertEqual(a.read(0), -5)
        self.ctl("adapter", "a/afu0", "ok")
        self.assertEqual(a.read(0), 0)
        first, second = self.open("b", 1, attach=True), self.open("b", 1, attach=True)
        self.assertEqual((first.rc, second.rc), (0, -8))

    def test_memory_blocks_answer_as_linux_does(self):
        n = WINDOW // BLOCK
        self.mapped()
        probe = self.node("a", "sys/devices/system/memory/probe")
        self.assertEqual(write_file(probe, hex(WINDOW + 4096)), errno.EINVAL)
        self.assertEqual(write_file(probe, "what"), errno.EINVAL)
        self.assertEqual(write_file(probe, hex(WINDOW + (1 << 44))), errno.ERANGE)
        self.assertEqual(write_file(self.block(n), "online"), errno.ENOENT)
        self.online(count=1)
        self.assertEqual(write_file(probe, hex(WINDOW)), errno.EEXIST)
        self.assertEqual(read_file(self.block(n, "valid_zones")), "Movable")
        self.assertEqual(write_file(self.block(n), "online_movable"), errno.EINVAL)
        self.assertEqual(os.readlink(os.path.dirname(self.block(n)) + "/node1"), "../../node/node1")
        self.assertIn(f"MemTotal:         {BLOCK // 1024} kB", read_file(self.node("a", "sys/devices/system/node/node1/meminfo")))
        for fault, number in ("ebusy", errno.EBUSY), ("enomem", errno.ENOMEM):
            self.ctl("block", "a", n, fault)
            self.assertEqual(write_file(self.block(n), "offline"), number)
        for never in 0, n - 1, 2**64 - 1:  # its own memory, below its window, no block at all
            self.assertIn(f"blocks {n} to ", self.ctl("block", "a", never, "ebusy")["detail"])
        self.ctl("block", "a", n, "hang")
        for ended in "killed", "served":
            child = os.fork()
            if child == 0:
                os._exit(write_file(self.block(n), "offline"))
            until("the write hangs", lambda: self.ctl("status")["hanging_writes"] == 1)
            self.assertEqual(os.waitpid(child, os.WNOHANG)[0], 0)
            if ended == "killed":
                os.kill(child, signal.SIGKILL)
                self.assertEqual(os.WTERMSIG(os.waitpid(child, 0)[1]), signal.SIGKILL)
            else:
                self.ctl("block", "a", n, "ok")
                self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(read_file(self.block(n)), "offline")

    def test_lent_memory_is_missing_on_the_donor(self):
        def free():
            return int(read_file(self.node("b", "proc/meminfo")).split("MemFree:")[1].split()[0])

        before = free()
        self.mapped()
        self.assertEqual(before - free(), 2 * BLOCK // 1024)
        os.unlink(self.node("b", "buffers", "one"))
        self.assertEqual(free(), before)

    def test_late_write_back_to_a_parked_section_fences_the_node(self):
        compute, _, _ = self.mapped()
        n = WINDOW // BLOCK
        boot = read_file(self.node("a", "proc/sys/kernel/random/boot_id"))
        self.online()
        for k in (n, n + 1):
            self.assertEqual(write_file(self.block(k), "offline"), 0)
        self.assertNotIn("error", self.ctl("writeback", "a", hex(WINDOW)))
        compute.write(0x20, PARKED | 1)
        # This process has the compute adapter open: play the agent that dies with its node in a child of its own.
        compute.close()
        self.assertIn("fenced", self.ctl("writeback", "a", hex(WINDOW))["detail"])
        with self.assertRaises(OSError):
            read_file(self.node("a", "proc/meminfo"))
        self.assertEqual(self.open("a", 0).rc, -2)
        self.ctl("power", "a", "on")
        self.assertNotEqual(read_file(self.node("a", "proc/sys/kernel/random/boot_id")), boot)
        self.assertFalse(os.path.exists(self.block(n)))
        self.assertEqual(self.open("a", 0).read(0x20), 0)

    def test_power_off_kills_what_has_an_adapter_open(self):
        ready, tell = os.pipe()
        child = os.fork()
        if child == 0:
            self.open("a", 0)
            os.write(tell, b"1")
            signal.pause()
        os.read(ready, 1)
        os.close(ready)
        os.close(tell)
        self.ctl("power", "a", "off")
        self.assertEqual(os.WTERMSIG(os.waitpid(child, 0)[1]), signal.SIGKILL)

    def test_power_off_kills_what_is_just_being_started(self):
        """A process of the node forks while the emulator looks for them: its child does not outlive the power either."""
        fork = os.path.join(self.dir, "memlane-fork")  # found by its name and its argument, as agents and lenders are
        with open(fork, "w") as f:
            f.write('#!/bin/sh\n[ "$2" = 0 ] || "$0" "$1" $(($2 - 1)) &\n')
        os.chmod(fork, 0o755)
        argument = self.node("a", "agent.conf")
        for chains in (8, 1, 1, 1, 1, 1):
            parent = self.forking([fork, argument, "100000"], chains)
            self.ctl("power", "a", "off")
            left = [p for p in os.listdir("/proc") if p.isdigit() and argument in self.arguments(p)]
            self.assertFalse(left)
            until("the last one ended", lambda: os.waitpid(parent, os.WNOHANG)[0])
            self.ctl("power", "a", "on")

    def forking(self, command, chains):
        """Starts chains of processes that fork, and answers the pid of the parent of all their orphans: it ends when there are no
        more.  Process 1 takes its time, and what waits for it has a pid: they are few, and the whole machine's."""
        ready, tell = os.pipe()
        parent = os.fork()
        if parent == 0:
            try:
                LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
                for _ in range(chains):
                    subprocess.run(command, check=True)
                os.write(tell, b"1")
                while True:
                    os.wait()
            finally:  # ChildProcessError: there are no more
                os._exit(0)
        os.close(tell)
        self.assertEqual(os.read(ready, 1), b"1")
        os.close(ready)
        return parent

    def test_power_off_kills_what_has_no_arguments_yet(self):
        """A lender in the middle of its execve() has none, by which it could be told."""
        lender = subprocess.Popen([sys.executable, os.path.join(HERE, "executing.py"), os.path.join(self.dir, "trace.jsonl"),
                                   self.node("a", "agent.conf")], stdout=subprocess.PIPE)
        self.addCleanup(lender.communicate)
        self.addCleanup(lender.kill)
        self.assertEqual(lender.stdout.readline(), b"executing\n")
        self.ctl("power", "a", "off")
        self.assertEqual(lender.wait(10), -signal.SIGKILL)

    def arguments(self, pid):
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                return f.read().split("\0")
        except OSError:
            return []

    def test_killed_emulator_goes_on_where_it_was(self):
        compute, _, base = self.mapped()
        self.online()
        boot = read_file(self.node("a", "proc/sys/kernel/random/boot_id"))
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.assertEqual(compute.read(0x78), -2)
        self.start("--resume")
        self.assertEqual(compute.read(0x78), 1)
        self.assertEqual(self.adapters[0].read(0x78), 1)  # the lender's next access attaches it again
        self.assertEqual(compute.read(0x20), base | 1)
        self.assertEqual(read_file(self.node("a", "proc/sys/kernel/random/boot_id")), boot)
        self.assertEqual(read_file(self.block(WINDOW // BLOCK)), "online")
        self.assertTrue(os.path.lexists(self.node("a", "segments", "one")))
        self.check_trace()

    def test_clients_that_die_or_babble_do_no_harm(self):
        for name, junk in ("emulator.sock", b"\xff" * 500), ("ctl.sock", b"x" * 9000), ("ctl.sock", b"peek\n"):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(os.path.join(self.dir, name))
                try:
                    s.sendall(junk)
                except OSError:
                    pass
        self.assertEqual(self.ctl("status")["name"], "pair")

    def test_load_moves_the_counters(self):
        compute, _, _ = self.mapped()
        self.online()
        compute.read(0x60)
        self.assertNotIn("error", self.ctl("load", "a", "one", "128M"))
        until("the counters move", lambda: compute.read(0x60) > 10000 and compute.read(0x70) >> 37 > 1000)


    def test_traffic_on_a_lost_circuit_fences(self):
        compute, _, _ = self.mapped()
        self.online()
        self.ctl("load", "a", "one", "1M")
        compute.close()  # or the fence would end this process
        self.ctl("link", "a/afu0/0", "b/afu1/0", "down")
        until("it is off", lambda: not self.ctl("status")["nodes"][0]["on"])

    def test_late_answers_do_not_end_a_context(self):
        """Registers that answer late, or not at all for a while: the lender's memory is there all the time."""
        _, memory, base = self.mapped(ports=3)
        self.online()
        ctypes.memmove(base, b"mine", 4)
        self.ctl("slow", "b", 3000)
        self.assertEqual(ctypes.c_int32(memory.read(0)).value, -2)  # given up after 2 s
        holder = self.ctl("status")["nodes"][1]["adapters"][1]["pid"]
        self.assertEqual(holder, os.getpid())
        self.assertEqual(self.ctl("peek", "a", hex(WINDOW))["data"][:8], b"mine".hex())
        self.ctl("slow", "b", 0)
        self.assertEqual(memory.read(0x78), 3)  # not what the first question was answered, late

    def test_context_is_free_at_once_after_its_holder_was_killed(self):
        for _ in range(20):
            ready, tell = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(tell, b"%d" % -self.open("b", 1, attach=True).rc)
                signal.pause()
            self.assertEqual(os.read(ready, 1), b"0")
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(ready)
            os.close(tell)


class Switches(Emulator):
    rack = "star8.json"

    def ask(self, line):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(os.path.join(self.dir, "switches", os.listdir(os.path.join(self.dir, "switches"))[0]))
            f = s.makefile("rw")
            f.write(line + "\n")
            f.flush()
            lines = []
            for text in f:
                lines.append(text.strip())
                if lines[-1] == "ok" or lines[-1].startswith("error"):
                    return lines

    def test_cross_connects(self):
        self.assertEqual(self.ask("connect 1 2"), ["ok"])
        self.assertEqual(self.ask("connect 2 1"), ["ok"])
        self.assertTrue(self.ask("connect 2 3")[0].startswith("error busy"))
        self.assertTrue(self.ask("connect 1 99")[0].startswith("error"))
        self.assertTrue(self.ask("nonsense")[0].startswith("error"))
        self.assertEqual(self.ask("list"), ["pair 1 2", "ok"])
        self.assertEqual(self.ask("disconnect 1 2"), ["ok"])
        self.assertEqual(self.ask("disconnect 1 2"), ["ok"])
        self.assertEqual(self.ask("list"), ["ok"])
        self.assertEqual(self.ask("signal")[-1], "ok")


for inherited in [n for n in dir(Emulator) if n.startswith("test_")]:
    setattr(Switches, inherited, None)  # once is enough

if __name__ == "__main__":
    if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]):
        BUILD = os.path.abspath(sys.argv.pop(1))
        Emulator.program = os.path.join(BUILD, "bin", "memlane-emulator")
    unittest.main()
