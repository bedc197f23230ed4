"""ckpt inspect: every view, colours and terminals, JSON, damaged images."""

import json
import os
import re
import struct
import subprocess

from harness import GHOST, SMALL, Case, environment, main
from image_file import image_file, record_stream

ESCAPE = re.compile(r"\033\[[0-9;]*m")


class Views(Case):
    def test_summary_and_tree(self):
        out = self.ok("inspect", self.image()).out
        self.assertRegex(out, r"(?m)^source +a history")
        self.assertRegex(out, r"(?m)^processes +2: 2 running$")
        self.assertRegex(out, r"(?m)^PID +GROUP +SESSION +STATE +COMMAND$")
        self.assertRegex(out, r"(?m)^101 +101 +\S+ +running +└─ sleep$")
        self.assertNotIn("\033", out)

    def test_ascii(self):
        out = self.ok("inspect", self.image(), env=environment(LC_ALL="C")).out
        self.assertTrue(out.isascii())
        self.assertIn("`- sleep", out)

    def test_ghost(self):
        out = self.ok("inspect", "--tree", self.image(GHOST)).out
        self.assertRegex(out, r"(?m)^102 +101† +101† +running +└─ sh$")
        self.assertRegex(out, r"(?m)^101† +dead leader of a session of 1 process and of a group")
        self.assertNotIn("processes ", out.splitlines()[0])

    def test_pids(self):
        out = self.ok("inspect", "--pids", self.image(GHOST)).out
        self.assertRegex(out, r"(?m)^ *\d+ +101 +ghost, group of 1, session of 1$")
        self.assertRegex(out, r"(?m)^ *\d+ +102 +process sh$")

    def test_fds(self):
        out = self.ok("inspect", "--fds", self.image()).out
        self.assertRegex(
            out, r"(?m)^ +3 +rw +live +0 +regular +/var/log/job.log O_APPEND")
        self.assertRegex(out, r"(?m)^ +3 +r +live +42 +regular +/etc/motd")

    def test_records(self):
        image = self.image()
        lines = self.ok("inspect", "--records", image).out.splitlines()
        names = [line.split()[2] for line in lines]
        self.assertEqual(names[0], "HEADER")
        self.assertEqual(names[-1], "TAIL")
        self.assertEqual(names.count("TASK"), 2)
        plain = subprocess.run(["zstd", "-dcq", image], capture_output=True, check=True).stdout
        last = lines[-1].split()
        self.assertEqual(int(last[1]) + 16, len(plain))
        one = self.ok("inspect", "--records", "--pid", "101", image).out
        self.assertEqual([x.split()[2] for x in one.splitlines()].count("TASK"), 1)
        self.assertIn('"sleep"', one)
        records = self.ok("inspect", "--records", "--json", image).json["records"]
        self.assertEqual([r["name"] for r in records], names)

    def test_one_process(self):
        image = self.image()
        self.assertNotIn("100 ", self.ok("inspect", "--fds", "--pid", "101", image).out)
        got = self.ok("inspect", "--json", "--pid", "101", image).json
        self.assertEqual([t["pid"] for t in got["tasks"]], [101])
        paths = [f["path"] for f in got["files"]]
        self.assertIn("/var/log/job.log", paths)
        self.assertNotIn("/etc/motd", paths)
        tree = self.ok("inspect", "--tree", "--pid", "101", image).out
        self.assertRegex(tree, r"\APID .*\n101 .* sleep\n(\n|\Z)")
        self.fails(1, "inspect", "--pid", "999", image, says="pid 999")
        self.fails(1, "inspect", "--records", "--pid", "999", image, says="pid 999")

    def test_escapes(self):
        """What a process calls itself cannot steer the terminal."""
        log = SMALL + '101  prctl(PR_SET_NAME, "a\\33[31mb\\nc") = 0\n'
        image = self.image(log)
        for args in ([], ["--tree"], ["--pids"], ["--fds"], ["--records"]):
            out = self.ok("inspect", *args, image).out
            self.assertNotIn("\033", out)
            self.assertNotIn("\nc", out)
        self.assertIn("a\\033[31mb\\nc", self.ok("inspect", "--tree", image).out)
        comms = [t["comm"] for t in self.ok("inspect", "--json", image).json["tasks"]]
        self.assertIn("a\033[31mb\nc", comms)

    def test_stdin(self):
        with open(self.image(), "rb") as f:
            image = f.read()
        from_pipe = self.ok("inspect", "--tree", "-", stdin=image)
        self.assertEqual(from_pipe.out, self.ok("inspect", "--tree", "t.ckpt").out)


class Json(Case):
    def test_schema(self):
        got = self.ok("inspect", "--json", self.image()).json
        self.assertEqual(got["format"], {"major": 1, "minor": 0})
        self.assertEqual((got["source"], got["mode"]), ("history", "subtree"))
        for ns in got["namespaces"]:
            self.assertLessEqual({"id", "parent", "level"}, ns.keys())
        self.assertEqual([(n["id"], n["parent"], n["level"]) for n in got["namespaces"]], [(0, None, 0)])
        for pid in got["pids"]:
            self.assertLessEqual({"ref", "numbers", "namespaces", "ghost"}, pid.keys())
        self.assertEqual([p["numbers"] for p in got["pids"]], [[100], [101]])
        root, child = got["tasks"]
        for task in (root, child):
            self.assertLessEqual({"pid", "ppid", "tgid", "pgid", "sid", "numbers", "comm", "state",
                                  "lwps", "fds"}, task.keys())
        self.assertEqual((root["ppid"], child["ppid"], child["pgid"]), (0, 100, 101))
        self.assertEqual((root["pgid"], root["sid"], child["sid"]), (0, 0, 0))
        self.assertEqual(child["lwps"], [101])
        files = {f["ref"]: f for f in got["files"]}
        fd = next(f for f in root["fds"] if f["fd"] == 3)
        self.assertEqual((fd["cloexec"], fd["state"]), (False, "live"))
        motd = files[fd["file"]]
        self.assertEqual((motd["type"], motd["path"], motd["flags"], motd["offset"]),
                         ("regular", "/etc/motd", ["O_RDONLY"], 42))

    def test_ghost(self):
        got = self.ok("inspect", "--json", self.image(GHOST)).json
        self.assertEqual([(p["numbers"], p["ghost"]) for p in got["pids"] if p["ghost"]],
                         [([101], True)])
        child = got["tasks"][1]
        self.assertEqual((child["pid"], child["ppid"], child["pgid"], child["sid"]),
                         (102, 100, 101, 101))

    def test_error(self):
        done = self.fails(1, "inspect", "--json", "none.ckpt", says="No such file")
        error = done.json["error"]
        self.assertEqual((error["kind"], error["exit"], error["errno"]), ("cannot", 1, 2))


class Colours(Case):
    def test_piped(self):
        self.assertNotIn("\033", self.ok("inspect", self.image()).out)
        out = self.ok("inspect", "--color=always", "t.ckpt").out
        self.assertIn("\033[", out)
        self.assertEqual(ESCAPE.sub("", out), self.ok("inspect", "t.ckpt").out)

    def test_terminal(self):
        image = self.image()
        plain = self.ok("inspect", image).out
        for args, env, coloured in (
                ([], {}, True), (["--color=never"], {}, False), ([], {"NO_COLOR": "1"}, False),
                ([], {"NO_COLOR": ""}, True), (["--color=always"], {"NO_COLOR": "1"}, True),
                ([], {"TERM": "dumb"}, False)):
            done = self.terminal("inspect", *args, image, env=environment(**env))
            self.assertEqual(done.code, 0)
            self.assertEqual("\033[" in done.out, coloured, (args, env))
            self.assertEqual(ESCAPE.sub("", done.out).replace("\r\n", "\n"), plain)

    def test_image_is_not_typed(self):
        done = self.terminal("inspect", "-", stdin_tty=True)
        self.assertEqual(done.code, 2)


class Trouble(Case):
    def test_missing(self):
        self.fails(1, "inspect", "none.ckpt", says="none.ckpt: No such file or directory")
        self.fails(1, "inspect", ".", says="directory")

    def test_no_permission(self):
        done = self.as_nobody("inspect", self.image())
        self.assertEqual(done.code, 1)
        self.assertRegex(done.err, r"^ckpt: inspect: .*Permission denied \(.+\)\n$")

    def test_no_image(self):
        for data in (b"", b"hello, world\n" * 100, b"\x28\xb5\x2f\xfd", os.urandom(5000)):
            with open(self.path("bad"), "wb") as f:
                f.write(data)
            for view in ([], ["--tree"], ["--pids"], ["--fds"], ["--records"], ["--json"]):
                done = self.fails(3, "inspect", *view, "bad", says="bad")
                self.assertEqual(len(done.err.splitlines()), 1)

    def test_truncated_and_flipped(self):
        with open(self.image(), "rb") as f:
            whole = f.read()
        for n in range(0, len(whole), 7):
            done = self.fails(3, "inspect", "-", stdin=whole[:n])
            self.assertRegex(done.err, r"offset \d+")
        for bit in range(0, len(whole) * 8, 61):
            data = bytearray(whole)
            data[bit // 8] ^= 1 << bit % 8
            self.fails(3, "inspect", "--json", "-", stdin=bytes(data))

    def test_records_up_to_the_damage(self):
        """A record in the middle is wrong; those before it are shown, then the error."""
        with open(self.image(), "rb") as f:
            plain = bytearray(record_stream(f.read()))
        struct.pack_into("<I", plain, plain.index(struct.pack("<II", 102, 16)) + 4, 3)  # TREE's length
        bad = image_file(bytes(plain), count=7)
        done = self.fails(3, "inspect", "--records", "-", stdin=bad, says="TREE")
        self.assertEqual([line.split()[2] for line in done.out.splitlines()],
                         ["HEADER"] + ["BUFFER"] * 4 + ["PIDS", "BUFFER"])
        done = self.ckpt("inspect", "--records", "--json", "-", stdin=bad)
        self.assertEqual(done.code, 3)
        got = json.loads(done.out)
        self.assertEqual(len(got["records"]), 7)
        self.assertEqual(got["error"]["kind"], "damaged")
        self.assertIsInstance(got["error"]["offset"], int)


if __name__ == "__main__":
    main()
