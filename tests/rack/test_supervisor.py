"""deploy/supervisor.py: what it keeps alive is started again, whatever it ended by."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from harness import REPO, eventually


class Supervisor(unittest.TestCase):
    def test_what_could_not_be_started_is_tried_again(self):
        """Without any other event that would wake the supervisor: no child that ends, as when no process can be made at all."""
        rack = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="ml-")))
        in_the_way = rack / "log" / "program.log"
        in_the_way.mkdir(parents=True)
        (rack / "processes.json").write_text(json.dumps([{"name": "program", "argv": ["sh", "-c", "echo runs; exec sleep 60"]}]))
        with open(rack / "log" / "supervisor.log", "a") as log:
            supervisor = subprocess.Popen([sys.executable, "-B", str(REPO / "deploy" / "supervisor.py"), str(rack)], stdout=log,
                                          stderr=log)
        self.addCleanup(supervisor.wait)
        self.addCleanup(supervisor.terminate)
        eventually("it is tried", lambda: "program: cannot start: " in (rack / "log" / "supervisor.log").read_text())
        in_the_way.rmdir()
        eventually("it runs", lambda: in_the_way.is_file() and in_the_way.read_text() == "runs\n")


if __name__ == "__main__":
    unittest.main()
