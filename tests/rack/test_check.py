"""memlane-agent --check: a page for a person, JSON for a program, beside a running agent or without one.  What goes wrong on a node is
said.  And `memlane check`, which says of a rack what is not as it must be."""
import json
import os
import signal
import subprocess
import tempfile
import unittest

from harness import BUILD, Rack, eventually

AGENT = str(BUILD / "bin" / "memlane-agent")


def check(*options):
    done = subprocess.run([AGENT, "--check", *options], capture_output=True, text=True, timeout=30)
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout


class Check(unittest.TestCase):
    def test_an_emulated_node_is_well_and_marked(self):
        with Rack("pair") as rack:
            before = (rack.dir / "trace.jsonl").read_text().count('"write"')
            config = str(rack.dir / "nodes" / "a" / "agent.conf")
            code, text = check("--config", config)
            self.assertEqual(code, 0, text)
            for words in "platform emulated", "is running", "answers", "blocks of 256 MiB", "adapter       afu0: borrows memory", \
                    "ok: nothing is wrong":
                self.assertIn(words, text)
            code, text = check("--config", config, "-o", "json")
            page = json.loads(text)
            self.assertTrue(page["ok"] and page["agent_running"])
            self.assertEqual([f["code"] for f in page["findings"]], ["emulated"])
            told = rack.node("a")["findings"]
            self.assertEqual([f["code"] for f in told], ["emulated"])
            self.assertEqual((rack.dir / "trace.jsonl").read_text().count('"write"'), before)

    def test_a_bad_policy_is_a_warning(self):
        with Rack("pair") as rack:
            policy = rack.dir / "nodes" / "a" / "sys" / "devices" / "system" / "memory" / "auto_online_blocks"
            policy.write_text("online\n")
            code, text = check("--config", str(rack.dir / "nodes" / "a" / "agent.conf"))
            self.assertEqual(code, 0)
            self.assertIn("warning  auto_online_policy", text)
            self.assertIn("1 warning", text)

    def test_an_ordinary_machine_gets_a_page_too(self):
        with tempfile.TemporaryDirectory() as home:
            options = ["--state-dir", home, "--run-dir", home, "--url", "http://127.0.0.1:1"]
            code, text = check(*options)
            self.assertEqual(code, 1)
            for words in "platform linux", "is not running", "does not answer", "kernel        " + os.uname().release, "not_enrolled", \
                    "no_adapter":
                self.assertIn(words, text)
            self.assertNotIn("Traceback", text)


class Odd(unittest.TestCase):
    """What goes wrong on a node is said in the API, with what to do, and ends when it is over."""

    def findings(self, rack, node):
        return {f["code"]: f for f in rack.node(node)["findings"] if f["severity"] == "error"}

    def test_an_adapter_that_fails_and_one_that_is_well_again(self):
        with Rack("pair", check_trace=False) as rack:
            rack.ctl("adapter", "a/afu0", "error")
            found = eventually("said", lambda: self.findings(rack, "a").get("adapter_failed"), 30)
            self.assertIn("afu0", found["detail"])
            self.assertTrue(found["advice"])
            with self.assertRaises(Exception) as refused:
                rack.attach("a", 1 << 30)
            self.assertIn("409", str(refused.exception))
            rack.ctl("adapter", "a/afu0", "ok")
            eventually("well again", lambda: not self.findings(rack, "a"), 30)
            rack.detach(rack.attach("a", 1 << 30)["id"])

    def test_a_switch_that_is_gone(self):
        with Rack("star8", check_trace=False) as rack:
            name = rack.plan["switches"][0]["name"]
            manager = rack.plan["switches"][0]["managed_by"]
            socket = rack.dir / "switches" / f"{name}.sock"
            socket.rename(f"{socket}.away")
            pid = rack.kill(f"agent-{manager}")  # it has no connection any more
            self.assertTrue(pid)
            found = eventually("said", lambda: self.findings(rack, manager).get("switch_unreachable"), 40)
            self.assertIn(name, found["detail"])
            socket.with_name(f"{name}.sock.away").rename(socket)
            eventually("well again", lambda: not self.findings(rack, manager), 40)
            rack.detach(rack.attach("n1", 1 << 30)["id"])


class Travels(unittest.TestCase):
    """`memlane check`: what is attached is so only as long as bytes travel."""

    def item(self, name):
        return next(i for i in self.rack.api.call("GET", "/v1/check")["items"] if i["name"] == name)

    def expect(self, result, part, seconds=30):
        found = eventually(result, lambda: (i := self.item("attached_is_seen"))["result"] == result and part in i["detail"] and i, seconds)
        self.assertEqual(found["objects"], [f"attachment/{self.a['id']}"])

    def well_again(self):
        eventually("all is well again", self.rack.check, 30)
        self.rack.check_command()

    def test_a_way_that_does_not_carry_bytes(self):
        with Rack("star8") as self.rack:
            self.a = self.rack.attach("n1", 1 << 30)
            self.well_again()
            path = self.a["path"][0]
            memory = path[-1].rsplit("/", 1)[0]
            for ends in (path[:2], path[-2:]):
                port = next(p for p in ends if p.count("/") == 1)
                self.rack.ctl("link", *ends, "down")
                self.expect("violated", f"port {port} has no signal")
                with self.assertRaises(AssertionError):
                    self.rack.check_command()
                self.rack.ctl("link", *ends, "up")
                self.well_again()
            self.rack.ctl("adapter", memory, "error")
            self.expect("violated", f"adapter {memory}: ")
            self.rack.ctl("adapter", memory, "ok")
            self.well_again()
            manager = self.rack.pid("agent-" + self.rack.plan["switches"][0]["managed_by"])
            os.kill(manager, signal.SIGSTOP)
            try:
                self.expect("unknown", "are not reported", 60)
                self.rack.check_command()  # nobody knows better
            finally:
                os.kill(manager, signal.SIGCONT)
            self.well_again()
            self.rack.detach(self.a["id"])
            self.rack.assert_clean()


if __name__ == "__main__":
    unittest.main()
