"""Fault points are in test builds, and leave nothing in any other."""
import os
import pathlib
import re
import subprocess
import unittest

from faultrack import BUILD, REPO

PROGRAMS = ("memlaned", "memlane-agent", "memlane-lender")
TRACES = re.compile(rb"MEMLANE_FAULT_DIR|child\.online|kill-parent|alloc\.before")


def traces(program):
    """Names and strings of fault points in a program."""
    symbols = subprocess.run(["nm", str(program)], capture_output=True, check=True).stdout
    return set(re.findall(rb"fault_point", symbols)) | set(TRACES.findall(program.read_bytes()))


class FaultPoints(unittest.TestCase):
    def test_are_in_the_test_build(self):
        for name in PROGRAMS:
            self.assertLessEqual({b"MEMLANE_FAULT_DIR", b"fault_point"}, traces(BUILD / "bin" / name), name)

    def test_leave_nothing_in_the_release_build(self):
        release = pathlib.Path(os.environ.get("MEMLANE_RELEASE_BUILD") or REPO / "build")
        if not (release / "bin" / "memlaned").exists():
            self.skipTest("there is no release build")
        for name in PROGRAMS:
            self.assertEqual(traces(release / "bin" / name), set(), name)


if __name__ == "__main__":
    unittest.main()
