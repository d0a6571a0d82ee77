"""An event log that has lost its beginning: nobody skips the gap without knowing, neither a page's reader nor a stream's."""
import contextlib
import sqlite3
import subprocess
import unittest

from memlaned import BUILD
from rackcase import Rack, memlane
from test_api import Stream


class Forgetful(Rack):
    def setUp(self):
        self.detach(self.attach()["id"])
        self.last = self.page()["as_of"]
        self.assertGreater(self.last, 20)

    def page(self, query=""):
        answer = self.admin.get(f"/v1/events?limit=1000{query}")
        self.assertEqual(answer.status, 200, answer.json)
        return answer.json

    def forget(self, until):
        """As pruning does, which takes 100,000 events or 90 days."""
        self.assertEqual(self.server.stop(), 0)
        with contextlib.closing(sqlite3.connect(self.server.dir / "rack.db")) as db, db:
            db.execute("DELETE FROM events WHERE id <= ?", [until])
        self.server.start()
        self.wait_for(lambda: self.admin.get("/readyz").status == 200)

    def gone(self, query, oldest):
        problem = self.refused(self.admin.get(f"/v1/events?{query}"), 410, "events_gone")
        self.assertEqual(problem["oldest_index"], oldest)

    def stream(self, last):
        stream = Stream(self.server, self.server.admin_token, Last_Event_ID=str(last))
        self.addCleanup(stream.close)
        self.assertEqual(stream.reply.status, 200)
        return stream.events()


class Past(Forgetful):
    def forget(self, until):
        super().forget(until)
        self.wait_for(lambda: self.admin.get("/v1/status").json["nodes"] == {"ready": 2})

    def test_a_page_says_that_its_beginning_is_gone(self):
        oldest = self.last - 5
        self.forget(oldest - 1)
        for query in ("", "&after=0", "&cursor=0"):  # a start, wherever that is
            self.assertEqual(self.page(query)["items"][0]["id"], oldest)
        for query in ("after=1", f"after={oldest - 2}", "cursor=1", "after=1&limit=1", "after=1&object=node/n1", "after=1&object=none"):
            self.gone(query, oldest)
        told = [e["id"] for e in self.page(f"&after={oldest - 1}")["items"]]  # what the client was told to go on with
        self.assertEqual(told[0], oldest)
        self.assertEqual(self.page(f"&after={oldest}")["items"][0]["id"], oldest + 1)
        self.assertEqual(self.admin.get("/problems/events_gone").json["status"], 410)

    def test_a_stream_resets_where_its_past_is_gone(self):
        oldest = self.last - 5
        self.forget(oldest - 1)
        for last in (1, oldest - 2):
            number, kind, data = next(self.stream(last))
            self.assertEqual((kind, data), ("reset", {"last": number}))
            self.assertGreaterEqual(number, self.last)
            self.assertGreater(number, last)
        for last in (oldest - 1, oldest):
            self.assertEqual(next(self.stream(last))[0], last + 1)

    def test_the_command_says_what_is_gone_and_goes_on_from_the_oldest(self):
        oldest = self.last - 5
        self.forget(oldest - 1)
        gone = f"warning: events 3 to {oldest - 1} are gone from the log\n"
        numbers = lambda out: [int(line.split()[0]) for line in out.splitlines() if not line.startswith(" " * 6 + "ID")]
        code, out, err = memlane(self.server, "event", "list", "--after", "2", "--all", "--limit", "4", "-o", "csv")
        self.assertEqual((code, err, [line.split(",")[0] for line in out.splitlines()[1:]]),
                         (0, gone, [str(oldest + i) for i in range(4)]))
        for words in (("--after", "0"), ("--after", str(oldest - 1)), (), ("--object", "node/n1")):
            code, out, err = memlane(self.server, "event", "list", *words)
            self.assertEqual((code, err), (0, ""), words)
        with subprocess.Popen([BUILD / "bin/memlane", "event", "follow", "--after", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, env={"MEMLANE_URL": f"http://127.0.0.1:{self.server.port}",
                                              "MEMLANE_TOKEN": self.server.admin_token}) as follower:
            try:
                told = [int(follower.stdout.readline().split()[0]) for _ in range(self.last - oldest + 1)]
                self.assertEqual(told, list(range(oldest, self.last + 1)))
                self.attach()
                told += [int(follower.stdout.readline().split()[0]) for _ in range(10)]
                self.assertEqual(told, list(range(oldest, oldest + len(told))))  # no gap where the stream takes over
            finally:
                follower.kill()
            self.assertEqual(follower.stderr.read(), gone)


class Nothing(Forgetful):
    def test_an_empty_log_has_a_past_too(self):
        for agent in self.nodes.values():
            agent.stop()
        self.forget(0)  # a start says once that they are silent
        self.last = self.page()["as_of"]
        self.forget(self.last)
        self.assertEqual(self.page()["items"], [])
        self.assertEqual(self.page(f"&after={self.last}")["items"], [])
        self.gone("after=1", self.last + 1)
        self.assertEqual(next(self.stream(1))[:2], (self.last, "reset"))


if __name__ == "__main__":
    unittest.main()
