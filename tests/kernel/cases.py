"""Memory that Linux itself hot-plugs: the agent in virtual machines, the donor's lender outside.  One class a kind of machine."""
import json
import re
import tempfile
import unittest

from rig import MIB, POWERNV, PSERIES, SLOW, X86, Rig, eventually, has_failed, machines

TOOLS = {arch: machines.programs(arch)[0] / "tests" for arch in ("amd64", "ppc64el")}


class Holder:
    """A program in the machine that uses memory of one NUMA node (hold.c)."""

    def __init__(self, machine, node, size_bytes, seed, pin=False):
        self.machine, self.seed, self.path = machine, seed, f"/run/hold-{seed}"
        pinned = "pin" if pin else ""
        self.pid = machine.run(f"rm -f {self.path}*; hold {node} {size_bytes} {seed} {self.path} {pinned} >{self.path}.log 2>&1 & echo $!")
        eventually("the program holds its memory", lambda: machine.try_run(f"grep -q ready {self.path}")[0] == 0, 90 * SLOW)

    def pages(self):
        """[(physical address, page number)]"""
        lines = self.machine.read(self.path).splitlines()[:-1]
        return [(int(address, 16), int(page)) for address, page in (line.split() for line in lines)]

    def check(self):
        """'good', or what differs."""
        self.machine.run(f"rm -f {self.path}.check; kill -USR1 {self.pid}")
        eventually("the program read its memory", lambda: self.machine.try_run(f"[ -e {self.path}.check ]")[0] == 0, 60 * SLOW)
        return self.machine.read(f"{self.path}.check")

    def end(self):
        self.machine.run(f"kill -9 {self.pid} 2>/dev/null; while [ -e /proc/{self.pid}/exe ]; do usleep 10000; done")


def word(seed, page):
    return (seed << 32 | page).to_bytes(8, "little")


class OnMachine:
    """One machine for all tests of a class; each leaves it as it was."""
    platform = None
    policy = "offline"
    tools = ("hold",)
    seeds = 0

    @classmethod
    def setUpClass(cls):
        folder = TOOLS[cls.platform.arch]
        tools = {f"usr/bin/{name}": folder / name for name in cls.tools}
        tools["usr/lib/tests/fake_ocxl.so"] = folder.parent / "lib" / "tests" / "fake_ocxl.so"
        cls.rig = cls.enterClassContext(Rig(cls.platform, policy=cls.policy, extra=tools))
        cls.rack, cls.machine, cls.block, cls.piece = cls.rig.rack, cls.rig.machine, cls.platform.block, cls.platform.piece

    def tearDown(self):
        if has_failed(self):
            self.rig.save_log()
        self.doCleanups()
        for a in self.rack.live():
            self.rack.detach(a["id"])

    def attach(self, blocks=1):
        return self.rack.attach("m", blocks * self.block, donor="d")

    def hold(self, node, size_bytes, pin=False):
        OnMachine.seeds += 1
        holder = Holder(self.machine, node, size_bytes, OnMachine.seeds, pin)
        self.addCleanup(holder.end)
        return holder

    def total(self):
        return self.machine.meminfo()["MemTotal"]

    def borrowed_pages(self, holder, a):
        """Of the program's pages, those that are borrowed: [(offset in the attachment, page number)]."""
        start = int(a["physical_addr"], 16)
        return [(at - start, page) for at, page in holder.pages() if 0 <= at - start < a["size_bytes"]]

    def assert_in_donor(self, holder, a, at_least):
        """What the program wrote is in the donor's buffer, page by page, where the physical addresses say."""
        pages = self.borrowed_pages(holder, a)
        page_bytes = 65536 if self.platform.arch == "ppc64el" else 4096
        self.assertGreaterEqual(len(pages) * page_bytes, at_least, "the program got too little of the borrowed memory")
        with self.rig.donor_memory(a) as memory:
            wrong = [(hex(offset), page) for offset, page in pages
                     if memory[offset:offset + page_bytes] != word(holder.seed, page) * (page_bytes // 8)]
        self.assertEqual(wrong[:4], [], f"{len(wrong)} of {len(pages)} pages are not in the donor's buffer")
        return pages

    def assert_told_of_the_touch(self, a):
        """The agent says that it touched this memory exactly when its mark is in the donor's buffer.  True: it did."""
        untouched = [f["detail"] for f in self.rack.node("m")["findings"] if f["code"] == "untouched"]
        touched = self.rig.was_touched(a)
        print(f"\n{self.platform.name}: the first block was {'' if touched else 'not '}touched {untouched}")
        self.assertEqual(touched, not any(a["id"] in text for text in untouched), f"what is said of the touch: {untouched}")
        return touched

    def agent_pid(self):
        """The agent, not the child that waits for hot-plug orders."""
        return self.machine.run("for p in $(pidof memlane-agent); do case \" $(pidof memlane-agent) \" in "
                                "*\" $(awk '/^PPid/ {print $2}' /proc/$p/status) \"*) ;; *) echo $p;; esac; done | head -n 1")


class Basics(OnMachine):
    def test_memory_grows_by_the_size_and_its_bytes_are_the_donors(self):
        before = self.total()
        a = self.attach()
        self.assertEqual(self.total() - before, a["size_bytes"])
        self.assertEqual((a["blocks_online"], a["blocks_total"]), (1, 1))
        self.assertEqual(a["numa_node"], self.platform.numa)
        self.assertEqual(self.rack.api.items("/v1/circuits")[0]["state"], "up")
        self.assertTrue(self.assert_told_of_the_touch(a), "the block was not touched, though it is all that is movable")
        self.assert_marked_and_counted()
        number = int(a["physical_addr"], 16) // self.block
        self.assertEqual(self.machine.read(f"/sys/devices/system/memory/memory{number}/valid_zones"), "Movable")
        holder = self.hold(self.platform.numa, self.piece * 3 // 4)
        pages = self.assert_in_donor(holder, a, self.piece // 2)
        offset, page = pages[len(pages) // 2]
        with self.rig.donor_memory(a) as memory:  # and the other way round
            memory[offset:offset + 8] = word(holder.seed, page ^ 1)
        self.assertRegex(holder.check(), f"^bad 1 first {page}$")
        with self.rig.donor_memory(a) as memory:
            memory[offset:offset + 8] = word(holder.seed, page)
        self.assertEqual(holder.check(), "good")
        holder.end()
        self.rack.detach(a["id"])
        self.assertEqual(self.total(), before)

    def assert_marked_and_counted(self):
        """Its adapter is the emulator's, and says so; what the touch moved is in the counters of node and /metrics."""
        self.assertIn("emulated_adapters", [f["code"] for f in self.rack.node("m")["findings"]])
        adapter = self.rack.node("m")["adapters"][0]
        self.assertTrue(adapter["emulated"], "emulated counters are shown as real ones")

        def metric():
            text = self.rack.api.raw("GET", "/metrics")[2].decode()
            found = re.search(r'^memlane_adapter_sent_flits_total{node="m",adapter="afu0",emulated="1"} (\d+)$', text, re.M)
            return int(found.group(1)) if found else 0
        eventually("the node's totals moved", lambda: self.rack.node("m")["adapters"][0]["flits_sent"] > 0, 30 * SLOW)
        eventually("those of /metrics moved", lambda: metric() > 0, 30 * SLOW)

    def test_pages_in_use_are_moved_home_by_a_detach(self):
        a = self.attach()
        holder = self.hold(self.platform.numa, self.piece // 4)
        self.assert_in_donor(holder, a, self.piece // 8)
        self.rack.detach(a["id"])
        self.assertEqual(holder.check(), "good", "the program lost bytes")

    def test_borrowed_memory_is_not_counted_as_the_machines_own(self):
        before = self.rack.node("m")["memory_bytes"]
        a = self.attach()
        seen = self.rack.node("m")["last_seen_at"]
        eventually("a report of after the attach", lambda: self.rack.node("m")["last_seen_at"] != seen, 30 * SLOW)
        node = self.rack.node("m")
        self.assertEqual((node["memory_bytes"], node["borrowed_bytes"]), (before, a["size_bytes"]))
        self.rack.detach(a["id"])


class Borrowing(Basics):
    def test_every_auto_online_policy_ends_in_zone_movable(self):
        policy = "/sys/devices/system/memory/auto_online_blocks"
        self.addCleanup(self.machine.run, f"echo offline >{policy}")
        for word_of_policy in ("online", "online_movable", "offline"):
            with self.subTest(policy=word_of_policy):
                self.machine.run(f"echo {word_of_policy} >{policy}")
                a = self.attach()
                number = int(a["physical_addr"], 16) // self.block
                block = f"/sys/devices/system/memory/memory{number}"
                self.assertEqual(self.machine.run(f"cat {block}/state {block}/valid_zones"), "online\nMovable")
                self.rack.detach(a["id"])

    def test_what_one_borrower_wrote_the_next_never_reads(self):
        a = self.attach()
        holder = self.hold(self.platform.numa, self.piece // 2)
        pages = self.assert_in_donor(holder, a, self.piece // 4)
        holder.end()
        self.rack.detach(a["id"])
        again = self.attach()
        self.assertEqual(again["offset_bytes"], a["offset_bytes"])
        with self.rig.donor_memory(again) as memory:
            left = [hex(offset) for offset, page in pages if word(holder.seed, page) == memory[offset:offset + 8]]
        self.assertEqual(left[:4], [], "the last borrower's bytes are still there")

    def test_a_pinned_page_makes_it_stuck_and_names_the_block_and_a_retry_succeeds(self):
        a = self.attach()
        holder = self.hold(self.platform.numa, 64 * 65536, pin=True)
        self.assertTrue(self.borrowed_pages(holder, a), "nothing borrowed is pinned")
        self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
        stuck = self.rack.settled(a["id"], 90 * SLOW)
        self.assertEqual(stuck["state"], "stuck", stuck["reason"])
        self.assertIn(f"memory{int(a['physical_addr'], 16) // self.block}", stuck["reason"])
        self.assertEqual(holder.check(), "good")
        holder.end()
        self.rack.api.call("POST", f"/v1/attachments/{a['id']}/retry")
        eventually("it is detached", lambda: self.rack.attachment(a["id"])["state"] == "detached", 60 * SLOW)

    def test_too_little_room_at_home_is_noticed_before_the_kernel_kills(self):
        a = self.attach()
        borrowing = self.hold(self.platform.numa, self.piece * 3 // 4)
        free = self.machine.meminfo()["MemFree"]
        if self.platform is POWERNV:  # one NUMA node for all: what is left is less than the block
            filling = self.hold(0, (free - self.block * 3 // 4) // 65536 * 65536)
        else:
            filling = self.hold(0, max(free - self.block // 4 - self.block // 3, MIB) // 65536 * 65536)
        self.rack.api.call("DELETE", f"/v1/attachments/{a['id']}")
        stuck = self.rack.settled(a["id"], 90 * SLOW)
        self.assertEqual(stuck["state"], "stuck", stuck["reason"])
        self.assertRegex(stuck["reason"], "in use there, and .* free")
        self.assertEqual((borrowing.check(), filling.check()), ("good", "good"), "a program was killed, or lost bytes")
        filling.end()
        self.rack.api.call("POST", f"/v1/attachments/{a['id']}/retry")
        eventually("it is detached", lambda: self.rack.attachment(a["id"])["state"] == "detached", 60 * SLOW)
        self.assertEqual(borrowing.check(), "good")

    def test_of_two_the_first_is_detached_first(self):
        before = self.total()
        first, second = self.attach(), self.attach()
        self.assertEqual(self.total() - before, 2 * self.block)
        self.assert_told_of_the_touch(second)  # of the same NUMA node: most likely there was none
        self.rack.detach(second["id"])
        holder = self.hold(self.platform.numa, self.piece)
        self.assertTrue(self.borrowed_pages(holder, first))
        second = self.attach()
        touched = self.assert_told_of_the_touch(second)
        if self.platform is not POWERNV:  # there the first is not used up
            self.assertTrue(touched, "the second block was not touched, though the first had nothing free")
        self.rack.detach(first["id"])
        self.assertEqual(self.total() - before, self.block)
        self.assertEqual(holder.check(), "good")
        holder.end()
        self.rack.detach(second["id"])
        self.assertEqual(self.total(), before)

    def test_a_killed_agent_finds_its_memory_again(self):
        a = self.attach()
        holder = self.hold(self.platform.numa, self.piece // 2)
        old = self.agent_pid()
        self.machine.run(f"kill -9 {old}")
        eventually("another agent runs", lambda: self.agent_pid() not in ("", old), 30 * SLOW)
        eventually("it has registered", lambda: len(re.findall("session.registered", self.machine.read("/run/agent.log"))) > 1, 30 * SLOW)
        self.assertEqual(holder.check(), "good")
        seen = self.rack.attachment(a["id"])
        self.assertEqual((seen["state"], seen["blocks_online"]), ("attached", 1))
        self.assert_in_donor(holder, a, self.piece // 4)
        holder.end()
        self.rack.detach(a["id"])

    def test_an_emulator_that_is_started_again_goes_on_with_the_machine(self):
        before = self.total()
        a = self.attach()
        holder = self.hold(self.platform.numa, self.piece // 4)
        old = self.rack.kill("emulator")
        eventually("another emulator runs", lambda: self.rack.pid("emulator") not in (None, old), 120 * SLOW)
        self.rig.wait_ready(180 * SLOW)
        eventually("the emulator found the donor, too", lambda: all(x["ok"] for x in self.rack.node("d")["adapters"]), 120 * SLOW)
        self.assertEqual(self.rack.attachment(a["id"])["state"], "attached")
        self.assert_in_donor(holder, a, self.piece // 8)
        self.rack.detach(a["id"])
        self.assertEqual((self.total(), holder.check()), (before, "good"))
        if self.platform is X86:  # the DIMM went, too
            block = int(a["physical_addr"], 16) // self.block
            eventually("the block is gone", lambda: self.machine.try_run(f"[ -e /sys/devices/system/memory/memory{block} ]")[0] != 0, 30 * SLOW)
        holder.end()
        self.rack.detach(self.attach()["id"])

    def test_the_agent_and_the_lender_are_small(self):
        a = self.attach()
        agent = self.rss_anon(self.agent_pid())
        limit = 4096 if self.platform.arch == "amd64" else 8192
        print(f"\n{self.platform.name}: RssAnon of the agent {agent} KiB (limit {limit})")
        self.assertLess(agent, limit)
        self.rack.detach(a["id"])
        self.machine.run("mkdir -p /run/l; cd /run/l; memlane-lender --adapter afu9 --device /machine/ocxl/none --run-dir /run/l "
                         "--ocxl-library /usr/lib/memlane/libocxl.so >/run/l/log 2>&1 & until [ -S lender-afu9.sock ]; do usleep 10000; done")
        lender = self.rss_anon(self.machine.run("pidof memlane-lender"))
        print(f"{self.platform.name}: RssAnon of a lender without buffers {lender} KiB (limit 1024)")
        self.machine.run("kill $(pidof memlane-lender)")
        self.assertLess(lender, 1024)

    def rss_anon(self, pid):
        return int(self.machine.run(f"awk '/^RssAnon/ {{print $2}}' /proc/{pid}/status"))

    def test_check_prints_a_truthful_page(self):
        a = self.attach()
        page = self.machine.try_run("memlane-agent --check --config /machine/agent.conf")[1]
        print(f"\n{self.platform.name}: memlane-agent --check\n{page}")
        self.assertIn("afu0", page)
        self.assertRegex(page, "borrows .* now: 1 memory block of ")
        self.assertIn("CONFIG_MEMORY_HOTREMOVE=y", page)
        self.assertIn(f"CONFIG_ARCH_MEMORY_PROBE={'n' if self.platform is X86 else 'y'}", page)
        self.assertIn("emulated_adapters", page)  # a real kernel, but no real adapter
        seen = json.loads(self.machine.try_run("memlane-agent --check --config /machine/agent.conf -o json")[1])
        self.assertEqual(seen["memory_bytes"], self.total() - a["size_bytes"], "what is borrowed is not its own")
        self.rack.detach(a["id"])
        self.assertIn("borrows nothing now", self.machine.try_run("memlane-agent --check --config /machine/agent.conf")[1])
        if self.platform is X86:
            self.assertIn("no_probe", page)
        else:
            self.assertNotIn("no_probe", page)
        self.assertNotIn("no_libocxl", page)
        self.assertNotIn("auto_online_policy", page)
        self.machine.run("echo online >/sys/devices/system/memory/auto_online_blocks")
        self.addCleanup(self.machine.run, "echo offline >/sys/devices/system/memory/auto_online_blocks")
        self.assertIn("auto_online_policy", self.machine.try_run("memlane-agent --check --config /machine/agent.conf")[1])

    def test_a_window_over_the_machines_own_memory_is_refused(self):
        wrong = ("mkdir -p /run/w; sed -e 's/^window_addr=.*/window_addr=0x10000000/' -e 's/^window_bytes=.*/window_bytes=0x10000000/' "
                 "-e 's,^run_dir=.*,run_dir=/run/w\\nstate_dir=/run/w,' /machine/agent.conf >/run/w/agent.conf; ")
        code, said = self.machine.try_run(f"{wrong} memlane-agent --config /run/w/agent.conf")
        self.assertEqual(code, 1, said)
        self.assertIn("the window of afu0 covers this server's own memory", said)
        if self.block <= 256 * MIB:  # else it is within a block
            self.assertIn("window_not_movable", self.machine.try_run("memlane-agent --check --config /run/w/agent.conf")[1])

    def test_zz_a_reboot_with_borrowed_memory_loses_it_and_is_cleaned_up(self):
        a = self.attach()
        self.machine.reboot()
        lost = eventually("it is lost", lambda: (x := self.rack.attachment(a["id"]))["state"] == "lost" and x, 60 * SLOW)
        self.assertIn("boot", lost["reason"])
        eventually("nobody holds anything", lambda: self.rack.attachment(a["id"])["holds"] == [], 60 * SLOW)
        eventually("the donor lends nothing", lambda: self.rack.node("d")["lent_bytes"] == 0, 30 * SLOW)
        self.rig.wait_ready()
        again = self.attach()
        self.assertEqual(again["blocks_online"], 1)
        self.rack.detach(again["id"])


class OnPseries(Borrowing, unittest.TestCase):
    platform = PSERIES
    tools = ("hold", "test_lender_arena", "test_lenderclient")

    def test_the_lenders_own_tests_pass_on_this_kernel(self):
        """Those that reserve arenas of a TiB, and start lenders, which qemu-user cannot."""
        for program in ("test_lender_arena", "test_lenderclient"):
            # A lender that a failed test leaves behind must not keep this connection open.
            self.machine.run(f"ulimit -l unlimited; CK_TIMEOUT_MULTIPLIER=4 {program} </dev/null >/run/{program}.log 2>&1 || "
                             f"{{ cat /run/{program}.log; false; }}", 120 * SLOW)
        self.assertIn("huge pages: lent", self.machine.read("/run/test_lender_arena.log"))

    def test_probe_refuses_what_the_emulated_kernel_refuses(self):
        a = self.attach()
        for address, why in ((int(a["physical_addr"], 16), "File exists"), (self.platform.window_addr + 65536, "Invalid argument")):
            self.assertIn(why, self.machine.try_run(f"echo {address:#x} >/sys/devices/system/memory/probe")[1])
        self.rack.detach(a["id"])


class OnPowernv(Borrowing, unittest.TestCase):
    platform = POWERNV
    seeds = 200
    # The same kernel as on pseries decides these.
    test_every_auto_online_policy_ends_in_zone_movable = test_a_window_over_the_machines_own_memory_is_refused = None


class OnX86(Borrowing, unittest.TestCase):
    platform = X86
    seeds = 100


class Bench(unittest.TestCase):
    """Onlining and offlining 4 GiB in blocks of 128 MiB, by the agent's code and by a shell loop, in the same machine."""

    def test_the_agents_code_takes_at_most_1_2_times_a_shell_loop(self):
        with tempfile.TemporaryDirectory(prefix="ml-vm-", dir="/tmp") as folder:
            tools = {"usr/bin/hotplug-bench": TOOLS["amd64"] / "hotplug-bench"}
            words, *rest = machines.q35(1024 * MIB)
            # The machine's clock counts its instructions: what else this machine does is not in the figures.
            platform = [*words, "-icount", "shift=1,sleep=off"], *rest
            with machines.Machine("b", "amd64", platform, folder, 1, 2, extra=tools) as machine:
                machine.wait_up(60 * SLOW)
                machine.qmp("object-add", {"qom-type": "memory-backend-ram", "id": "big", "size": 4096 * MIB})
                machine.qmp("device_add", {"driver": "pc-dimm", "id": "dimm", "memdev": "big", "node": 1})
                eventually("the blocks are there", lambda: machine.try_run("[ -e /sys/devices/system/memory/memory63 ]")[0] == 0, 30 * SLOW)
                text = machine.run("hotplug-bench 0x100000000 0x100000000 3", 300 * SLOW)
        print(f"\n{text}")
        self.assertLessEqual(float(re.search(r"ratio ([\d.]+)", text).group(1)), 1.2)


if __name__ == "__main__":
    unittest.main()
