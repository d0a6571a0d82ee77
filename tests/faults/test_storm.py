"""Killing at random under load: memlaned at least 200 times within at least 500 attach and detach requests on rack32, agents 200 times.
No request that was acknowledged is lost, no invariant broken, pages keep their bytes all the time.  With the last kill the clients
begin nothing more; what is under way goes on, and 5 s after that kill every goal is reached and all is quiet."""
import concurrent.futures
import http.client
import json
import random as random_module
import threading
import time
import unittest
import uuid

from faultrack import GIB, PASSING, REPO, SECONDS, FaultRack, Problem, count, dice, eventually, oracle, record

CLIENTS = 8
SCALE = 1         # of time: what is promised is promised by the real clock
REFUSED_S = 30    # somebody who was killed is back by then
SETTLED_S = 60


class Storm(unittest.TestCase):
    """Each client attaches, fills, detaches; whatever is attached is looked at all the time."""

    def run_storm(self, name, victims, kills, requests):
        began, random = time.monotonic(), dice(name)
        plan = json.loads((REPO / "deploy" / "racks" / "rack32.json").read_text())
        with FaultRack(plan, time_scale=SCALE) as self.rack:
            self.n_requests, self.n_kills, self.over = 0, 0, threading.Event()
            self.failures, self.held, self.lock = [], {}, threading.Lock()
            self.asked_back, self.given_back = set(), set()
            with concurrent.futures.ThreadPoolExecutor(CLIENTS + 2) as pool:
                jobs = [pool.submit(self.client, random_module.Random(random.random())) for _ in range(CLIENTS)]
                jobs.append(pool.submit(self.watch_pages))
                try:
                    last_kill = self.kill(random, victims, kills, requests)
                finally:
                    self.over.set()
                for job in jobs:
                    job.result()
            eventually("every goal is reached", self.goals_reached, SECONDS)
            self.rack.judge_since(last_kill)
            self.assertEqual(self.failures, [])
            for a in self.rack.live():
                self.rack.detach_somehow(a["id"])
            self.rack.judge()
            self.rack.assert_clean()
        record(name, f"{self.n_kills} kills, {self.n_requests} requests", began, self.rack.converged)

    def kill(self, random, victims, kills, requests):
        """Every few requests, at any moment of those that are under way.  When the last one was: with it, nothing more is begun."""
        while True:
            after = self.n_requests + random.randint(1, 4)
            eventually("requests go on", lambda: self.n_requests >= after, 120)
            threading.Event().wait(random.random() * 0.1)
            last = self.n_kills + 1 >= kills and self.n_requests >= requests
            if last:
                self.over.set()
            self.rack.kill(random.choice(victims))
            self.n_kills += 1
            if last:
                return time.time()

    def goals_reached(self):
        """Of what was acknowledged: a detach ended detached, and no attachment went away without one."""
        for made in list(self.rack.acknowledged):
            a = self.rack.attachment(made)
            self.assertIn(a["state"], self.wanted(made), f"{made}: {a['reason']}")
            self.assertTrue(a["state"] == "attached" or not a["holds"], f"{made} is {a['state']}, and holds {a['holds']}")
        return True

    def wanted(self, made):
        if made in self.given_back:
            return ("detached",)
        if made in self.asked_back:  # the answer was not waited for
            return ("attached", "detached")
        return ("attached",) if made in self.held else ("attached", "failed")

    # ---- clients

    def client(self, random):
        mine = []
        while not self.over.is_set():
            if mine and (len(mine) > 2 or random.random() < 0.5):
                self.give_back(mine.pop(random.randrange(len(mine))))
            elif made := self.take(f"n{random.randint(1, 32):02}", random.choice((1, 2)) * GIB // 4):
                mine.append(made)

    def ask(self, method, path, *body):
        """The answer; asked for again while somebody is away, by the same key.  None: over, nothing more is begun."""
        deadline, headers = time.monotonic() + REFUSED_S, {"Idempotency-Key": uuid.uuid4().hex} if body else {}
        while not self.over.is_set():
            try:
                answer = self.rack.api.call(method, path, *(body or (None,)), headers)
                with self.lock:
                    self.n_requests += 1
                return answer
            except Problem as refused:
                reasons = {c["reason"] for c in refused.body.get("candidates", [])} | {refused.code}
                if refused.status != 503 and not reasons & PASSING or time.monotonic() > deadline:
                    raise
            except (OSError, http.client.HTTPException):
                if time.monotonic() > deadline:
                    raise
            self.over.wait(0.02)
        return None

    def ended(self, made, moving):
        """The attachment, when it is in that state no more.  None: over."""
        a = eventually(f"{made} is not {moving} any more",
                       lambda: self.over.is_set() or ((a := self.rack.attachment(made))["state"] not in moving and a), SETTLED_S)
        return None if a is True else a

    def take(self, node, size):
        """The id when it is attached.  A refusal with a reason and an attach that was undone are answers, too."""
        try:
            a = self.ask("POST", "/v1/attachments", {"compute_node": node, "size_bytes": size})
        except Problem as refused:  # the ports are taken
            with self.lock:
                self.n_requests += 1
            self.note(refused.code in ("no_donor", "compute_not_ready"), f"refused: {refused}")
            return None
        if not a:
            return None
        self.rack.acknowledged[a["id"]] = (node, a["size_bytes"])
        if not (a := self.ended(a["id"], ("pending",))):
            return None
        self.note(a["state"] in ("attached", "failed"), f"{a['id']} is {a['state']}: {a['reason']}")
        if a["state"] != "attached":
            return None
        self.rack.fill(a)
        with self.lock:
            self.held[a["id"]] = a
        return a["id"]

    def give_back(self, made):
        with self.lock:
            self.held.pop(made)
            self.rack.filled.pop(made)
        self.asked_back.add(made)
        if not self.ask("DELETE", f"/v1/attachments/{made}"):
            return
        self.given_back.add(made)
        if a := self.ended(made, ("attached", "detaching", "stuck")):
            self.note(a["state"] == "detached" and not a["holds"], f"{made} is {a['state']}, and holds {a['holds']}")

    def watch_pages(self):
        while not self.over.wait(0.2):
            with self.lock:  # nothing is given back meanwhile
                try:
                    oracle.check_pages(self.rack, set(self.held))
                except (AssertionError, OSError) as error:
                    self.failures.append(f"pages: {error!r}")

    def note(self, good, text):
        if not good:
            self.failures.append(text)

    def test_orchestrator_killed(self):
        self.run_storm("memlaned killed under load", ["memlaned"], count(200, 1000), count(500, 2500))

    def test_agents_killed(self):
        agents = [f"agent-n{i:02}" for i in range(1, 33)] + ["agent-mgmt"]
        self.run_storm("agents killed under load", agents, count(200, 1000), count(500, 2500))


if __name__ == "__main__":
    unittest.main()
