"""Agents register by themselves, with nothing but the orchestrator's URL and a join token."""
import json
import pathlib
import subprocess
import tempfile
import time
import unittest

from harness import BUILD, GIB, REPO, Rack, eventually


class Mistakes(unittest.TestCase):
    def test_a_rack_file_with_a_mistake_is_refused_at_once(self):
        plan = json.loads((REPO / "deploy/racks/pair.json").read_text())
        plan["nodes"][1]["foo"] = 1
        with tempfile.TemporaryDirectory(prefix="ml-", dir="/tmp") as folder:
            file = pathlib.Path(folder, "mistake.json")
            file.write_text(json.dumps(plan, indent=1))
            line = 1 + next(i for i, text in enumerate(file.read_text().splitlines()) if '"foo"' in text)
            done = subprocess.run([REPO / "deploy/rack", "up", "--build", BUILD, "--rack", file, "--dir", f"{folder}/rack", "--port", "0"],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (1, f"error: {file}: line {line}: nodes[1].foo is not a known field\n"))
            self.assertFalse(pathlib.Path(folder, "rack").exists())


class Silence(unittest.TestCase):
    def test_a_detach_says_whose_report_it_waits_for(self):
        with Rack("pair", ["--time-scale", "0.2"]) as rack:
            made = rack.attach("a", GIB)
            rack.supervisor("stop agent-a")
            rack.api.call("DELETE", f"/v1/attachments/{made['id']}")
            eventually("a reason", lambda: rack.attachment(made["id"])["reason"] == "waits for a, which does not report", 20)
            rack.supervisor("start agent-a")
            ended = rack.settled(made["id"])
            self.assertEqual((ended["state"], ended["reason"]), ("detached", None))


class Registration(unittest.TestCase):
    def test_adapters_ports_and_memory_are_there_a_second_after_the_start(self):
        with Rack("star8") as rack:
            rack.supervisor("stop agent-n3")
            self.forget_credential(rack, "n3")
            began = time.monotonic()
            rack.supervisor("start agent-n3")
            planned = next(n for n in rack.plan["nodes"] if n["name"] == "n3")
            eventually("n3 is ready again", lambda: rack.node("n3")["state"] == "ready", 15)
            node = rack.node("n3")
            self.assertLess(time.monotonic() - began, 3 * 1.0)
            self.assertEqual(node["memory_bytes"], planned["memory_bytes"])
            self.assertEqual(node["block_bytes"], planned["block_bytes"])
            self.assertEqual(node["labels"], planned["labels"])
            self.assertEqual([(a["name"], a["role"], len(a["ports"])) for a in node["adapters"]],
                             [("afu0", "compute", 2), ("afu1", "memory", 2)])
            self.assertEqual(node["adapters"][0]["ports"][0]["link_peer"], "ocs1/9")

    @staticmethod
    def forget_credential(rack, name):
        """What a re-installed machine does: it comes with the join token alone, its old credential having been revoked."""
        for token in rack.api.items("/v1/tokens"):
            if token["role"] == "agent" and token["name"] == name:
                rack.api.call("DELETE", f"/v1/tokens/{token['id']}")
        for file in (rack.dir / "nodes" / name / "state").iterdir():
            file.unlink()

    def test_an_agent_that_boots_first_waits_and_then_registers(self):
        with Rack("pair", ["--log-level", "debug"]) as rack:
            rack.supervisor("stop memlaned")
            rack.supervisor("stop agent-a")
            log = rack.dir / "log" / "agent-a.log"
            begin = log.stat().st_size
            rack.supervisor("start agent-a")
            pid = eventually("it runs", lambda: rack.pid("agent-a"))
            eventually("it waits", lambda: log.read_bytes()[begin:].count(b"session.waiting") >= 5)
            self.assertEqual(rack.pid("agent-a"), pid, "the agent gave up")
            rack.supervisor("start memlaned")
            eventually("both are ready", lambda: all(rack.node(n)["state"] == "ready" for n in "ab"), 15)
            self.assertEqual(rack.pid("agent-a"), pid)
            rack.detach(rack.attach("a", 1)["id"])
            rack.assert_clean()

    def test_nothing_listens_on_a_node(self):
        with Rack("pair") as rack:
            inodes = set()
            for name in ("tcp", "tcp6"):
                for line in pathlib.Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                    fields = line.split()
                    if fields[3] == "0A":
                        inodes.add(f"socket:[{fields[9]}]")
            for node in "ab":
                base = pathlib.Path(f"/proc/{rack.pid(f'agent-{node}')}/fd")
                held = {str(fd.readlink()) for fd in base.iterdir()}
                self.assertEqual(held & inodes, set())


if __name__ == "__main__":
    unittest.main()
