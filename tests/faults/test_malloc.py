"""F12: allocations in memlaned fail, whoever of it and its libraries asks: on every way that an operation takes to one (each call
stack once: an operation has thousands of allocations, and most come the same way as one before), and all of them from the n-th on.
By the long counts, also every n-th alone.

The answer is the truth (done, or 503), or the connection is closed, or the process ends by itself, to be started again: it never dies
of a signal and never says of something that it was done when it was not.  UBSan, which the preset has, reports nothing."""
import errno
import http.client
import sys
import time
import unittest

from shimmed import GIB, MALLOC, WAYS, FakeAgent, Shimmed

from faultrack import MODE, dice, record
from test_state_disk import Operations, eventually

FENCE_SCALE = 0.02  # of time, where silence has to last: each allocation that fails before a batch is written excuses it


class MoreOperations(Operations):
    def __init__(self, server):
        super().__init__(server)
        self.all = ("register", "attach", "token_create", "sign_in", "detach", "place", "cordon", "topology", "observed", "desired",
                    "events", "labels")
        self.silent = []

    def fence(self):
        """A node that reported once and was never heard again; a few dozen are made at once, since silence takes its time."""
        def state(agent):
            return self.admin.get(f"/v1/nodes/{agent.name}").json["state"]

        while self.silent and state(self.silent[-1]) == "fenced":
            self.silent.pop()
        if not self.silent:
            self.silent = [FakeAgent(self.server, self.next(), self.join) for _ in range(60)]
            for agent in self.silent:
                assert agent.register().status == 200 and agent.report().status == 204
                agent.reports.close()
        agent = self.silent[-1]
        eventually("it was silent for long enough", lambda: state(agent) == "unreachable" and
                   time.monotonic() > self.server.started_at + 10 * FENCE_SCALE + 0.1)
        return (lambda: self.admin.post(f"/v1/nodes/{agent.name}/fence", {"boot_id": agent.boot_id}),
                lambda: state(agent) == "fenced")

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
    def once(self, ops, name, mode, nth=0, more=0):
        """Whether an allocation was made to fail."""
        server, status, says = ops.server, 0, None
        do, done = getattr(ops, name)()
        server.control.arm(mode, nth, errno.ENOMEM, more)
        try:
            answer = do()
            status, says = answer.status, answer.json
        except (OSError, http.client.HTTPException):
            pass  # closed
        failed = server.control.failed
        server.control.off()
        which = f"allocation {nth}{' and after' if more else ''}" if nth else "one on a new way"
        where = f"{name}, {which} failed, answered {status}"
        if failed:
            self.wait_for_end(server)
        if server.process.poll() is not None:
            self.assertGreaterEqual(server.process.returncode, 0, f"{where}; its log ends: {server.log_end()}")
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
            self.fail(f"{where}: {says}; its log ends: {server.log_end()}")
        return failed

    @staticmethod
    def wait_for_end(server):
        """A process that is about to end has answered already, or closed the connection: it is alive when it answers once more."""
        client = server.client()
        try:
            eventually("an answer or an end", lambda: server.process.poll() is not None or client.get("/v1/status").status == 200)
        finally:
            client.close()

    def each(self, about, stride, operation):
        """operation(ops, name) for each, or for every stride-th; how many allocations it made to fail."""
        began, cases = time.monotonic(), 0
        server = Shimmed(heartbeat_ms=60000)
        try:
            ops = MoreOperations(server)
            for name in ops.all[::stride]:
                cases += operation(ops, name)
        finally:
            server.remove()
        server = Shimmed(time_scale=FENCE_SCALE)  # for what has to be waited for
        try:
            cases += operation(MoreOperations(server), "fence")
            print(f"F12: {cases} allocations made to fail, {about}", file=sys.stderr)
        finally:
            server.remove()
        self.assertGreater(cases, 12 if MODE == "tenth" else 12 * 3)  # a dozen operations
        record("F12", cases, began)

    def test_every_way_to_an_allocation(self):
        def every_way(ops, name):
            cases = quiet = 0
            while quiet < 2:  # not every run of an operation goes the same ways
                failed = self.once(ops, name, WAYS)
                cases, quiet = cases + failed, 0 if failed else quiet + 1
            return cases
        self.each("on every way", 4 if MODE == "tenth" else 1, every_way)

    def test_every_nth(self):
        random, stride = dice("F12"), {"tenth": 256, "ci": 128, "long": 1}[MODE]

        def every_nth(ops, name):
            cases = 0
            for more in (0, 1 << 30) if MODE == "long" else (1 << 30,):
                nth = random.randint(1, stride)
                while self.once(ops, name, MALLOC, nth, more):
                    cases, nth = cases + 1, nth + stride
            return cases
        self.each("the n-th", 1, every_nth)


if __name__ == "__main__":
    unittest.main()
