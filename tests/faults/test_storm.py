"""Killing at random under load: memlaned 200 times during 500 attach and detach requests on rack32, agents 200 times.  No request
that was acknowledged is lost, no invariant broken, pages keep their bytes all the time, and 5 s after the last kill all is quiet."""
import concurrent.futures
import json
import random as random_module
import threading
import time
import unittest

from faultrack import GIB, REPO, FaultRack, Problem, count, dice, eventually, oracle, record

CLIENTS = 8
CONVERGED_S = 15  # the product promises 5
SCALE = 0.2       # of time: 33 agents of one machine, and everything is killed all the time


class Storm(unittest.TestCase):
    """Each client attaches, fills, detaches; whatever is attached is looked at all the time."""

    def run_storm(self, name, victims, kills, requests):
        began, random = time.monotonic(), dice(name)
        plan = json.loads((REPO / "deploy" / "racks" / "rack32.json").read_text())
        with FaultRack(plan, time_scale=SCALE) as rack:
            self.done, self.over, self.killed, self.kills = 0, threading.Event(), 0, kills
            self.failures, self.held, self.lock = [], {}, threading.Lock()
            with concurrent.futures.ThreadPoolExecutor(CLIENTS + 2) as pool:
                jobs = [pool.submit(self.client, rack, random_module.Random(random.random()), requests) for _ in range(CLIENTS)]
                watcher = pool.submit(self.watch_pages, rack)
                killer = pool.submit(self.kill, rack, random, victims)
                try:
                    killer.result()
                    last_kill = time.monotonic()
                    for job in jobs:
                        job.result()
                finally:
                    self.over.set()
                watcher.result()
            self.assertEqual(self.failures, [])
            rack.judge(CONVERGED_S)
            converged = time.monotonic() - last_kill
            for made in list(rack.acknowledged):
                if rack.attachment(made)["state"] == "attached":
                    rack.detach_somehow(made)
            rack.judge()
            rack.assert_clean()
        requests = len(rack.acknowledged)
        print(f"{name}: {self.killed} kills, {requests} attaches, quiet {converged:.1f} s after the last kill", flush=True)
        record(name, f"{self.killed} kills, {requests} attaches", began)

    def kill(self, rack, random, victims):
        """Every few requests, at any moment of those that are under way."""
        while self.killed < self.kills:
            after = self.done + random.randint(1, 4)
            eventually("requests go on", lambda: self.done >= after or self.over.is_set(), 120)
            if self.over.wait(random.random() * 0.1):
                return
            rack.kill(random.choice(victims))
            self.killed += 1

    def client(self, rack, random, requests):
        mine = []
        while (self.done < requests or self.killed < self.kills) and not self.over.is_set():
            if mine and (len(mine) > 2 or random.random() < 0.5):
                self.give_back(rack, mine.pop(random.randrange(len(mine))))
            elif made := self.take(rack, f"n{random.randint(1, 32):02}", random.choice((1, 2)) * GIB // 4):
                mine.append(made)
            with self.lock:
                self.done += 1
        for made in mine:
            self.give_back(rack, made)

    def take(self, rack, node, size):
        """The id when it is attached.  A refusal with a reason and an attach that was undone are answers, too."""
        try:
            made = rack.post_somehow(node, size, seconds=30)
        except Problem as refused:  # its agents are away, or the ports are taken
            self.note(refused.code in ("no_donor", "compute_not_ready"), f"refused: {refused}")
            return None
        a = rack.settled(made, 60)
        self.note(a["state"] in ("attached", "failed"), f"{made} is {a['state']}: {a['reason']}")
        if a["state"] != "attached":
            return None
        rack.fill(a)
        with self.lock:
            self.held[made] = a
        return made

    def give_back(self, rack, made):
        with self.lock:
            self.held.pop(made)
            rack.filled.pop(made)
        rack.api.persistently("DELETE", f"/v1/attachments/{made}", seconds=60)
        a = eventually(f"{made} is detached", lambda: self.ended(rack, made), 60)
        self.note(not a["holds"], f"{made} is detached, and holds {a['holds']}")

    @staticmethod
    def ended(rack, made):
        a = rack.attachment(made)
        return a if a["state"] == "detached" else None

    def watch_pages(self, rack):
        while not self.over.wait(0.2):
            with self.lock:  # nothing is given back meanwhile
                try:
                    oracle.check_pages(rack, set(self.held))
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
