"""The `memlane` command against a whole rack: what people see, what programs read, and the exit codes."""
import contextlib
import csv
import io
import json
import os
import pathlib
import pty
import re
import signal
import socket
import subprocess
import time
import unittest

from harness import BUILD, GIB, Rack, eventually
from test_lender import lender_pid

ESCAPES = "\x1b["
ENDED_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class OnARack(unittest.TestCase):
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.rack = cls.enterClassContext(Rack("pair", cls.options))

    def tearDown(self):
        for a in self.rack.live():
            self.rack.detach(a["id"])

    def environment(self, **more):
        return {**os.environ, "MEMLANE_URL": self.rack.env["MEMLANE_URL"], "MEMLANE_TOKEN": self.rack.env["MEMLANE_TOKEN"], **more}

    def run_it(self, *words, code=0, typed="", **more):
        done = subprocess.run([BUILD / "bin" / "memlane", *words], input=typed, capture_output=True, text=True, timeout=120,
                              env=self.environment(**more))
        self.assertEqual(done.returncode, code, f"memlane {' '.join(words)}: {done.stdout}{done.stderr}")
        return done

    def json_of(self, *words):
        return json.loads(self.run_it(*words, "-o", "json").stdout)


class Commands(OnARack):
    def test_attach_shows_its_steps_and_detach_takes_a_prefix(self):
        done = self.run_it("attach", "a", "1GiB")
        self.assertRegex(done.stdout, r"^attached  \w+  1 GiB for a from b")
        steps = re.findall(r"ms  (\w+)", done.stderr)
        self.assertEqual([s for s in steps if s in ("lend", "connect", "map", "online", "attached")],
                         ["lend", "connect", "map", "online", "attached"])
        [a] = self.json_of("attachment", "list")["items"]
        self.assertIn("attached", self.run_it("status", a["id"][:5]).stdout)
        self.assertRegex(self.run_it("detach", a["id"][:5]).stdout, "^detached")
        self.run_it("detach", a["id"])  # already: no error

    def test_detach_of_what_is_lost_does_not_wait_and_says_what_frees_it(self):
        a = self.rack.attach("a", GIB)
        os.kill(eventually("a lender", lambda: lender_pid(self.rack, "b")), signal.SIGKILL)
        eventually("it is lost", lambda: self.rack.attachment(a["id"])["state"] == "lost", 30)
        done = self.run_it("detach", a["id"], "--timeout", "100", code=1)  # a timeout would be exit code 7
        self.assertRegex(done.stdout, "^lost")
        self.assertRegex(done.stderr, "when a has rebooted, .*`memlane node fence a`")
        told = self.run_it("node", "list").stdout  # on both nodes' own lines, as long as it is so
        self.assertRegex(told, r"\na .* 1 GiB that it borrowed from b is lost: .*\nb .* 1 GiB that it lent to a is lost: ")
        for switch in ("off", "on"):
            self.rack.ctl("power", "a", switch)
        eventually("the reboot freed it", lambda: not self.rack.attachment(a["id"])["holds"], 30)
        self.assertNotIn("is lost", self.run_it("node", "list").stdout)
        self.assertRegex(self.run_it("detach", a["id"]).stdout, "^lost")  # nothing to do: no error
        self.assertIn(a["id"], [x["id"] for x in self.json_of("attachment", "list")["items"]])  # it does not simply vanish

    def test_what_a_failed_attach_takes_back_is_shown_as_that(self):
        [adapter] = [x for x in self.rack.node("a")["adapters"] if x["role"] == "compute"]
        first = int(adapter["window_addr"], 16)
        blocks = [(first + (section << 40)) // self.rack.node("a")["block_bytes"] for section in range(adapter["window_bytes"] >> 40)]
        for block in blocks:
            self.rack.ctl("block", "a", block, "enomem")
        try:
            done = self.run_it("attach", "a", "1GiB", code=1)
        finally:
            for block in blocks:
                self.rack.ctl("block", "a", block, "ok")
        self.assertEqual(re.findall(r"ms  ((?:undo )?(?:lend|connect|map|online))", done.stderr),
                         ["lend", "connect", "map", "online", "undo online", "undo map", "undo connect", "undo lend"])
        self.assertRegex(done.stdout, "^failed")
        ended = self.json_of("attachment", "list", "--state", "failed")["items"][0]
        shown = self.run_it("attachment", "show", ended["id"]).stdout
        self.assertRegex(shown, r"steps +lend undone, connect undone, map undone, online undone\n")
        self.assertIn(" undo map\n", shown)
        last = [e for e in self.json_of("event", "list", "--limit", "1000")["items"] if e["type"] == "circuit.state"][-1]
        self.assertEqual((last["from"], last["to"]), ("closing", "closed"))

    def test_a_node_that_reports_is_not_forgotten(self):
        self.assertIn("stop its agent", self.run_it("node", "forget", "b", code=4).stderr)

    def test_no_wait_answers_at_once_and_a_timeout_says_how_to_go_on(self):
        first = self.run_it("attach", "a", "1", "--no-wait").stdout.strip()
        eventually("it is attached", lambda: self.rack.attachment(first)["state"] == "attached")
        late = self.run_it("attach", "a", "1GiB", "--timeout", "0", code=7)
        self.assertRegex(late.stderr, r"it goes on: memlane attachment show \w+")

    @staticmethod
    def catches(pid, number):
        mask = re.search(r"^SigCgt:\s+(\w+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1]
        return int(mask, 16) >> (number - 1) & 1

    def test_an_interrupt_leaves_the_request_running(self):
        self.rack.supervisor("stop agent-b")
        try:
            eventually("b is there for placement still", lambda: self.rack.node("b")["state"] == "ready")
            child = subprocess.Popen([BUILD / "bin" / "memlane", "attach", "a", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     text=True, env=self.environment())
            eventually("it is under way", self.rack.live)
            eventually("it has its handler", lambda: self.catches(child.pid, signal.SIGINT))
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=30)
            self.assertEqual(child.returncode, 7, err)
            self.assertRegex(err, r"interrupted; it goes on: memlane attachment show \w+")
        finally:
            self.rack.supervisor("start agent-b")
        eventually("it is attached after all", lambda: self.rack.live()[0]["state"] == "attached", 20)

    def test_an_attach_goes_on_while_its_orchestrator_is_restarted(self):
        self.rack.supervisor("stop agent-b")  # it does not lend yet
        port = self.rack.port
        child = subprocess.Popen([BUILD / "bin" / "memlane", "attach", "a", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, env=self.environment())
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        eventually("it is under way", self.rack.live)
        eventually("it watches", lambda: self.catches(child.pid, signal.SIGINT))
        self.rack.supervisor("stop memlaned")
        with socket.create_server(("127.0.0.1", port)) as nobody:
            nobody.settimeout(20)
            watched = 0
            while watched < 3 and child.poll() is None:  # it looks again and again; agents come by, too
                with nobody.accept()[0] as s:
                    if b"/v1/events" in s.recv(4096):
                        watched += 1
                        s.sendall(ENDED_STREAM if watched == 1 else b"")
        self.rack.supervisor("start memlaned")
        self.rack.supervisor("start agent-b")
        out, err = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 0, err)
        self.assertRegex(out, "^attached")

    def test_a_cable_is_taken_out_of_use_and_back_by_one_of_its_ports(self):
        a = self.rack.attach("a", GIB)
        [circuit] = self.json_of("circuit", "list")["items"]
        port, peer = circuit["path"][0]
        self.assertIn(f"{port} > {peer}", self.run_it("circuit", "show", circuit["id"]).stdout)
        done = self.run_it("link", "down", peer)
        self.assertIn(f"1 GiB of a over it (circuit {circuit['id']}) stays, in danger", done.stdout)
        try:
            link = self.json_of("link", "show", port, peer)
            self.assertEqual((link["down"], link["state"], link["in_danger"]), (True, "down", True))
            self.assertRegex(self.run_it("link", "list").stdout, r"down \(operator\) .* in danger")
            self.assertRegex(self.run_it("circuit", "list").stdout, r"\n" + circuit["id"] + r" .* yes\n")
            self.assertIn(f"{port} - {peer} is down", self.run_it("status", circuit["id"]).stdout)
            self.assertEqual(self.rack.attachment(a["id"])["state"], "attached")  # nothing of it is touched
        finally:
            self.assertIn("in use again", self.run_it("link", "up", port, peer).stdout)
        self.assertFalse(self.json_of("link", "show", port)["down"])
        self.assertEqual({x["a"].split("/")[0] for x in self.json_of("link", "list", "--node", "a")["items"]} | {"a"}, {"a", "b"})
        self.assertEqual(self.json_of("link", "list", "--node", "ocs1")["items"], [])

    def test_a_node_keeps_what_it_is_told_to_keep_and_its_labels(self):
        before = self.rack.node("b")
        self.assertIn("head-room 4 GiB", self.run_it("node", "set", "b", "--headroom", "4GiB", "--label", "feed=x=y").stdout)
        now = self.json_of("node", "show", "b")
        self.assertEqual((now["headroom_bytes"], now["labels"]["feed"]), (4 * GIB, "x=y"))
        self.assertEqual(before["lendable_bytes"] - now["lendable_bytes"], 4 * GIB)
        self.rack.supervisor("restart agent-b")
        eventually("it is back", lambda: self.rack.node("b")["boot_id"] and self.rack.node("b")["state"] == "ready")
        was = before["labels"].get("feed")
        back = ["--label", f"feed={was}"] if was else ["--unlabel", "feed"]
        now = self.json_of("node", "set", "b", "--headroom", "0", *back)
        self.assertEqual((now["headroom_bytes"], now["labels"]), (0, before["labels"]))

    def test_who_this_is_and_a_code_for_a_browser(self):
        self.assertRegex(self.run_it("session", "show").stdout, r"^admin \(admin\)")
        code = self.run_it("session", "code").stdout.strip()
        self.assertEqual(self.rack.api.call("POST", "/v1/sessions", {"code": code})["role"], "admin")

    def test_retry_and_cancel_wait_as_attach_does(self):
        a = self.rack.attach("a", GIB)
        block = int(self.rack.attachment(a["id"])["physical_addr"], 16) // self.rack.node("a")["block_bytes"]
        self.rack.ctl("block", "a", str(block), "ebusy")
        try:
            self.assertRegex(self.run_it("detach", a["id"], code=1).stdout, "^stuck")
            self.assertRegex(self.run_it("attachment", "retry", a["id"], code=1).stdout, "^stuck")  # it waited for this end
            self.assertEqual(self.run_it("attachment", "cancel", a["id"], "--no-wait").stdout.strip(), a["id"])
            eventually("it is kept", lambda: self.rack.attachment(a["id"])["state"] == "attached")
            self.assertRegex(self.run_it("detach", a["id"], code=1).stdout, "^stuck")
            kept = self.run_it("attachment", "cancel", a["id"])
            self.assertRegex(kept.stdout, "^attached")
            self.assertRegex(self.run_it("detach", a["id"], code=1).stdout, "^stuck")
        finally:
            self.rack.ctl("block", "a", str(block), "ok")
        self.assertRegex(self.run_it("attachment", "retry", a["id"]).stdout, "^detached")
        self.run_it("attachment", "retry", a["id"], code=4)

    def test_formats_for_programs(self):
        self.rack.attach("a", GIB)
        rows = list(csv.DictReader(io.StringIO(self.run_it("node", "list", "-o", "csv").stdout)))
        self.assertEqual([(r["name"], r["state"], int(r["memory_bytes"]) > 0) for r in rows], [("a", "ready", True), ("b", "ready", True)])
        lines = self.run_it("attachment", "list", "-o", "jsonl").stdout.splitlines()
        self.assertEqual(json.loads(lines[0])["size_bytes"], GIB)
        full = json.loads(lines[0])["id"]
        self.assertNotIn(full, self.run_it("attachment", "list").stdout)
        self.assertIn(full, self.run_it("attachment", "list", "-o", "wide").stdout)
        self.assertIn("commits", str(self.json_of("check")).lower())
        self.run_it("status", "-o", "xml", code=2)

    def test_events_fold_what_counts_and_speak_in_sizes(self):
        self.rack.attach("a", 32 * GIB)
        every = self.json_of("event", "list", "--limit", "1000")["items"]
        count = [e for e in every if e["type"] in ("attachment.progress", "node.memory")]
        told = self.run_it("event", "list", "--limit", "1000").stdout
        table = re.findall(r"^ *(\d+)  \S+  (\S+) +(\S+)", told, re.M)
        self.assertEqual([(str(e["id"]), e["type"]) for e in every if e not in count],
                         [(i, kind) for i, kind, _ in table if kind not in ("attachment.progress", "node.memory")])
        runs = [(thing, kind) for _, kind, thing in table]  # of one object, no two counts in a row
        for thing in {t for t, _ in runs}:
            kinds = [k for t, k in runs if t == thing]
            self.assertFalse([k for k, after in zip(kinds, kinds[1:]) if k == after and k == "attachment.progress"])
        self.assertNotRegex(told, r"node\.memory .*\d{10}")
        shown = len(self.run_it("event", "list", "--limit", "1000", "--all").stdout.splitlines()) - 1
        self.assertLessEqual(len(every), shown)
        self.assertLessEqual(shown, len(self.json_of("event", "list", "--limit", "1000")["items"]))
        self.assertEqual(len(self.run_it("event", "list", "--limit", "3").stdout.splitlines()), 4)
        self.run_it("event", "list", "--limit", "0", code=2)

    def complete(self, *words, **more):
        return self.run_it("__complete", *words, **more).stdout.split()

    def test_completion_knows_commands_options_and_names(self):
        a = self.rack.attach("a", GIB)
        self.assertIn("attach", self.complete("att"))
        self.assertEqual(self.complete("node", "s"), ["show", "set"])
        self.assertEqual(self.complete("attach", ""), ["a", "b"])
        self.assertEqual(self.complete("attach", "a", ""), [])
        self.assertEqual(self.complete("node", "fence", "a", ""), ["a", "b"])
        self.assertEqual(self.complete("detach", a["id"][:3]), [a["id"]])
        self.assertEqual(self.complete("attach", "--donor", "b"), ["b"])
        self.assertEqual(self.complete("attach", "--policy", "p"), ["packed"])
        self.assertEqual(self.complete("link", "down", "b/afu0/"), ["b/afu0/0", "b/afu0/1"])
        self.assertEqual(len(self.complete("circuit", "show", "")), 1)
        self.assertEqual(self.complete("-o", "js"), ["json", "jsonl"])
        self.assertIn("--anti-affinity", self.complete("place", "--an"))
        began = time.monotonic()
        self.assertEqual(self.complete("attach", "", MEMLANE_URL="http://127.0.0.1:1"), [])
        self.assertLess(time.monotonic() - began, 10)  # a shell is waiting
        self.assertEqual(self.complete("attach", "", MEMLANE_TOKEN="ml_wrong"), [])

    def test_colours_are_for_terminals_that_want_them(self):
        for wanted, more in ((True, {}), (False, {"NO_COLOR": "1"})):
            master, slave = pty.openpty()
            done = subprocess.run([BUILD / "bin" / "memlane", "node", "list"], stdout=slave, timeout=30, env=self.environment(**more))
            os.close(slave)
            text = os.read(master, 65536).decode()
            os.close(master)
            self.assertEqual((done.returncode, ESCAPES in text), (0, wanted), text)
        self.assertNotIn(ESCAPES, self.run_it("node", "list").stdout)

    def test_each_mistake_has_its_exit_code_and_says_what_to_do(self):
        for code, words, said in (
            (2, ("frob",), "no command"), (2, ("node",), "needs one of these"), (2, ("attach", "a"), "needs NODE SIZE"),
            (2, ("attach", "a", "1G", "--frob"), "no option"), (2, ("attach", "a", "0"), "size_bytes"),
            (2, ("attach", "a", "lots"), "is not a size"), (2, ("attach", "a", "9999TiB"), "size_bytes"),
            (1, ("attach", "a", "1G", "--donor", "a"), "a cannot lend to itself"),
            (2, ("attach", "a", "1G", "--wait", "--no-wait"), "contradict"),
            (2, ("node", "set", "a"), "--headroom"), (2, ("node", "set", "a", "--label", "x"), "NAME=VALUE"),
            (2, ("node", "set", "a", "--label", "x="), "--unlabel"), (2, ("node", "set", "a", "--headroom", "8E"), "is not a size"),
            (2, ("node", "set", "a", "--headroom", "9" * 30), "more than 2^63 - 1"),
            (2, ("node", "set", "a", "--label", "ä=x"), "label"), (3, ("node", "set", "zz", "--headroom", "1"), "node list"),
            (3, ("link", "show", "a"), "NODE/ADAPTER/PORT"), (3, ("link", "down", "a/afu0/0", "a/afu0/1"), "link list"),
            (3, ("circuit", "show", "c99"), "no circuit c99"), (2, ("token", "create"), "--role"), (2, ("node", "fence", "a", "x"), "--yes"),
            (3, ("node", "show", "zz"), "node list"), (3, ("attach", "zz", "1G"), "node list"), (3, ("detach", "none"), "begins with"),
            (3, ("status", "nothing"), "begins with"), (1, ("attach", "a", "1TiB"), "insufficient_memory"),
            (1, ("topology", "apply", "/nonexistent"), "No such file")):
            with self.subTest(words=words):
                self.assertIn(said, self.run_it(*words, code=code).stderr)
        self.assertIn("MEMLANE_TOKEN", self.run_it("status", code=6, MEMLANE_TOKEN="wrong").stderr)
        self.assertIn("MEMLANE_URL", self.run_it("status", code=5, MEMLANE_URL="http://127.0.0.1:1").stderr)
        problem = json.loads(self.run_it("node", "show", "zz", "-o", "json", code=3).stderr)
        self.assertEqual(problem["code"], "node_unknown")

    def test_a_preview_says_by_its_exit_code_whether_it_would_fit(self):
        self.run_it("place", "a", "1GiB")
        self.run_it("place", "a", "1TiB", code=1)

    def test_every_command_has_its_help(self):
        listed = re.findall(r"^  ([a-z]+(?: [a-z]+)?)\b", self.run_it("help").stdout.split("common options")[0], re.M)
        self.assertGreater(len(listed), 20)
        for words in listed:
            self.run_it("help", *words.split())


class Fencing(OnARack):
    """`memlane node fence NODE`: the name is typed twice."""
    options = ("--time-scale", "0.2")

    def tearDown(self):
        self.power("on")
        super().tearDown()

    def power(self, switch):
        """Of a: off is told from its silence, on is another boot."""
        if switch == "on" and self.rack.node("a")["state"] != "ready":
            self.rack.ctl("power", "a", "on")
        elif switch == "off":
            self.rack.ctl("power", "a", "off")
        state = {"on": "ready", "off": "unreachable"}[switch]
        return eventually(f"a is {state}", lambda: self.rack.node("a")["state"] == state and self.rack.node("a"), 30)

    def fences(self):
        return [x for x in self.rack.api.items("/v1/audit") if x["action"] == "node.fence"]

    def fenced(self, boot, before):
        """By one more entry in the audit log, of that boot."""
        [entry] = self.fences()[len(before):]
        self.assertEqual((entry["actor"], entry["object"], entry["detail"]), ("token:admin", "node/a", {"boot_id": boot}))
        self.assertTrue(entry["remote"] and entry["request_id"], entry)
        self.assertEqual((self.rack.node("a")["state"], self.rack.node("a")["boot_id"]), ("fenced", boot))

    def typing(self, *words):
        """(the program, its terminal), once it has asked; what it said until then."""
        terminal, its = pty.openpty()
        self.addCleanup(os.close, terminal)
        child = subprocess.Popen([BUILD / "bin" / "memlane", *words], stdin=its, stdout=its, stderr=its, env=self.environment())
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        os.close(its)
        said = ""
        while "again: " not in said:
            said += os.read(terminal, 4096).decode()
        return child, terminal, said

    def test_the_name_is_asked_for_again_and_what_ends_is_shown(self):
        a, before = self.rack.attach("a", GIB), self.fences()
        node = self.power("off")
        for typed in ("", "\n", "b\n", "a b\n", "a\0\n", "A\n", "aa\n", "yes\n", "a" * 100000):
            said = self.run_it("node", "fence", "a", typed=typed, code=2).stderr
            self.assertIn("nothing was done", said)
        self.assertEqual((self.fences(), self.rack.node("a")["state"]), (before, "unreachable"))
        for said in ("unreachable", node["boot_id"], "last heard 20", "1 GiB", a["id"], "OFF"):
            self.assertIn(said, self.run_it("node", "fence", "a", code=2).stderr)
        self.assertRegex(self.run_it("node", "fence", "a", typed="a\n").stdout, "^a is fenced$")
        self.fenced(node["boot_id"], before)
        eventually("its donor has it back", lambda: not self.rack.attachment(a["id"])["holds"], 30)

    def test_a_terminal_is_asked_and_a_reboot_meanwhile_makes_it_void(self):
        before, node = self.fences(), self.power("off")
        child, terminal, said = self.typing("node", "fence", "a")
        self.assertIn(node["boot_id"], said)
        os.write(terminal, b"\x04")  # end of file
        self.assertEqual(child.wait(30), 2)
        child, terminal, _ = self.typing("node", "fence", "a")
        os.write(terminal, b"a\n")
        self.assertEqual(child.wait(30), 0)
        self.fenced(node["boot_id"], before)
        self.power("on")
        node, before = self.power("off"), self.fences()
        child, terminal, _ = self.typing("node", "fence", "a")
        self.assertNotEqual(self.power("on")["boot_id"], node["boot_id"])
        os.write(terminal, b"a\n")
        self.assertEqual(child.wait(30), 4)
        said = ""
        with contextlib.suppress(OSError):  # EIO: all was read
            while more := os.read(terminal, 65536).decode():
                said += more
        self.assertIn(f"not {node['boot_id']}", said)
        self.assertEqual((self.fences(), self.rack.node("a")["state"]), (before, "ready"))

    def test_scripts_give_the_name_twice_or_the_boot_or_say_yes(self):
        self.assertIn("it is not off", self.run_it("node", "fence", "a", "a", code=4).stderr)  # the server's word
        for words in (["a", "a"], ["a", "--yes"], ["a", "a", "--yes"], ["a", "BOOT", "--yes"]):
            with self.subTest(words=words):
                node, before = self.power("off"), self.fences()
                words = [node["boot_id"] if word == "BOOT" else word for word in words]
                answer = self.json_of("node", "fence", *words)
                self.assertEqual((answer["state"], answer["boot_id"]), ("fenced", node["boot_id"]))
                self.fenced(node["boot_id"], before)
                self.power("on")
        before = self.fences()
        self.assertIn("--yes", self.run_it("node", "fence", "a", self.rack.node("a")["boot_id"], typed="a\n", code=2).stderr)
        self.assertIn("not another", self.run_it("node", "fence", "a", "another", "--yes", code=4).stderr)
        problem = self.run_it("node", "fence", "a", "a", "-o", "json", code=4).stderr
        self.assertEqual(json.loads(problem)["code"], "conflict")
        self.run_it("node", "fence", "zz", "zz", code=3)
        self.assertEqual(self.fences(), before)


if __name__ == "__main__":
    unittest.main()
