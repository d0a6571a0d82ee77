"""sanitized.py - the main job once more, with the programs built by a sanitizer: `MEMLANE_BUILD=build-asan python3 -m unittest sanitized`.

Racks come up, borrow, restart and go down; then nobody may have reported anything (harness.assert_no_reports).  A build with
the thread sanitizer runs the lender of the release build: it has one thread, and its arenas lie where that sanitizer wants room.
"""
import os
import pathlib
import shutil
import tempfile
import unittest

import harness
from harness import GIB, REPO, Rack, eventually


def mixed(build):
    """A build directory with the lender, and the library that it loads, of the release build."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ml-mixed-", dir="/tmp"))
    release = pathlib.Path(os.environ.get("MEMLANE_RELEASE_BUILD") or REPO / "build")
    (folder / "bin").mkdir()
    for program in ("memlaned", "memlane-agent", "memlane-emulator", "memlane"):
        shutil.copy(build / "bin" / program, folder / "bin")
    shutil.copy(release / "bin" / "memlane-lender", folder / "bin")
    shutil.copytree(release / "lib" / "emulated", folder / "lib" / "emulated")
    return folder


class Sanitized(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if "tsan" in harness.BUILD.name:
            harness.BUILD = mixed(harness.BUILD)
            cls.addClassCleanup(shutil.rmtree, harness.BUILD)

    def test_pair_borrows_both_ways_and_gives_back(self):
        with Rack("pair", options=["--timeout", "120"]) as rack:
            for _ in range(2):
                found = [rack.attach("a", GIB), rack.attach("b", 1), rack.attach("a", 1)]
                for a in found:
                    rack.detach(a["id"])
            eventually("nothing is left", lambda: not rack.live())

    def test_star8_bonded_and_shared_over_restarts(self):
        with Rack("star8", options=["--timeout", "180"]) as rack:
            found = [rack.attach("n1", GIB, donor="n4"), rack.attach("n1", 1, donor="n4"), rack.attach("n2", GIB, donor="n5", channels=2)]
            rack.kill("agent-n4")
            rack.kill("memlaned")
            eventually("all are ready again", lambda: all(n["state"] == "ready" for n in rack.api.items("/v1/nodes")), 60)
            rack.api.items("/v1/events?after=0")
            rack.api.raw("GET", "/metrics")
            for a in found:
                rack.detach(a["id"])


if __name__ == "__main__":
    unittest.main()
