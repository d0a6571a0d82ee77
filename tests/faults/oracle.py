"""oracle.py - the invariants of the fault tests over a live rack: what the orchestrator says, against the emulated hardware, the
lenders' files, the pages in borrowed memory, and the events.  The numbers are those of the list of invariants:

 1 nothing is given twice           2 lent is what donors hold         3 released only with proof (the trace, the pages)
 4 attached means that bytes travel  5 nothing is without an owner      6 events have no gaps, and end where a GET is
 8 what was acknowledged is there    9 every change is in the audit     10 (assert_clean of the harness)

And the orchestrator's own judgement, `memlane check`, has to be the same.
"""
import re
import time

import patterns
from harness import TIB, eventually

PARKED = 0x4000000000000000
MASK = (1 << 64) - 1


def overlaps(ranges):
    ordered = sorted(ranges)
    return [(x, y) for x, y in zip(ordered, ordered[1:]) if y[0] < x[1]]


class Look:
    """Everything at one moment; only used when nothing moves."""

    def __init__(self, rack):
        self.rack = rack
        self.nodes = {n["name"]: n for n in rack.api.items("/v1/nodes")}
        self.live = {a["id"]: a for a in rack.live()}
        self.circuits = {c["id"]: c for c in rack.api.items("/v1/circuits")}
        self.unowned = rack.api.call("GET", "/v1/unowned")["items"]
        self.box = rack.ctl("status")
        self.donated = {n["name"]: n["free_bytes"] for n in rack.plan["nodes"]}
        self.adapters = {(n["name"], a["name"]): a for n in self.box["nodes"] for a in n["adapters"]}

    def attached(self):
        return [a for a in self.live.values() if a["state"] == "attached"]

    def lent_by(self, donor):
        return [a for a in self.live.values() if a["donor"] == donor and donor in a["holds"]]


def check_given_once(look):
    donors, windows, ports, sections = {}, {}, {}, {}
    for a in look.attached():
        start, address = int(a["effective_addr"], 16), int(a["physical_addr"], 16)
        donors.setdefault(a["donor"], []).append((start, start + a["size_bytes"], a["id"]))
        windows.setdefault(a["compute_node"], []).append((address, address + a["size_bytes"], a["id"]))
    for a in look.live.values():
        sections.setdefault((a["compute_node"], a["section"]), set()).add(a["circuit"])
        for leg in a["path"]:
            for port in leg:
                ports.setdefault(port, set()).add(a["circuit"])
    for name, ranges in [*donors.items(), *windows.items()]:
        assert not overlaps(ranges), f"1: given twice on {name}: {overlaps(ranges)}"
    shared = {k: v for k, v in (ports | sections).items() if len(v) > 1}
    assert not shared, f"1: in more than one circuit: {shared}"


def check_lent(look):
    for name, node in look.nodes.items():
        said = sum(a["size_bytes"] for a in look.lent_by(name))
        assert node["lent_bytes"] == said, f"2: {name} lends {node['lent_bytes']}, its attachments hold {said}"
        files = {p.name: p.stat().st_size for p in look.rack.dir.glob(f"nodes/{name}/buffers/*")}
        owners = {a["id"] for a in look.lent_by(name)}
        lost = {a["id"] for a in look.live.values() if a["donor"] == name and a["state"] == "lost"}
        assert set(files) <= owners | lost, f"5: buffers of nobody on {name}: {set(files) - owners}"
        missing = {a["id"] for a in look.attached() if a["donor"] == name} - set(files)
        assert not missing, f"2: {name} has no buffer for {missing}"
        free, locked, capacity, lendable = (node[f"{k}_bytes"] for k in ("free", "locked", "capacity", "lendable"))
        assert locked == sum(files.values()), f"2: {name} says {locked} locked, its buffers are {files}"
        assert free + locked == look.donated[name], f"2: {name} has {free} free and {locked} locked, of {look.donated[name]}"
        assert capacity == max(0, free + locked - node["headroom_bytes"]), f"2: {name} can lend {capacity} of {free} and {locked}"
        assert lendable == max(0, capacity - node["lent_bytes"]), f"2: {name} lends {node['lent_bytes']} and {lendable} of {capacity}"


def base_of(a):
    return int(a["effective_addr"], 16) - a["offset_bytes"]


def check_sections(look):
    """Each register is parked, untouched, or leads where its attachments say."""
    for (node, name), adapter in look.adapters.items():
        for number, text in enumerate(adapter.get("sections", [])):
            value = int(text, 16)
            users = [a for a in look.attached() if a["compute_node"] == node and a["section"] == number]
            others = [a for a in look.live.values() if a["compute_node"] == node and a["section"] == number and a not in users]
            parked = value == 0 or value & ~0x3f == (PARKED - number * TIB) & MASK & ~0x3f
            where = f"{node}/{name}, section {number}: {value:#x}"
            if users:
                want = {(base_of(a) - number * TIB) & MASK & ~0x3f for a in users}
                assert want == {value & ~0x3f}, f"4: {where} does not lead to {[hex(w) for w in want]}"
            elif not others:
                assert parked, f"5: {where} leads somewhere, for nobody"


def check_fabric(look):
    """Channels and cross-connects are there for circuits, and for nothing else."""
    used, joins = {}, set()
    for c in look.circuits.values():
        for leg in c["path"]:
            for port in (leg[0], leg[-1]):
                node, adapter, number = port.split("/")
                used[node, adapter] = used.get((node, adapter), 0) | 1 << int(number)
            joins.update(tuple(sorted(pair)) for pair in zip(leg[1:-1:2], leg[2:-1:2]))
    for key, adapter in look.adapters.items():
        extra = int(adapter["channels"], 16) & 3 & ~used.get(key, 0)
        assert not extra, f"5: channels {extra:#x} of {key} are out of reset, for no circuit"
    made = {tuple(sorted(f"{s['name']}/{p}" for p in pair)) for s in look.box["switches"] for pair in s["pairs"]}
    assert made <= joins, f"5: joined for no circuit: {made - joins}"


def check_travels(look):
    """The emulator made a segment of every attached memory, from registers, cables and buffers alone; and pages are the same."""
    made = {s["id"]: (node, s["donor"]) for (node, _), a in look.adapters.items() for s in a.get("segments", [])}
    for a in look.attached():
        assert made.get(a["id"]) == (a["compute_node"], a["donor"]), f"4: {a['id']} is attached, but no way leads there"
        assert a["blocks_online"] == a["blocks_total"], f"4: {a['id']} is attached with {a['blocks_online']} blocks"
    extra = set(made) - set(look.live)
    assert not extra, f"3: reachable still, owned by nobody: {extra}"
    check_pages(look.rack, {a["id"] for a in look.attached()})


def check_pages(rack, attached):
    for i, a in list(rack.filled.items()):
        if i in attached:
            bad = patterns.verify(rack.buffer_file(a), i, rack.block) + patterns.verify(rack.segment_file(a), i, rack.block)
            assert not bad, f"3: pages of {i} changed: {bad[:4]}"


def check_acknowledged(rack):
    for i, (node, size) in rack.acknowledged.items():
        a = rack.attachment(i)
        assert (a["compute_node"], a["size_bytes"]) == (node, size), f"8: {i} was acknowledged, and is another one now"


def check_audit(rack):
    created = [e["object"].split("/")[-1] for e in rack.api.items("/v1/audit") if e["action"] == "attachment.create"]
    missing = set(rack.acknowledged) - set(created)
    assert not missing, f"9: not in the audit: {missing}"
    assert len(created) == len(set(created)), "7: created twice"


def check_events(rack):
    """A client that replays the stream ends where a GET is."""
    last = rack.api.call("GET", "/v1/attachments?limit=1")["as_of"]
    eventually(f"the stream reached event {last}", lambda: rack.reader.last >= last, 15)
    ids = list(rack.reader.ids)
    assert not rack.reader.resets and ids == list(range(ids[0], ids[0] + len(ids))), "6: a gap in the stream"
    states = {}
    for e in list(rack.reader.events):
        if e["type"] == "attachment.state" and e["id"] <= last:
            before = states.get(e["object"], "")
            assert (e["from"] or "") == before, f"6: {e['object']} went from {e['from']}, was {before}: event {e['id']}"
            states[e["object"]] = e["to"]
    live = {f"attachment/{a['id']}": a["state"] for a in rack.live()}
    if rack.api.call("GET", "/v1/attachments?limit=1")["as_of"] != last:
        return  # something moved meanwhile: it is looked at again another time
    ended = ("detached", "failed")
    replayed = {o: s for o, s in states.items() if s not in ended and (s != "lost" or o in live)}
    assert replayed == live, f"6: replayed {replayed}, GET says {live}"


def check_all(rack):
    look = Look(rack)
    moving = [a["id"] for a in look.live.values() if a["state"] in ("pending", "detaching")]
    assert not moving, f"still under way: {moving}"
    closing = [c for c in look.circuits.values() if c["state"] in ("closing", "connecting")]
    assert not closing, f"still under way: circuits {closing}"
    assert not look.unowned, f"5: owned by nobody: {look.unowned}"
    check_given_once(look)
    check_lent(look)
    check_sections(look)
    check_fabric(look)
    check_travels(look)
    return rack.check()


def judge(rack, seconds):
    """All invariants hold within the time; raises what is still wrong at its end."""
    eventually("the invariants hold", lambda: check_all(rack), seconds)
    rack.quiet_at = time.time()
    check_acknowledged(rack)
    check_audit(rack)
    check_events(rack)
    rack.check_command()


def judge_logs(rack):
    """No program ended by its own fault."""
    for log in (rack.dir / "log").glob("*.log"):
        text = log.read_text(errors="replace")
        found = re.search(r"^.*(Assertion|writer\.invariant|Sanitizer|runtime error|stack smashing|: signal (4|6|7|8|11)\b).*$",
                          text, re.M)
        assert not found, f"{log.name}: {found[0]}"
