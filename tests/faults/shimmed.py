"""shimmed.py - a memlaned whose n-th write, sync, open or allocation fails, or whose writes are recorded: shim/shim.c, preloaded."""
import ctypes
import mmap
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
os.environ.setdefault("MEMLANE_BUILD", str(HERE.parent.parent / "build-faults"))
sys.path.insert(0, str(HERE.parent / "api"))
from fake_agent import GIB, FakeAgent  # noqa: E402, F401
from memlaned import Client, Memlaned  # noqa: E402, F401

OFF, IO, MALLOC, WAYS = 0, 1, 2, 3
WAYS_KEPT = 1 << 16
FIELDS = ("mode", "nth", "more", "code", "seen", "failed")


def build_shim(folder):
    path = pathlib.Path(folder) / "shim.so"
    subprocess.run(["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-o", str(path), str(HERE / "shim/shim.c"),
                    "-ldl"], check=True)
    return path


class Control:
    """The shim's struct control, shared with the process."""

    def __init__(self, path):
        path.write_bytes(bytes(8 * (len(FIELDS) + WAYS_KEPT)))
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), 8 * len(FIELDS))
        self.words = (ctypes.c_int64 * len(FIELDS)).from_buffer(self.map)

    def __getattr__(self, name):
        return self.words[FIELDS.index(name)]

    def off(self):
        self.words[0] = OFF

    def arm(self, mode, nth, code, more=0):
        """The nth call from now on fails with errno 'code', and 'more' after it; 0 only counts.  WAYS: the first allocation on a way
        (a call stack) that never failed before, whatever 'nth' is."""
        self.words[0] = OFF
        self.words[1], self.words[2], self.words[3], self.words[4], self.words[5] = nth, more, code, 0, 0
        self.words[0] = mode

    def close(self):
        del self.words
        self.map.close()
        self.file.close()


class Shimmed(Memlaned):
    def __init__(self, record=None, **options):
        self.tools = tempfile.TemporaryDirectory(prefix="ml-shim-")
        tools = pathlib.Path(self.tools.name)
        self.control = Control(tools / "control")
        self.environment = {"LD_PRELOAD": str(build_shim(tools)), "SHIM_CONTROL": str(tools / "control")}
        if record:
            self.environment["SHIM_RECORD"] = str(record)
        super().__init__(**options)

    def start(self):
        self.environment = {**self.environment, "SHIM_PREFIX": f"{self.dir}/"}
        super().start()
        self.started_at = time.monotonic()

    def log_end(self, characters=4000):
        return (self.dir / "log").read_text(errors="replace")[-characters:]

    def kill(self):
        """kill -9, and up again."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        self.log.close()
        self.start()

    def remove(self):
        self.control.off()
        found = re.search(r"^.*runtime error:.*$", (self.dir / "log").read_text(errors="replace"), re.M)
        super().remove()
        self.control.close()
        self.tools.cleanup()
        assert not found, f"the sanitizer reports: {found[0]}"
