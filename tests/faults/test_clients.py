"""F6, F8, F9: clients that lose the answer, that send the same request many times at once, that race for the last memory."""
import concurrent.futures
import json
import socket
import struct
import threading
import time
import unittest
import uuid

from faultrack import GIB, FaultRack, Problem, count, dice, record, star, trying

RACERS = 64
PATIENT = 0.5  # no time limit is tried here, and a commit that takes long is no silence
REASONS = {"insufficient_memory", "no_path", "ports_busy", "no_section"}


class Clients(unittest.TestCase):
    def test_f8_the_same_request_many_times(self):
        """One attachment for one key, whoever is answered first; another body with the key is refused."""
        began, random, n = time.monotonic(), dice("F8"), count(1000, 20000)
        with FaultRack(star(3), time_scale=PATIENT) as rack, concurrent.futures.ThreadPoolExecutor(50) as pool:
            sent = keys = 0
            while sent < n:
                copies = min(random.randint(2, 50), max(n - sent, 2))
                with trying(f"{copies} at once, after {sent}"):
                    self.same_key(rack, pool, random, copies)
                sent, keys = sent + copies, keys + 1
            rack.judge()
            rack.assert_clean()
        record("F8", f"{sent} POSTs with {keys} keys", began)

    def same_key(self, rack, pool, random, copies):
        key = {"Idempotency-Key": uuid.uuid4().hex}
        body = {"compute_node": random.choice(("n1", "n2", "n3")), "size_bytes": GIB // 4}
        start = threading.Barrier(copies)

        def post():
            start.wait(30)
            return rack.api.call("POST", "/v1/attachments", body, key)
        answers = [f.result() for f in [pool.submit(post) for _ in range(copies)]]
        ids = {a["id"] for a in answers}
        self.assertEqual(len(ids), 1, "more than one attachment for one key")
        made = ids.pop()
        rack.acknowledged[made] = (body["compute_node"], answers[0]["size_bytes"])
        with self.assertRaises(Problem) as refused:
            rack.api.call("POST", "/v1/attachments", {**body, "size_bytes": GIB}, key)
        self.assertEqual(refused.exception.status, 422)
        self.assertEqual([a["id"] for a in rack.live()], [made])
        rack.settled(made)
        rack.detach_somehow(made)
        self.assertEqual(rack.api.call("POST", "/v1/attachments", body, key)["id"], made, "the key was forgotten")

    def test_f6_clients_that_lose_the_answer(self):
        """The request arrived, the answer did not: asked again with its key, it is the same attachment; a detach is the same detach."""
        began, random, n = time.monotonic(), dice("F6 of clients"), count(20, 200)
        with FaultRack(star(3), time_scale=PATIENT) as rack:
            for i in range(n):
                with trying(f"round {i}"):
                    key = uuid.uuid4().hex
                    body = {"compute_node": random.choice(("n1", "n2", "n3")), "size_bytes": GIB // 4}
                    for _ in range(random.randint(1, 3)):
                        self.hang_up(rack, "POST", "/v1/attachments?wait=5", body, key, random.random() * 0.03)
                    made = rack.api.call("POST", "/v1/attachments", body, {"Idempotency-Key": key})["id"]
                    rack.acknowledged[made] = (body["compute_node"], body["size_bytes"])
                    rack.settled(made)
                    self.assertEqual([a["id"] for a in rack.live()], [made])
                    self.hang_up(rack, "DELETE", f"/v1/attachments/{made}?wait=5", None, None, random.random() * 0.03)
                    rack.detach_somehow(made)
            rack.judge()
            rack.assert_clean()
        record("F6", n, began)

    @staticmethod
    def hang_up(rack, method, path, body, key, after_s):
        """Sends a whole request, and breaks the connection a moment later, whatever came."""
        text = json.dumps(body).encode() if body else b""
        head = [f"{method} {path} HTTP/1.1", "Host: memlane", f"Authorization: Bearer {rack.env['MEMLANE_TOKEN']}"]
        head += [f"Idempotency-Key: {key}"] if key else []
        head += ["Content-Type: application/json", f"Content-Length: {len(text)}"] if body else []
        with socket.create_connection(("127.0.0.1", rack.listening_port()), timeout=10) as s:
            s.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + text)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset
            threading.Event().wait(after_s)

    def test_f9_a_race_for_the_last_memory(self):
        began, random, n = time.monotonic(), dice("F9"), count(200, 5000)
        with FaultRack(star(4), time_scale=PATIENT) as rack, concurrent.futures.ThreadPoolExecutor(RACERS) as pool:
            donor = rack.node("n4")
            rack.api.call("PATCH", "/v1/nodes/n4", {"headroom_bytes": donor["headroom_bytes"] + donor["lendable_bytes"] - GIB})
            for i in range(n):
                with trying(f"race {i}"):
                    self.race(rack, pool, random)
            rack.judge()
            rack.assert_clean()
        record("F9", n, began)

    def race(self, rack, pool, random):
        """n4 has one GiB to lend: a second of this size does not fit."""
        size = GIB // 2 + rack.block
        bodies = [{"compute_node": random.choice(("n1", "n2", "n3")), "size_bytes": size, "donor": "n4"} for _ in range(RACERS)]
        start = threading.Barrier(RACERS)

        def post(body):
            start.wait(30)
            status, _, text = rack.api.raw("POST", "/v1/attachments", json.dumps(body), {"Idempotency-Key": uuid.uuid4().hex})
            return status, json.loads(text)
        answers = list(pool.map(post, bodies))
        won = [a for status, a in answers if status == 202]
        self.assertEqual(len(won), 1, f"{len(won)} won")
        for status, answer in answers:
            if status != 202:
                self.assertEqual((status, answer["code"]), (409, "no_donor"), answer)
                reasons = [c["reason"] for c in answer["candidates"] if c["node"] == "n4"]
                self.assertEqual(len(reasons), 1, f"not one reason for the node that was asked for: {answer}")
                self.assertIn(reasons[0], REASONS)
        rack.acknowledged[won[0]["id"]] = (won[0]["compute_node"], size)
        rack.settled(won[0]["id"])
        rack.detach_somehow(won[0]["id"])


if __name__ == "__main__":
    unittest.main()
