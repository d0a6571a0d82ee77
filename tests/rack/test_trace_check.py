"""The checker of register traces: silent about a correct life of an attachment, and loud about each violation planted in it."""
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from trace_check import check, check_file  # noqa: E402

WINDOW = 0x0002000000000000
BLOCK = 256 << 20
PARKED = 0x4000000000000000
MASK = (1 << 64) - 1
ARENA = 0x7F1200000000
RACK = {
    "nodes": [
        {"name": "a", "adapters": [{"name": "afu0", "role": "compute", "window_addr": hex(WINDOW)}]},
        {"name": "b", "adapters": [{"name": "afu1", "role": "memory"}]},
    ],
    "links": [{"a": "a/afu0/0", "b": "ocs/1"}, {"a": "b/afu1/0", "b": "ocs/2"}, {"a": "a/afu0/1", "b": "b/afu1/1"}],
}


def parked(n, netid=1):
    return (PARKED - (n << 40)) & MASK | netid


def mapped(n, netid=1, base=ARENA):
    return (base - (n << 40)) & MASK | netid


class Trace:
    """Builds a trace; every step is one that the hardware allows unless a test asks for another."""

    def __init__(self):
        self.lines = []
        self.add("reset", "a", "afu0", 0, 0)
        self.add("reset", "b", "afu1", 0, 1)

    def add(self, op, node="a", adapter="afu0", offset=0, value=0, ok=True):
        self.lines.append({"seq": len(self.lines) + 1, "t_ns": len(self.lines), "node": node, "adapter": adapter, "op": op,
                           "offset": hex(offset), "value": hex(value), "ok": ok})
        return self

    def write(self, offset, value, node="a", adapter="afu0"):
        return self.add("write", node, adapter, offset, value)

    def channels(self, before, after, node="a", adapter="afu0"):
        return self.add("read", node, adapter, 0x78, before).write(0x78, after, node, adapter)

    def connect(self):
        self.write(0, 1, "b", "afu1").add("connect", "ocs", "", 1, 2)
        self.channels(0, 1, "b", "afu1")
        for n in range(8):
            self.write(0x20 + 8 * n, parked(n))
        return self.channels(0, 1)

    def map(self, section=1, netid=1):
        return self.write(0x20 + 8 * section, mapped(section, netid))

    def block(self, op, index=0, section=1):
        return self.add(op, value=WINDOW + (section << 40) + index * BLOCK)

    def attach(self):
        return self.connect().map().block("online").block("online", 1)

    def detach(self):
        self.block("offline", 1).block("offline").add("quiesce").write(0x28, parked(1))
        self.channels(1, 0).channels(1, 0, "b", "afu1")
        return self.add("disconnect", "ocs", "", 1, 2)

    def check(self, rack=RACK):
        return check([json.dumps(e) for e in self.lines], rack)


class TraceCheck(unittest.TestCase):
    def one(self, trace, text):
        violations = trace.check()
        self.assertEqual(len(violations), 1, violations)
        self.assertIn(text, violations[0])

    def test_a_correct_life_is_silent_twice_and_after_a_reboot(self):
        t = Trace().attach().detach()
        t.channels(0, 1, "b", "afu1").add("connect", "ocs", "", 1, 2).channels(0, 1).map().block("online")
        t.add("power_off", "a", "").add("reset", "a", "afu0", 0, 0).add("power_on", "a", "")
        for n in range(8):
            t.write(0x20 + 8 * n, parked(n))
        self.assertEqual(t.channels(0, 1).check(), [])
        self.assertEqual(t.check(rack=None), [])

    def test_unimplemented_offsets(self):
        for offset in (0x80, 0xF8, 0x120, 0x1F8, 0x300, 0x7FFF8, 0x80020, 0x04, 0x61):
            self.one(Trace().add("read", offset=offset, ok=False), "implemented")
            self.one(Trace().add("write", offset=offset), "implemented")

    def test_read_only_registers(self):
        for offset in (0x60, 0x68, 0x70, 0x100, 0x110, 0x118):
            self.one(Trace().write(offset, 0), "read-only")

    def test_control_with_garbage(self):
        self.one(Trace().write(0, 0x7FFF00000001), "control")

    def test_section_zero(self):
        self.one(Trace().attach().detach().write(0x28, 0), "zero")

    def test_section_value_of_another_form(self):
        self.one(Trace().connect().write(0x28, ARENA | 1), "leads to")  # section bits not taken off, base far from zero
        self.one(Trace().connect().write(0x28, parked(2)), "leads to")  # parked, but for another section
        self.one(Trace().connect().write(0x28, mapped(1, base=ARENA + 0x40)), "page")

    def test_netid_that_names_no_port(self):
        self.one(Trace().connect().write(0x28, mapped(1, netid=0)), "netid")
        self.one(Trace().connect().write(0x28, mapped(1, netid=0x21)), "netid")

    def test_channel_out_of_reset_before_parking(self):
        t = Trace()
        for n in range(7):
            t.write(0x20 + 8 * n, parked(n))
        self.one(t.channels(0, 1), "section 7 is zero")

    def test_channel_without_read_modify_write(self):
        t = Trace().connect()
        self.one(t.write(0x78, 3), "without reading")

    def test_other_channels_bit(self):
        self.one(Trace().connect().channels(1, 2), "other channel")

    def test_analogue_bits(self):
        t = Trace().add("plant", offset=0x78, value=0xABC << 8)
        for n in range(8):
            t.write(0x20 + 8 * n, parked(n))
        self.one(t.channels(0xABC << 8, 1), "analogue")

    def test_section_changed_while_online(self):
        self.one(Trace().attach().write(0x28, mapped(1, base=ARENA + (1 << 30))), "blocks online")
        self.one(Trace().attach().block("offline").add("quiesce").write(0x28, parked(1)), "1 blocks online")
        self.assertEqual(Trace().attach().write(0x28, mapped(1)).check(), [])  # the same value changes nothing

    def test_channel_reset_while_a_section_uses_it(self):
        self.one(Trace().attach().channels(1, 0), "uses it")
        self.one(Trace().attach().channels(1, 0, "b", "afu1"), "b/afu1/0 goes into reset while section 1")

    def test_circuit_cleared_while_a_section_uses_it(self):
        self.one(Trace().attach().add("disconnect", "ocs", "", 1, 2), "cleared while section 1 of a/afu0")

    def test_bonded_and_single_mixed(self):
        self.one(Trace().connect().channels(1, 3).map(1, 1).map(2, 3), "mixed")

    def test_online_before_mapped(self):
        self.one(Trace().connect().block("online"), "before section 1 is mapped")

    def test_online_with_the_channel_in_reset(self):
        self.one(Trace().connect().map(1, 2).block("online"), "in reset")

    def test_parked_without_quiesce(self):
        t = Trace().attach().block("offline").add("quiesce").block("offline", 1)
        self.one(t.write(0x28, parked(1)), "without quiesce")

    def test_lost_line(self):
        t = Trace().attach().detach()
        del t.lines[5]
        self.assertIn("incomplete", t.check()[0])

    def test_unknown_operation_and_broken_line(self):
        self.one(Trace().add("wish"), "does not know")
        self.assertEqual(len(check(["{"])), 1)

    def test_files_are_checked_with_the_rack_beside_them(self):
        with tempfile.TemporaryDirectory() as d:
            with open(os.path.join(d, "rack.json"), "w") as f:
                json.dump(RACK, f)
            path = os.path.join(d, "trace.jsonl")
            with open(path, "w") as f:
                f.writelines(json.dumps(e) + "\n" for e in Trace().attach().channels(1, 0, "b", "afu1").lines)
            self.assertEqual(len(check_file(path)), 1)


if __name__ == "__main__":
    unittest.main()
