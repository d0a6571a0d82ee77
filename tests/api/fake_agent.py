"""An agent for protocol tests: registers, polls, and reports every wish as fulfilled at once.  It has no hardware."""
import http.client
import threading
import uuid

GIB = 1 << 30
WINDOW = 0x2000000000000
LENDER = "lender-1"


class FakeAgent:
    def __init__(self, server, name, join_token, free_bytes=64 * GIB, labels=None):
        self.server, self.name, self.free_bytes = server, name, free_bytes
        self.machine_id, self.boot_id = uuid.uuid4().hex, uuid.uuid4().hex
        self.labels = labels or {}
        self.token = join_token
        self.sequence = self.known_epoch = 0
        self.applied = (0, 0)
        self.session = self.instance = None
        self.buffers, self.segments, self.sections, self.channels = {}, {}, {}, {}
        self.lender = LENDER
        self.held = False  # true: it hears its orders and does nothing
        self.stopping = threading.Event()
        self.thread = None
        self.polls, self.reports = server.client(None), server.client(None)

    def adapters(self):
        return [{"name": "afu0", "role": "compute", "ports": 2, "window_addr": hex(WINDOW), "window_bytes": 4 << 40},
                {"name": "afu1", "role": "memory", "ports": 2, "window_addr": "0x0", "window_bytes": 0}]

    def registration(self):
        return {"name": self.name, "machine_id": self.machine_id, "boot_id": self.boot_id, "version": "test",
                "protocol_min": 1, "protocol_max": 1, "known_epoch": self.known_epoch, "memory_bytes": 128 * GIB,
                "free_bytes": self.free_bytes, "locked_bytes": 0, "block_bytes": 256 << 20, "adapters": self.adapters(),
                "labels": self.labels, "findings": [], "switches": []}

    def register(self):
        answer = self.reports.post("/v1/agents/register", self.registration(), token=self.token)
        if answer.status == 200:
            self.session, self.epoch = answer.json["session"], answer.json["epoch"]
            self.instance = answer.json["instance"]
            self.token = answer.json.get("credential", self.token)
            self.sequence = 0
        return answer

    def observed(self):
        self.sequence += 1
        locked = sum(b["size_bytes"] for b in self.buffers.values())
        seen = []
        for name in ("afu0", "afu1"):
            up = sum(1 << port for port in (0, 1) if self.channels.get((name, port)))
            seen.append({"name": name, "ok": True, "channels": up, "settled": up,
                         "sections": [self.sections.get((name, n), "0x0") for n in range(8)], "error_capture": "0x0",
                         "flits_sent": self.sequence, "flits_received": 0, "latency_cycles": 0, "latency_samples": 0,
                         "emulated": True, **({"lender_id": self.lender} if name == "afu1" else {})})
        return {"session": self.session, "sequence": self.sequence, "boot_id": self.boot_id, "instance": self.instance,
                "epoch": self.epoch, "revision": self.applied[1] if self.applied[0] == self.epoch else 0, "memory_bytes": 128 * GIB,
                "free_bytes": self.free_bytes - locked, "locked_bytes": locked, "switches_ok": True, "adapters": seen,
                "buffers": list(self.buffers.values()), "segments": list(self.segments.values()), "crossconnects": [],
                "signals": [], "findings": []}

    def report(self):
        return self.reports.put(f"/v1/agents/{self.name}/observed", self.observed(), token=self.token)

    def apply(self, desired):
        for b in desired["buffers"]:
            if b["want"] == "absent":
                self.buffers.pop(b["id"], None)
            elif b["want"] == "create":
                self.buffers.setdefault(b["id"], {
                    "id": b["id"], "present": True, "attempt": 0, "adapter": b["adapter"],
                    "compute_node": b["compute_node"], "compute_adapter": b["compute_adapter"], "section": b["section"],
                    "offset_bytes": b["offset_bytes"], "size_bytes": b["size_bytes"],
                    "effective_addr": hex(0x7000_0000_0000 + b["offset_bytes"]), "lender_id": self.lender})
        for s in desired["sections"]:
            self.sections[(s["adapter"], s["section"])] = s["value"]
        for c in desired["channels"]:
            self.channels[(c["adapter"], c["port"])] = c["up"]
        wanted = {s["id"] for s in desired["segments"]}
        for gone in [i for i in self.segments if i not in wanted]:
            del self.segments[gone]
        for s in desired["segments"]:
            blocks = s["size_bytes"] // (256 << 20)
            on = s["want"] != "absent"
            self.segments[s["id"]] = {
                "id": s["id"], "adapter": s["adapter"], "section": s["section"], "offset_bytes": s["offset_bytes"],
                "size_bytes": s["size_bytes"], "blocks_total": blocks, "blocks_online": blocks if on else 0,
                "movable": on, "touched": on, "quiesced": not on, "numa_node": 1, "attempt": s["attempt"]}
        self.applied = (desired["epoch"], desired["revision"])

    def poll(self, wait=30, after=None):
        after = after or f"{self.applied[0]}.{self.applied[1]}"
        return self.polls.get(f"/v1/agents/{self.name}/desired?after={after}&wait={wait}", token=self.token)

    def run(self):
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()
        return self

    def loop(self):
        while not self.stopping.is_set():
            try:
                answer = self.poll(wait=1)
                if self.held:
                    self.report()
                    self.stopping.wait(0.05)
                    continue
                if answer.status == 200:
                    self.apply(answer.json)
                if answer.status == 409 or self.report().status == 409:
                    self.register()
            except (OSError, http.client.HTTPException):  # memlaned is away, or went away in the middle of an answer
                self.stopping.wait(0.05)

    def stop(self):
        self.stopping.set()
        if self.thread:
            self.thread.join(5)
        self.polls.close()
        self.reports.close()
