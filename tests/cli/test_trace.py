"""ckpt dump --trace and inspect --trace: who did what, each LWP by itself."""

import os
import re
import subprocess
import time
import unittest

from harness import SMALL, Case, main

THREADS = """10 execve("./a", ["a"], 0x7ffe) = 0
10 pipe2([3, 4], 0) = 0
10 clone(child_stack=0x7f00, flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) = 11
11 clone(child_stack=NULL, flags=SIGCHLD) = 12
11 read(3,  <unfinished ...>
10 wait4(-1,  <unfinished ...>
"""

SHELL = """[front] 10 execve("./a", ["a"], 0x7ffe) = 0
[front] 10 clone(child_stack=NULL, flags=SIGCHLD) = 11
[front] 10 migrate("back", 11) = 0
[back] 11 setsid() = 11
"""


class Traced(Case):
    def lines(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read().splitlines()


class Trace(Traced):
    def test_replays(self):
        """[LWP-8] The trace of a history is a history of the same machine, with the same trace."""
        for log in (SMALL, THREADS):
            history = self.history(log)
            self.ok("dump", "--history", history, "-o", "a.ckpt", "--trace", "a.trace")
            self.ok("dump", "--history", "a.trace", "-o", "b.ckpt", "--trace", "b.trace")
            self.assertEqual(self.lines("a.trace"), self.lines("b.trace"))
            self.ok("diff", "a.ckpt", "b.ckpt")

    def test_every_line_has_its_lwp(self):
        """[LWP-1]"""
        self.ok("dump", "--history", self.history(THREADS), "-o", "a.ckpt", "--trace", "a.trace")
        lines = self.lines("a.trace")[2:]
        self.assertGreater(len(lines), 5)
        for time, line in enumerate(lines, 1):
            self.assertRegex(line, rf"^(# )?\d+/\d+ {time} ")
        self.assertTrue(any(line.startswith("10/11 ") for line in lines))

    def test_in_the_image(self):
        history = self.history(THREADS)
        self.ok("dump", "--history", history, "-o", "a.ckpt", "--trace", "a.trace")
        self.assertEqual(self.ok("inspect", "--trace", "a.ckpt").out.splitlines(),
                         self.lines("a.trace")[2:])
        records = self.ok("inspect", "--trace", "--json", "a.ckpt").json["trace"]
        self.assertEqual([r["time"] for r in records], list(range(1, len(records) + 1)))
        self.assertIn({"pid": 10, "lwp": 11, "note": False},
                      [{k: r[k] for k in ("pid", "lwp", "note")} for r in records])
        of_child = self.ok("inspect", "--trace", "--pid", "12", "a.ckpt").out.splitlines()
        self.assertTrue(of_child)
        self.assertTrue(all(re.match(r"(# )?12/", line) for line in of_child))
        self.ok("verify", "a.ckpt")

    def test_nodes(self):
        """[SSI-9] Where there are nodes each line says on which it was, and so does each record."""
        history = self.history(SHELL)
        self.ok("dump", "--history", history, "-o", "a.ckpt", "--trace", "a.trace")
        lines = self.lines("a.trace")
        self.assertIn("[front] 10/10 4 migrate(\"back\", 11) = 0", lines)
        self.assertIn("[back] 11/11 5 setsid() = 11", lines)
        self.ok("dump", "--history", "a.trace", "-o", "b.ckpt", "--trace", "b.trace")
        self.assertEqual(lines, self.lines("b.trace"))
        self.ok("diff", "a.ckpt", "b.ckpt")
        records = self.ok("inspect", "--trace", "--json", "a.ckpt").json["trace"]
        self.assertEqual({(r["pid"], r["node"]) for r in records},
                         {(10, "front"), (11, "front"), (11, "back")})
        of_child = self.ok("inspect", "--trace", "--pid", "11", "a.ckpt").out.splitlines()
        self.assertEqual(of_child, [line for line in lines if " 11/" in line])
        self.fails(1, "dump", "--history", self.history(SHELL + "[front] 11 getpid() = 11\n"),
                   says="line 5: process 11 is on node back, not on front")

    def test_without(self):
        history = self.history(SMALL)
        self.ok("dump", "--history", history, "-o", "a.ckpt")
        self.fails(1, "inspect", "--trace", "a.ckpt", says="dumped without one")
        self.ok("dump", "--history", history, "-o", "b.ckpt", "--trace", "b.trace")
        self.ok("diff", "a.ckpt", "b.ckpt")  # a trace is no difference

    def test_places(self):
        history = self.history(SMALL)
        done = self.ok("dump", "--history", history, "-o", "a.ckpt", "--trace", "-")
        self.assertIn("# trace: PID/LWP", done.out)
        self.fails(2, "dump", "--history", history, "-o", "-", "--trace", "-", says="both")
        self.fails(1, "dump", "--history", history, "-o", "b.ckpt", "--trace", "no/such/place",
                   says="cannot write trace")
        self.assertFalse(os.path.exists(self.path("b.ckpt")))
        self.fails(2, "dump", "--pid", "1", "--no-memory", "--leave-running", "--trace", "t",
                   says="--no-memory")

    def test_requests(self):
        """[LWP-4] Calls in flight are shown."""
        self.ok("dump", "--history", self.history(THREADS), "-o", "a.ckpt")
        tree = self.ok("inspect", "a.ckpt").out
        self.assertIn("[11: read from fd 3]", tree)
        self.assertIn("[10: wait for any child]", tree)
        tasks = {t["pid"]: t for t in self.ok("inspect", "--json", "a.ckpt").json["tasks"]}
        asked = {r["lwp"]: r for r in tasks[10]["requests"]}
        self.assertEqual((asked[11]["kind"], asked[11]["fd"]), ("read", 3))
        self.assertEqual((asked[10]["kind"], asked[10]["who"]), ("wait", "any"))
        self.assertNotIn("requests", tasks[12])
        restored = self.ok("restore", "--rehearse", "--json", "a.ckpt").json
        again = {t["pid"]: t.get("requests") for t in restored["tasks"]}
        self.assertEqual([r["kind"] for r in again[10]], ["read", "wait"])


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class Live(Traced):
    def test_calls_made_for_ckpt(self):
        """[LWP-1] Who stopped, and which threads made calls for ckpt."""
        threads = ("import threading, time; "
                   "threading.Thread(target=time.sleep, args=(1000,)).start(); time.sleep(1000)")
        null = subprocess.DEVNULL
        process = subprocess.Popen(["python3", "-I", "-S", "-c", threads], stdin=null, stdout=null,
                                   stderr=null, close_fds=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        tasks = f"/proc/{process.pid}/task"
        while len(os.listdir(tasks)) < 2:
            time.sleep(0.01)
        self.ok("dump", "--pid", process.pid, "--leave-running", "-o", "a.ckpt",
                "--trace", "a.trace")
        lines = self.lines("a.trace")[1:]
        for tid in os.listdir(tasks):
            who = rf"{process.pid}/{tid} \d+ "
            self.assertTrue(any(re.match(who + "--- stopped by", line) for line in lines), tid)
            self.assertTrue(any(re.match(who + r"sigaltstack\(.*\) = ", line) for line in lines), tid)
            self.assertTrue(any(re.match(who + r"prctl\(.*\) = ", line) for line in lines), tid)
        self.assertEqual(self.ok("inspect", "--trace", "a.ckpt").out.splitlines(), lines)
        calls = [line.split(" ", 2)[2] for line in lines]
        for signo in range(1, 65):
            self.assertEqual(len([c for c in calls
                                  if re.match(rf"rt_sigaction\({signo}, 0, 0x[0-9a-f]+, 8\) = 0$", c)]),
                             1, signo)
        self.assertEqual(len([c for c in calls if re.match(r"getrlimit\(\d+, 0x[0-9a-f]+\) = 0$", c)]),
                         16)
        # Each has unmapped what was mapped for it.
        self.assertEqual(len([c for c in calls if c.startswith("munmap(")]), 2)


if __name__ == "__main__":
    main()
