#!/usr/bin/env python3
"""Judges a register trace of an emulated rack: is every access one that the hardware allows?

    trace_check.py FILE [RACK.json]      exit status 1 and a line for each violation
    check(lines, rack=None)              the same as a list of strings; 'lines': an iterable of JSON lines
    check_file(path)                     with the rack.json beside the trace, when there is one

The checker keeps a model of every adapter (registers, blocks that are online, cross-connects) and compares each entry with it
before it applies it.  With the rack file it also follows cables, so that a donor's channel or a cross-connect is known to be in
use by a section on the compute side.
"""
import json
import os
import platform
import sys

MASK = (1 << 64) - 1
NETID = 0x3F
PARKED = 0x4000000000000000
SECTIONS = 8
SECTION_SHIFT = 40
WINDOW_SECTIONS = 4  # windows begin at a multiple of 4 TiB
USER_ADDRESSES = 1 << (52 if platform.machine().startswith("ppc64") else 47)  # of the lender
PAGE = 4096
CONTROL_BITS = 0x17  # bits 0, 1, 2 and 4
CHANNEL_BITS = 3
CONTROL, SECTION0, CHANNELS = 0x00, 0x20, 0x78
READ_ONLY = {0x60, 0x68, 0x70, 0x100, 0x110, 0x118}
IMPLEMENTED = (
    {0x00, 0x08, 0x10, 0x18, 0x60, 0x68, 0x70, 0x78, 0x100, 0x108, 0x110, 0x118}
    | {SECTION0 + 8 * n for n in range(SECTIONS)}
    | set(range(0x200, 0x300, 8))
    | set(range(0x80000, 0x80020, 8))
)
QUIET = {"open", "close", "attach", "probe", "touch", "power_on"}


def ports_of(netid):
    """Ports that a netid uses, as bits."""
    if netid & 3 == 3:
        return 3
    return 1 if netid & 1 else 2


def parked_base(section):
    return (PARKED - (section << SECTION_SHIFT)) & MASK


class Adapter:
    def __init__(self):
        self.reset(0)

    def reset(self, role):
        self.memory = bool(role)
        self.sections = [0] * SECTIONS
        self.channels = 0
        self.channels_read = False  # since it last changed or the adapter was opened
        self.online = set()  # physical addresses of blocks
        self.offlined = [0] * SECTIONS  # seq of the last offline, by section
        self.quiesced = 0

    def in_use(self, section):
        value = self.sections[section]
        return value != 0 and value & ~NETID != parked_base(section)

    def users_of(self, port):
        return [n for n in range(SECTIONS) if self.in_use(n) and ports_of(self.sections[n] & NETID) & 1 << port]


class Cabling:
    """Links of the rack file and the cross-connects of the moment."""

    def __init__(self, rack):
        self.peer, self.cross = {}, {}
        for link in rack.get("links", []) if rack else []:
            self.peer[link["a"]], self.peer[link["b"]] = link["b"], link["a"]

    def connect(self, switch, a, b):
        self.cross[f"{switch}/{a}"], self.cross[f"{switch}/{b}"] = f"{switch}/{b}", f"{switch}/{a}"

    def disconnect(self, switch, a, b):
        self.cross.pop(f"{switch}/{a}", None)
        self.cross.pop(f"{switch}/{b}", None)

    def end_of(self, port):
        """The adapter's port that a port leads to, or None."""
        for _ in range(16):
            port = self.peer.get(port)
            if port is None or port.count("/") == 2:
                return port
            port = self.cross.get(port)
            if port is None:
                return None
        return None

    def ends_of_switch_port(self, port):
        """Adapter ports on both sides of a switch port: through its cable, and through its cross-connect."""
        ends, cable, other = [], self.peer.get(port), self.cross.get(port)
        if cable is not None:
            ends.append(cable if cable.count("/") == 2 else self.end_of_cross(cable))
        if other is not None:
            ends.append(self.end_of(other))
        return [e for e in ends if e]

    def end_of_cross(self, port):
        other = self.cross.get(port)
        return self.end_of(other) if other else None


class Checker:
    def __init__(self, rack=None):
        self.violations = []
        self.adapters = {}
        self.cabling = Cabling(rack)
        self.seq = None
        self.windows = {}
        for node in rack.get("nodes", []) if rack else []:
            for a in node.get("adapters", []):
                key = node["name"], a["name"]
                self.adapter(key).memory = a["role"] == "memory"
                if a["role"] == "compute":
                    self.windows[key] = int(a["window_addr"], 16)

    def adapter(self, key):
        return self.adapters.setdefault(key, Adapter())

    def bad(self, text):
        e = self.entry
        where = "/".join(x for x in (e["node"], e["adapter"]) if x)
        self.violations.append(f"seq {e['seq']}: {where}: {e['op']} {e['offset']} = {e['value']}: {text}")

    def section_of(self, key, addr):
        return (addr - self.windows.get(key, 0)) >> SECTION_SHIFT & (WINDOW_SECTIONS - 1)

    # ---- one entry ---------------------------------------------------------------------------------------------------
    def feed(self, entry):
        self.entry = entry
        if self.seq is not None and entry["seq"] != self.seq + 1:
            self.bad(f"the trace is incomplete: it follows seq {self.seq}")
        self.seq = entry["seq"]
        key = entry["node"], entry["adapter"]
        offset, value, ok, op = int(entry["offset"], 16), int(entry["value"], 16), entry["ok"], entry["op"]
        if op in ("read", "write"):
            self.access(self.adapter(key), key, op, offset, value, ok)
        elif op in ("online", "offline") and ok:
            self.block(self.adapter(key), key, op, value)
        elif op == "quiesce":
            self.adapter(key).quiesced = entry["seq"]
        elif op == "reset":
            self.adapter(key).reset(value)
        elif op == "plant":
            self.apply(self.adapter(key), offset, value)
        elif op == "connect":
            self.cabling.connect(entry["node"], offset, value)
        elif op == "disconnect":
            self.disconnect(entry["node"], offset, value)
        elif op == "power_off":
            for (node, _), a in self.adapters.items():
                if node == entry["node"]:
                    a.reset(a.memory)
        elif op not in QUIET and op not in ("online", "offline"):
            self.bad("an operation that the checker does not know")
        if op == "open":
            self.adapter(key).channels_read = False

    def access(self, a, key, op, offset, value, ok):
        if offset not in IMPLEMENTED:
            self.bad("no register is implemented at this offset")
            return
        if op == "read":
            if ok and offset == CHANNELS:
                a.channels, a.channels_read = value, True
            return
        if offset in READ_ONLY:
            self.bad("the register is read-only")
        if offset == CONTROL and value & ~CONTROL_BITS:
            self.bad("bits of control without a meaning are set")
        if not ok:
            return
        if offset == CHANNELS:
            self.write_channels(a, key, value)
        elif SECTION0 <= offset < SECTION0 + 8 * SECTIONS:
            self.write_section(a, key, (offset - SECTION0) // 8, value)
        self.apply(a, offset, value)

    def apply(self, a, offset, value):
        if offset == CHANNELS:
            a.channels, a.channels_read = value, False
        elif SECTION0 <= offset < SECTION0 + 8 * SECTIONS:
            a.sections[(offset - SECTION0) // 8] = value

    # ---- section registers --------------------------------------------------------------------------------------------
    def write_section(self, a, key, n, value):
        before = a.sections[n]
        base = ((value & ~NETID) + (n << SECTION_SHIFT)) & MASK
        parked = base == PARKED
        if value == 0:
            self.bad("zero is not parked: it leads to low addresses of the lender")
        elif not parked and not 0 < base < USER_ADDRESSES:
            self.bad(f"neither parked nor (A - ({n} << 40)) | netid: it leads to {base:#x}")
        elif not parked and base % PAGE:
            self.bad(f"the arena's base {base:#x} is no page's address")
        if value != 0 and value & NETID not in (1, 2, 3):
            self.bad(f"netid {value & NETID:#x} names no port")
        online = [b for b in a.online if self.section_of(key, b) == n]
        if value != before and online:
            self.bad(f"the section has {len(online)} blocks online")
        if parked and a.in_use(n) and a.offlined[n] > a.quiesced:
            self.bad("parked without quiesce after the last block went offline")
        if value != 0 and not parked:
            self.check_mix(a, n, value)

    def check_mix(self, a, n, value):
        bonded = value & 3 == 3
        for m in range(SECTIONS):
            if m != n and a.in_use(m) and (a.sections[m] & 3 == 3) != bonded:
                self.bad(f"bonded and single are mixed: section {m} holds {a.sections[m]:#x}")

    # ---- channels -----------------------------------------------------------------------------------------------------
    def write_channels(self, a, key, value):
        before = a.channels
        if not a.channels_read:
            self.bad("written without reading it first")
        if (value ^ before) & ~CHANNEL_BITS:
            self.bad(f"analogue settings changed: they were {before & ~CHANNEL_BITS:#x}")
        up, down = value & ~before & CHANNEL_BITS, before & ~value & CHANNEL_BITS
        if up and down:
            self.bad("the other channel's bit was overwritten")
        if up and not a.memory:
            for n in range(SECTIONS):
                if a.sections[n] == 0:
                    self.bad(f"a channel leaves reset while section {n} is zero")
        for port in range(2):
            if down & 1 << port:
                self.channel_down(a, key, port)

    def channel_down(self, a, key, port):
        name = f"{key[0]}/{key[1]}/{port}"
        if a.memory:
            far = self.cabling.end_of(name)
            if not far:
                return
            node, adapter, number = far.split("/")
            a, port = self.adapter((node, adapter)), int(number)
        users = a.users_of(port)
        if users:
            self.bad(f"channel {name} goes into reset while section {users[0]} uses it")

    # ---- switches, blocks -----------------------------------------------------------------------------------------------
    def disconnect(self, switch, a, b):
        for end in set(self.cabling.ends_of_switch_port(f"{switch}/{a}")):
            node, adapter, number = end.split("/")
            users = self.adapter((node, adapter)).users_of(int(number))
            if users:
                self.bad(f"the circuit is cleared while section {users[0]} of {node}/{adapter} uses it")
        self.cabling.disconnect(switch, a, b)

    def block(self, a, key, op, addr):
        n = self.section_of(key, addr)
        if op == "offline":
            a.online.discard(addr)
            a.offlined[n] = self.entry["seq"]
            return
        if not a.in_use(n):
            self.bad(f"a block comes online before section {n} is mapped")
        elif ports_of(a.sections[n] & NETID) & ~a.channels:
            self.bad(f"a block comes online while a channel of section {n} is in reset")
        a.online.add(addr)


def check(lines, rack=None):
    checker = Checker(rack)
    for number, line in enumerate(lines, 1):
        if isinstance(line, str):
            if not line.strip():
                continue
            try:
                line = json.loads(line)
            except ValueError:
                checker.violations.append(f"line {number}: not JSON")
                continue
        checker.feed(line)
    return checker.violations


def check_file(path, rack_path=None):
    rack_path = rack_path or os.path.join(os.path.dirname(os.path.abspath(path)), "rack.json")
    rack = None
    if os.path.exists(rack_path):
        with open(rack_path, encoding="utf-8") as f:
            rack = json.load(f)
    with open(path, encoding="utf-8") as f:
        return check(f, rack)


def main(argv):
    if len(argv) not in (2, 3):
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 2
    violations = check_file(*argv[1:])
    for text in violations:
        print(text)
    print(f"{argv[1]}: {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
