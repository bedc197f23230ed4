"""Wrong usage: exit code 2, one line, a hint. Help and version; the manual says what --help says."""

import os
import re
import subprocess

from harness import CKPT, SOURCE, Case, environment, main

COMMANDS = ["dump", "restore", "inspect", "diff", "verify"]


class Usage(Case):
    def usage(self, *args, says="", hint=""):
        done = self.fails(2, *args, says=says)
        self.assertEqual(len(done.err.splitlines()), 1, done.err)
        self.assertIn(hint, done.err)
        self.assertEqual(done.raw, b"")
        return done

    def test_nothing(self):
        self.usage(says="no command", hint="ckpt --help")

    def test_unknown_command(self):
        self.usage("dmup", says="unknown command dmup", hint="did you mean dump?")
        self.usage("restor", hint="did you mean restore?")
        self.usage("xyzzy", hint="see ckpt --help")
        self.usage("--frob", says="unknown option --frob", hint="--help")

    def test_unknown_option(self):
        self.usage("inspect", "--tre", "x", says="--tre", hint="did you mean --tree?")
        self.usage("inspect", "--record", "x", hint="did you mean --records?")
        self.usage("inspect", "--zzz", "x", says="unknown option --zzz", hint="ckpt inspect --help")
        self.usage("inspect", "-Z", "x", says="unknown option -Z")
        self.usage("dump", "--leave-runing", "--pid", "1", hint="did you mean --leave-running?")

    def test_size(self):
        for bad in ("x", "1k", "-1", "1.5G", "M", "99999999999G", "5MB"):
            self.usage("dump", "--pid", "1", f"--deleted-limit={bad}", says="no number of bytes")
        self.usage("dump", "--history", "x", "--deleted-limit", "1M", says="is for --pid")
        self.usage("dump", "--pid", "1", "--no-memory", "--deleted-limit", "1M", says="--no-memory")

    def test_pid(self):
        for bad in ("abc", "", "0", "12x", "99999999999999999999", "4194305", "1.5", " 1"):
            self.usage("dump", "--leave-running", f"--pid={bad}", says="--pid")
        self.usage("dump", "--leave-running", "--pid", "-1")
        self.usage("dump", "--pid", says="needs a value")
        self.usage("inspect", "--pid", "abc", "x", says="'abc'")

    def test_values(self):
        self.usage("inspect", "--color=blue", "x", says="'blue'", hint="auto, always or never")
        self.usage("inspect", "--tree=yes", "x", says="takes no value")
        self.usage("dump", "--history", "x", "--at", "0", says="--at")
        self.usage("dump", "--history", "x", "--at", "one", says="'one'")
        self.usage("inspect", "--pid", "1", "--pid", "2", "x", says="twice")

    def test_combinations(self):
        self.usage("dump", says="nothing to dump")
        self.usage("dump", "--pid", "1", "--history", "x", says="exclude each other")
        self.usage("dump", "--container", "--subtree", "--pid", "1", says="exclude each other")
        self.usage("dump", "--leave-running", "--leave-stopped", "--pid", "1",
                   says="exclude each other")
        self.usage("dump", "--pid", "1", "--leave-running", "--at", "3", says="--at needs --history")
        self.usage("dump", "--history", "x", "--leave-running", says="--leave-running is for --pid")
        self.usage("restore", "--plan", "--rehearse", "x", says="exclude each other")
        self.usage("inspect", "--tree", "--fds", "x", says="exclude each other")
        self.usage("inspect", "-q", "-v", "x", says="exclude each other")

    def test_operands(self):
        self.usage("inspect", says="no IMAGE given")
        self.usage("inspect", "a", "b", says="one argument too many")
        self.usage("restore", says="no IMAGE given")
        self.usage("verify", says="no IMAGE given")
        self.usage("diff", "a", says="two images")
        self.usage("diff", "a", "b", "c", says="one argument too many")
        self.usage("diff", "-", "-", says="only one image")
        self.usage("dump", "--pid", "1", "extra", says="one argument too many")

    def test_json_error(self):
        done = self.ckpt("inspect", "--json", "--zzz", "x")
        self.assertEqual(done.code, 2)
        self.assertEqual(done.json["error"]["kind"], "usage")
        self.assertEqual(done.json["error"]["exit"], 2)
        self.assertIn("--zzz", done.json["error"]["what"])


class Help(Case):
    def options(self, command):
        return re.findall(r"--([a-z-]+)", re.sub(r"(?s)^.*\nOptions:\n", "", "\n".join(
            line[:24] for line in self.ok(command, "--help").out.splitlines())))

    def test_help(self):
        for args in (["--help"], ["-h"], ["help"]):
            done = self.ok(*args)
            self.assertEqual(done.err, "")
            for command in COMMANDS:
                self.assertIn(f"ckpt {command}", done.out)
        for command in COMMANDS:
            done = self.ok(command, "--help")
            self.assertEqual(done.out, self.ok("help", command).out)
            self.assertEqual(done.out, self.ok(command, "-h").out)
            self.assertTrue(done.out.startswith(f"Usage: ckpt {command} "))
            self.assertLessEqual(max(map(len, done.out.splitlines())), 100)

    def test_version(self):
        done = self.ok("--version")
        self.assertRegex(done.out, r"^ckpt \d+\.\d+\.\d+ \(image format \d+\.\d+\)\n$")

    def test_manual(self):
        """Every option of --help is in the manual, under its command, and the other way round."""
        with open(os.path.join(SOURCE, "cli/ckpt.1"), encoding="utf-8") as f:
            text = f.read()
        sections = dict(re.findall(r"(?ms)^\.Ss (.*?)\n(.*?)(?=^\.S[sh] |\Z)", text))

        def documented(section):
            items = re.findall(r"(?m)^\.It Fl (.*)$", section)
            return {m.replace("\\-", "") for item in items
                    for m in re.findall(r"\\-([a-z-]+(?:\\-[a-z]+)*)", item)}

        common = documented(sections["Options of all commands"])
        self.assertEqual(common, {"quiet", "verbose", "color", "help"})
        for command in COMMANDS:
            own = documented(sections[f"ckpt {command}"])
            listed = set(self.options(command))
            self.assertEqual(own, listed - common, command)
            missing = common - listed
            self.assertEqual(missing, set(), command)


class Streams(Case):
    def test_write_errors(self):
        image = self.image()
        for args in (["--help"], ["--version"], ["inspect", image], ["inspect", "--json", image],
                     ["restore", "--plan", image], ["verify", image]):
            with open("/dev/full", "wb") as full:
                done = self.ckpt(*args, stdout=full)
            self.assertEqual(done.code, 1, args)
            self.assertIn("cannot write to standard output: No space left on device", done.err)

    def test_closed_output(self):
        image = self.image()
        done = self.ckpt("inspect", image, preexec_fn=lambda: os.close(1), stdout=None)
        self.assertEqual(done.code, 1)
        self.assertIn("cannot write to standard output", done.err)

    def test_reader_gone(self):
        image = self.image()
        for restore in (True, False):  # SIGPIPE as usual, and ignored
            r, w = os.pipe()
            os.close(r)
            p = subprocess.run([CKPT, "inspect", image], stdout=w,
                               stderr=subprocess.PIPE, restore_signals=restore, check=False,
                               env=environment())
            os.close(w)
            self.assertEqual(p.stderr, b"")
            self.assertNotEqual(p.returncode, 0)


if __name__ == "__main__":
    main()
