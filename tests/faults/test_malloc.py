"""F12: the n-th allocation in memlaned fails, whoever of it and its libraries asks; then, all of them from the n-th on.

The answer is the truth (done, or 503), or the connection is closed, or the process ends by itself, to be started again: it never dies
of a signal and never says of something that it was done when it was not."""
import errno
import http.client
import sys
import time
import unittest

from shimmed import GIB, MALLOC, FakeAgent, Shimmed

from faultrack import MODE, dice, record
from test_state_disk import Operations, eventually

ALLOCATIONS_MAX = 400


class MoreOperations(Operations):
    def __init__(self, server):
        super().__init__(server)
        self.all = ("token_create", "sign_in", "attach", "detach", "place", "cordon", "topology", "register", "observed", "desired",
                    "events", "labels", "fence")
        self.silent = []

    def fence(self):
        """A node that reported once and was never heard again; a few dozen are made at once, since silence takes its time."""
        if not self.silent:
            self.silent = [FakeAgent(self.server, self.next(), self.join) for _ in range(60)]
            for agent in self.silent:
                assert agent.register().status == 200 and agent.report().status == 204
                agent.reports.close()
        agent = self.silent[-1]

        def fenced():
            if self.admin.get(f"/v1/nodes/{agent.name}").json["state"] != "fenced":
                return False
            if agent in self.silent:
                self.silent.remove(agent)
            return True
        eventually("it is silent", lambda: self.admin.get(f"/v1/nodes/{agent.name}").json["state"] == "unreachable")
        return lambda: self.admin.post(f"/v1/nodes/{agent.name}/fence", {"boot_id": agent.boot_id}), fenced

    def place(self):
        got = {}

        def do():
            answer = self.admin.post("/v1/placements", {"compute_node": "n1", "size_bytes": GIB})
            got["whole"] = answer.status == 200 and "candidates" in answer.json
            return answer
        return do, lambda: got["whole"]

    def observed(self):
        agent = self.agents["n2"]
        return agent.report, lambda: self.admin.get("/v1/nodes/n2").json["state"] == "ready"

    def desired(self):
        agent, got = self.agents["n2"], {}

        def do():
            answer = agent.poll(wait=0, after="0.0")
            got["whole"] = answer.status == 200 and {"buffers", "segments", "sections", "channels"} <= set(answer.json)
            return answer
        return do, lambda: got["whole"]

    def events(self):
        got = {}

        def do():
            answer = self.admin.get("/v1/events?limit=5")
            got["whole"] = answer.status == 200 and len(answer.json["items"]) == 5
            return answer
        return do, lambda: got["whole"]


class FailingMemory(unittest.TestCase):
    def once(self, ops, name, nth, more):
        """Whether an allocation was made to fail."""
        server, status = ops.server, 0
        do, done = getattr(ops, name)()
        server.control.arm(MALLOC, nth, errno.ENOMEM, more)
        try:
            status = do().status
        except (OSError, http.client.HTTPException):
            pass  # closed
        failed = server.control.failed
        server.control.off()
        where = f"{name}, allocation {nth}{' and after' if more else ''} failed, answered {status}"
        if not status:
            self.wait_for_end(server)
        if server.process.poll() is not None:
            self.assertGreaterEqual(server.process.returncode, 0, where)
            server.log.close()
            server.start()
            ops.again()
        if 200 <= status < 300:
            self.assertTrue(done(), where)
        elif status == 409 and failed:  # the first answer was lost with its connection, and the client asked again
            self.assertTrue(done(), where)
        elif failed:
            self.assertIn(status, (0, 503), where)
        else:
            self.fail(where)
        return failed

    @staticmethod
    def wait_for_end(server):
        """The connection is closed before a process that ends has ended: it is alive when it answers."""
        client = server.client()
        try:
            eventually("an answer or an end", lambda: server.process.poll() is not None or client.get("/v1/status").status == 200)
        finally:
            client.close()

    def test_every_operation(self):
        began, cases, random = time.monotonic(), 0, dice("F12")
        stride = {"tenth": 48, "ci": 16, "long": 1}[MODE]
        server = Shimmed(heartbeat_ms=60000)
        try:
            ops = MoreOperations(server)
            for name in ops.all:
                for more in (0, 1 << 30):
                    nth = random.randint(1, stride)
                    while self.once(ops, name, nth, more):
                        cases += 1
                        nth += stride
                        if nth > ALLOCATIONS_MAX:
                            break
            self.assertGreater(cases, 12 * 3)
            print(f"F12: {cases} allocations made to fail", file=sys.stderr)
        finally:
            server.remove()
        record("F12", cases, began)


if __name__ == "__main__":
    unittest.main()
