"""ckpt verify: good, damaged, unreadable; the worst of several decides."""

import os
import resource
import struct

from harness import GHOST, Case, main
from image_file import image_file, record_stream


class Verify(Case):
    def test_good(self):
        a, b = self.image(name="a"), self.image(GHOST, name="b")
        done = self.ok("verify", a, b)
        self.assertEqual(len(done.out.splitlines()), 2)
        for line in done.out.splitlines():
            self.assertRegex(line, r"^\S+: OK, \d+ tasks, .*, restore rehearsed in \d+ steps$")
        self.assertEqual(self.ok("verify", "-q", a, b).out, "")

    def test_verbose(self):
        done = self.ok("verify", "-v", self.image(name="a"))
        self.assertRegex(done.out, r"; format 1\.\d+, a history, subtree, 2 pids, 1 pid namespace, ")

    def test_worst_decides(self):
        good = self.image(name="good")
        with open(good, "rb") as f:
            data = f.read()
        with open(self.path("bad"), "wb") as f:
            f.write(data[:-30])
        done = self.ckpt("verify", "none", "bad", "good")
        self.assertEqual(done.code, 3)
        self.assertEqual(len(done.err.splitlines()), 2)
        self.assertIn("good: OK", done.out)
        self.assertEqual(self.ckpt("verify", "none", "good").code, 1)

    def test_hints(self):
        """Every error says what to do."""
        good = self.image(name="good")
        with open(good, "rb") as f:
            data = f.read()
        for bad, hint in ((b"", "ckpt dump makes"), (b"x" * 100, "ckpt dump makes"),
                          (data[:-9], "another copy"), (data[:70], "another copy")):
            done = self.fails(3, "verify", "-", stdin=bad, says=hint)
            self.assertRegex(done.err, r"offset \d+.*\(.+\)\n$")
        done = self.fails(3, "verify", "-", stdin=b"")
        self.assertNotIn("readable up to", done.err)

    def test_trailing_bytes(self):
        good = self.image(name="good")
        with open(good, "ab") as f:
            f.write(b"x")
        self.fails(3, "verify", "good")

    def test_newer_version(self):
        """An image of a later format is refused, and the versions are named."""
        with open(self.image(name="old"), "rb") as f:
            plain = bytearray(record_stream(f.read()))
        self.ok("verify", "-", stdin=image_file(bytes(plain)))
        done = self.fails(3, "verify", "-", stdin=image_file(bytes(plain), major=9), says="version")
        self.assertIn("9.0", done.err)
        struct.pack_into("<H", plain, 8 + 64, 9)  # HEADER's format_major
        done = self.fails(3, "verify", "-", stdin=image_file(bytes(plain)), says="version")
        self.assertIn("9.0", done.err)
        self.assertIn("1.0", done.err)

    def test_right_checksums_wrong_records(self):
        """Damage that no checksum shows."""
        with open(self.image(GHOST, name="good"), "rb") as f:
            plain = record_stream(f.read())
        at = tree = plain.index(struct.pack("<II", 102, 16))
        at = tree + 16 + 8  # the first TREE entry: pid, ppid, tgid, pgid, sid, depth
        for field, value in ((0, 77), (1, 2), (2, 77), (3, -5), (4, 99), (5, 1)):
            bad = bytearray(plain)
            struct.pack_into("<i", bad, at + 24 + 4 * field, value)  # of the second task
            for args in (["verify"], ["inspect"], ["inspect", "--json"], ["restore", "--plan"]):
                self.fails(3, *args, "-", stdin=image_file(bytes(bad)))

    def test_a_bomb_of_pids(self):
        """What only compression makes cheap: more pids than Linux can have, in 10 KiB."""
        with open(self.image(name="good"), "rb") as f:
            plain = record_stream(f.read())
        at = plain.index(struct.pack("<II", 101, 24))
        count = 7 << 20
        bomb = plain[:at] + struct.pack("<IIIIII", 101, 24, count, 0, 1, 0)
        bomb += struct.pack("<II", 4, 8 + 8 * count) + b"\0\0\0\0\1\0\0\0" * count
        with open(self.path("bomb"), "wb") as f:
            f.write(image_file(bomb))
        self.assertLess(os.path.getsize(self.path("bomb")), 16 << 10)
        self.fails(3, "verify", "bomb", says=f"nr_pids {count} is above 4194304")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # KiB
        self.assertLess(peak, 300 << 10)


if __name__ == "__main__":
    main()
