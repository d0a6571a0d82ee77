"""The rack that the tests of the API share: a memlaned, two fake nodes, one cabled to borrow from the other."""
import os
import subprocess
import time
import unittest

from fake_agent import GIB, FakeAgent
from memlaned import BUILD, Memlaned

LINKS = [{"a": "n1/afu0/0", "b": "n2/afu1/0", "latency_ns": 20, "gbps": 100},
         {"a": "n1/afu0/1", "b": "n2/afu1/1", "latency_ns": 20, "gbps": 100}]
CABLING = {"switches": [], "links": LINKS}


def memlane(server, *words, token=None):
    env = {**os.environ, "MEMLANE_URL": f"http://127.0.0.1:{server.port}", "MEMLANE_TOKEN": token or server.admin_token}
    done = subprocess.run([str(BUILD / "bin/memlane"), *words], env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


class Rack(unittest.TestCase):
    """A memlaned, two fake nodes, one cabled to borrow from the other."""
    agents = True
    agent = FakeAgent
    heartbeat_ms = 200
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Memlaned(heartbeat_ms=cls.heartbeat_ms, **cls.options)
        cls.admin = cls.server.client()
        cls.join = cls.admin.post("/v1/tokens", {"role": "join", "name": "join"}).json["token"]
        cls.nodes = {}
        if cls.agents:
            for name in ("n1", "n2"):
                cls.nodes[name] = cls.agent(cls.server, name, cls.join)
                assert cls.nodes[name].register().status == 200
                cls.nodes[name].run()
            etag = cls.admin.get("/v1/topology").headers["ETag"]
            answer = cls.admin.put("/v1/topology", CABLING, headers={"If-Match": etag})
            assert answer.status == 200, answer.json
            cls.wait_for(lambda: cls.admin.get("/v1/status").json["nodes"].get("ready") == 2)

    @classmethod
    def tearDownClass(cls):
        for agent in cls.nodes.values():
            agent.stop()
        cls.admin.close()
        code = cls.server.stop()
        log = (cls.server.dir / "log").read_text()
        cls.server.remove()
        assert code == 0, log[-2000:]
        assert "ml_" not in log and cls.join not in log, "a secret is in the log"

    @staticmethod
    def wait_for(condition, seconds=10):
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            if time.monotonic() > deadline:
                raise AssertionError("it did not happen in time")
            time.sleep(0.02)
        return result

    def refused(self, answer, status, code):
        self.assertEqual((answer.status, answer.code), (status, code), answer.json)
        self.assertEqual(answer.json["instance"], answer.headers["X-Request-Id"])
        return answer.json

    def attach(self, size=GIB, **more):
        answer = self.admin.post("/v1/attachments?wait=20", {"compute_node": "n1", "size_bytes": size, **more})
        self.assertEqual(answer.status, 201, answer.json)
        self.assertEqual(answer.json["state"], "attached", answer.json)
        return answer.json

    def detach(self, id):
        answer = self.admin.delete(f"/v1/attachments/{id}?wait=20")
        self.assertEqual((answer.status, answer.json["state"]), (200, "detached"), answer.json)
        return answer.json
