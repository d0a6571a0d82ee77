"""deploy/rack down: what goes, and what stays because somebody else made it."""
import subprocess
import unittest

from harness import RACK_COMMAND, Rack


def rack_command(*words):
    return subprocess.run([*RACK_COMMAND, *map(str, words)], capture_output=True, text=True, timeout=60)


class Down(unittest.TestCase):
    def test_what_the_rack_did_not_make_outlives_it(self):
        with Rack("pair", check_trace=False) as rack:
            rack.api.close_all()
            (rack.dir / "before.db").write_text("a backup")
            (rack.dir / "notes").mkdir()
            (rack.dir / "notes" / "one").write_text("a note")
            for said in "removed admin.token, ", "was down before":
                done = rack_command("down", "--dir", rack.dir)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(said, done.stdout)
                self.assertIn("kept, not the rack's own: before.db, notes\n", done.stdout)
                self.assertEqual({p.name for p in rack.dir.iterdir()}, {".memlane-rack", "before.db", "notes", "log", "trace.jsonl"})
            up = rack_command("up", "--rack", rack.rack_file, "--dir", rack.dir, "--port", "0")
            self.assertEqual(up.returncode, 0, up.stderr)
            self.assertEqual((rack.dir / "before.db").read_text() + (rack.dir / "notes" / "one").read_text(), "a backupa note")

    def test_a_directory_without_a_rack_is_left_alone(self):
        done = rack_command("down", "--dir", "/nonexistent")
        self.assertEqual((done.returncode, done.stdout), (0, "/nonexistent: no rack is there\n"))


if __name__ == "__main__":
    unittest.main()
