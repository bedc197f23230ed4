"""ckpt dump: live trees and histories, where the image goes, what is refused."""

import glob
import os
import signal
import stat
import subprocess
import time

from harness import CKPT, GHOST, SMALL, Case, environment, main


class Live(Case):
    def test_leave_running(self):
        tree = self.live_tree()
        before = tree.members()
        done = self.ok("dump", "--no-memory", "--pid", tree.pid, "--leave-running", "-o", "t.ckpt")
        self.assertIn("subtree: task", done.err)
        self.assertIn("5 tasks in 5 processes", done.err)
        self.assertEqual(done.raw, b"")
        self.assertEqual(before.keys(), tree.members().keys())
        got = self.ok("inspect", "--json", "t.ckpt").json
        self.assertEqual(got["source"], "host")
        self.assertEqual(got["mode"], "subtree")
        self.assertLess(abs(got["time"] - time.time()), 60)
        tasks = {t["pid"]: (t["comm"], t["ppid"], t["pgid"], t["sid"]) for t in got["tasks"]}
        expected = {pid: (comm, 0 if pid == tree.pid else ppid, pgid, sid)
                    for pid, (comm, _, ppid, pgid, sid) in before.items()}
        self.assertEqual(tasks, expected)

    def test_quiet(self):
        tree = self.live_tree()
        done = self.ok("dump", "--no-memory", "--pid", tree.pid, "--leave-running", "-q", "-o", "t.ckpt")
        self.assertEqual((done.raw, done.err), (b"", ""))

    def test_refuses_to_end(self):
        tree = self.live_tree()
        self.fails(1, "dump", "--no-memory", "--pid", tree.pid, "-o", "t.ckpt", says="--leave-running")
        self.assertEqual(len(tree.members()), 5)
        self.assertEqual(os.listdir(self.dir), [])

    def test_leave_stopped(self):
        tree = self.live_tree()
        stopped_before = next(p for p, m in tree.members().items() if m[0] == "cat")
        os.kill(stopped_before, signal.SIGSTOP)
        deadline = time.monotonic() + 20
        while tree.members()[stopped_before][1] != "T":
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        done = self.ok("dump", "--no-memory", "--pid", tree.pid, "--leave-stopped", "-o", "t.ckpt")
        self.assertIn("4 processes stopped", done.err)
        self.assertEqual({m[1] for m in tree.members().values()}, {"T"})
        got = self.ok("inspect", "--json", "t.ckpt").json
        states = {t["pid"]: t["state"] for t in got["tasks"]}
        self.assertEqual([p for p, s in states.items() if s == "stopped"], [stopped_before])

    def test_leave_stopped_failing(self):
        tree = self.live_tree()
        self.fails(1, "dump", "--no-memory", "--pid", tree.pid, "--leave-stopped", "-o", "/dev/full",
                   says="No space left")
        self.assertNotIn("T", {m[1] for m in tree.members().values()})
        self.fails(1, "dump", "--no-memory", "--pid", tree.pid, "--leave-stopped", "--container", "-o", "x",
                   says="container")
        self.assertNotIn("T", {m[1] for m in tree.members().values()})

    BUSY = """
import os, sys
for _ in range(2):
    if os.fork() == 0:
        break
else:
    print("up", flush=True)
while True:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
"""

    def test_leave_stopped_while_it_forks(self):
        busy = subprocess.Popen(["python3", "-c", self.BUSY], stdout=subprocess.PIPE,
                                start_new_session=True)
        try:
            busy.stdout.readline()
            for name in ("a.ckpt", "b.ckpt", "c.ckpt"):
                self.ok("dump", "--no-memory", "--pid", busy.pid, "--leave-stopped", "-o", name)
                tasks = self.ok("inspect", "--json", name).json["tasks"]
                self.assertGreaterEqual(len(tasks), 3)
                self.assertNotIn("stopped", {t["state"] for t in tasks})
                for t in tasks:
                    with open(f"/proc/{t['pid']}/stat", encoding="utf-8") as f:
                        self.assertIn(f.read().rsplit(")", 1)[1].split()[0], "TZ")
                os.killpg(busy.pid, signal.SIGCONT)
        finally:
            os.killpg(busy.pid, signal.SIGKILL)
            busy.stdout.close()
            busy.wait()

    def test_stopping_itself(self):
        p = subprocess.run(["bash", "-c", '"$0" dump --pid $$ --leave-stopped -o t.ckpt; exit $?', CKPT],
                           cwd=self.dir, capture_output=True, env=environment(), timeout=60,
                           start_new_session=True, check=False)
        self.assertEqual(p.returncode, 1, p.stderr)
        self.assertIn(b"ckpt itself", p.stderr)

    def test_own_shell(self):
        p = subprocess.run(
            ["bash", "-c", 'sleep 100 & "$0" dump --no-memory --pid $$ --leave-running -o t.ckpt; r=$?; '
             'kill $!; exit $r', CKPT],
            cwd=self.dir, capture_output=True, env=environment(), timeout=60,
            start_new_session=True, check=False)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertIn(b"ckpt itself", p.stderr)
        names = [t["comm"] for t in self.ok("inspect", "--json", "t.ckpt").json["tasks"]]
        self.assertEqual(names, ["bash", "sleep"])

    def test_no_such_process(self):
        child = subprocess.Popen(["true"])
        child.wait()
        self.fails(1, "dump", "--no-memory", "--pid", child.pid, "--leave-running", "-o", "t.ckpt",
                   says=str(child.pid))
        self.assertEqual(os.listdir(self.dir), [])

    def test_no_permission(self):
        tree = self.live_tree()
        os.mkdir(self.path("open"), 0o777)
        os.chmod(self.path("open"), 0o777)
        for how in ("--leave-running", "--leave-stopped"):
            done = self.as_nobody("dump", "--no-memory", "--pid", tree.pid, how, "-o", "open/t.ckpt")
            self.assertEqual(done.code, 1, done.err)
            self.assertRegex(done.err, r"^ckpt: dump: .*(ermission|ermitted|may not).*\(.+\)\n$")
            self.assertIn(str(tree.pid), done.err)
        self.assertEqual(os.listdir(self.path("open")), [])
        self.assertNotIn("T", {m[1] for m in tree.members().values()})

    def test_container_refused(self):
        tree = self.live_tree()
        self.fails(1, "dump", "--no-memory", "--pid", tree.pid, "--leave-running", "--container", "-o", "t.ckpt",
                   says="--subtree")

    def test_namespace_entered(self):
        """[LC-15] Who entered a namespace of the tree would die with its init."""
        started = subprocess.Popen(["unshare", "-pf", "sh", "-c", "echo; read x"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        self.addCleanup(started.communicate, b"\n")
        if not started.stdout.readline():
            self.skipTest("no pid namespace can be made here")
        with open(f"/proc/{started.pid}/task/{started.pid}/children") as f:
            init = f.read().split()[0]
        args = ("dump", "--no-memory", "--pid", init, "-o", "t.ckpt")
        self.assertNotIn("warning", self.ok(*args, "--leave-running").err)
        entered = subprocess.Popen(["nsenter", "-t", init, "-p", "sh", "-c", "echo; read x; :"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(entered.communicate, b"\n")
        self.assertTrue(entered.stdout.readline())
        said = r"process \d+ \(sh\) is in the pid namespace of process %s, .*die" % init
        self.assertRegex(self.ok(*args, "--leave-running").err, "warning: " + said)
        os.unlink(self.path("t.ckpt"))
        done = self.fails(1, *args, "--leave-stopped", says="--leave-running")
        self.assertRegex(done.err, said)
        self.assertEqual(os.listdir(self.dir), [])
        with open(f"/proc/{init}/stat") as f:
            self.assertNotEqual(f.read().split()[2], "T")


class History(Case):
    def test_hazards(self):
        """[LC-15] A history ends nobody: what hangs together is said, the image is made."""
        log = self.history(
            "100  unshare(CLONE_NEWPID) = 0\n"
            "100  clone(child_stack=NULL, flags=SIGCHLD) = 101\n"
            "100  clone(child_stack=NULL, flags=CLONE_PARENT|SIGCHLD) = 102\n")
        done = self.ok("dump", "--history", log, "-o", "t.ckpt")
        self.assertRegex(done.err, r"warning: task 102/\? .* in the pid namespace of task 101/1 ")
        self.assertEqual(len(self.ok("inspect", "--json", "t.ckpt").json["tasks"]), 2)

    def test_counts(self):
        log = self.history(SMALL + "100  uname({sysname=\"Linux\"}) = 0\n100  brk(NULL) = 0x5555\n")
        done = self.ok("dump", "--history", log, "-o", "t.ckpt")
        self.assertRegex(done.err, r"history: 9 lines, \d+ calls replayed, 2 passed over")
        self.assertIn("subtree:", done.err)
        self.assertNotIn("uname", done.err)
        done = self.ok("dump", "-v", "--history", log, "-o", "t.ckpt")
        self.assertRegex(done.err, r"passed over: brk 1, uname 1")
        self.assertRegex(done.err, r"lazy files: \d+ handles? given at forks, \d+ fds? reopened")

    def test_stdin_stdout(self):
        a = self.ok("dump", "--history", "-", "-o", "-", stdin=SMALL.encode())
        b = self.ok("dump", "--history", self.history(SMALL))
        self.assertEqual(a.raw, b.raw)
        plain = subprocess.run(["zstd", "-dcq"], input=a.raw, capture_output=True, check=True).stdout
        self.assertEqual(plain[:8], b"\1\0\0\0\x60\0\0\0")

    def test_reproducible(self):
        log = self.history(SMALL)
        first = self.ok("dump", "--history", log).raw
        time.sleep(1.1)  # another second by the clock
        self.assertEqual(first, self.ok("dump", "--history", log).raw)

    def test_at(self):
        log = self.history(SMALL)
        at2 = self.ok("dump", "--history", log, "--at", "2", "-q").raw
        tasks = self.ok("inspect", "--json", "-", stdin=at2).json["tasks"]
        self.assertEqual([(t["pid"], t["pgid"] == t["pid"], t["fds"]) for t in tasks][1],
                         (101, False, tasks[1]["fds"]))
        self.assertNotIn("sleep", [t["comm"] for t in tasks])
        self.fails(1, "dump", "--history", log, "--at", "4000", "-o", "x", says="4000")

    def test_contradiction(self):
        log = self.history(SMALL + "101  getpgrp() = 100\n")
        self.fails(1, "dump", "--history", log, "-o", "x", says="line 8")
        self.assertFalse(os.path.exists(self.path("x")))

    def test_missing_and_directory(self):
        self.fails(1, "dump", "--history", "none.log", "-o", "x", says="No such file")
        self.fails(1, "dump", "--history", ".", "-o", "x", says="directory")
        self.fails(1, "dump", "--history", self.history(""), "-o", "x", says="strace")


    def test_endless(self):
        """Streams that never become a log are given up."""
        done = self.fails(1, "dump", "--history", "/dev/zero", "-o", "t.ckpt", says="line 1 is too long")
        self.assertIn("strace -f", done.err)
        yes = subprocess.Popen(["yes", "nothing of strace"], stdout=subprocess.PIPE)
        with yes:
            self.ckpt_from(yes.stdout)
            yes.stdout.close()
        self.assertEqual(os.listdir(self.dir), [])

    def ckpt_from(self, stdin):
        p = subprocess.run([CKPT, "dump", "--history", "-", "-o", "t.ckpt"], stdin=stdin,
                           capture_output=True, cwd=self.dir, env=environment(), timeout=120,
                           check=False)
        self.assertEqual(p.returncode, 1, p.stderr)
        self.assertIn(b"no line of strace's is among", p.stderr)


class Output(Case):
    def setUp(self):
        super().setUp()
        self.log = self.history(SMALL)

    def left(self):
        return sorted(set(os.listdir(self.dir)) - {"log"})

    def test_file(self):
        self.ok("dump", "--history", self.log, "-o", "t.ckpt")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("t.ckpt")).st_mode), 0o600)
        self.assertEqual(self.left(), ["t.ckpt"])

    def test_failure_keeps_the_old_image(self):
        with open(self.path("t.ckpt"), "wb") as f:
            f.write(b"precious")
        bad = self.history("nothing of strace\n", "bad")
        self.fails(1, "dump", "--history", bad, "-o", "t.ckpt")
        with open(self.path("t.ckpt"), "rb") as f:
            self.assertEqual(f.read(), b"precious")
        self.assertEqual(self.left(), ["bad", "t.ckpt"])

    def test_link_stays_a_link(self):
        open(self.path("real"), "w").close()
        os.symlink("real", self.path("link"))
        self.ok("dump", "--history", self.log, "-o", "link")
        self.assertTrue(os.path.islink(self.path("link")))
        self.ok("inspect", "real")

    def test_bad_places(self):
        self.fails(1, "dump", "--history", self.log, "-o", "no/such/dir/x",
                   says="No such file or directory (is there such a folder?)")
        self.fails(1, "dump", "--history", self.log, "-o", "/proc/x", says=")")
        self.fails(1, "dump", "--history", self.log, "-o", ".", says="not a regular file")
        self.fails(1, "dump", "--history", self.log, "-o", "", says="cannot write")
        self.fails(1, "dump", "--history", self.log, "-o", "/dev/full",
                   says="No space left on device (make room")
        self.assertTrue(stat.S_ISCHR(os.stat("/dev/full").st_mode))
        with open("/dev/full", "wb") as full:
            self.fails(1, "dump", "--history", self.log, stdout=full, says="No space left")
        self.assertEqual(self.left(), [])

    def test_device_and_fifo(self):
        self.ok("dump", "--history", self.log, "-o", "/dev/null")
        self.assertTrue(stat.S_ISCHR(os.stat("/dev/null").st_mode))
        os.mkfifo(self.path("fifo"))
        reader = subprocess.Popen(["cat", self.path("fifo")], stdout=subprocess.PIPE)
        self.ok("dump", "--history", self.log, "-o", "fifo")
        image, _ = reader.communicate(timeout=20)
        self.assertEqual(image, self.ok("dump", "--history", self.log).raw)

    def test_pipe_of_a_failed_dump(self):
        bad = self.history("nothing of strace\n", "bad")
        done = self.fails(1, "dump", "--history", bad, "-o", "-")
        reader = self.fails(3, "inspect", "-", stdin=done.raw)
        self.assertIn(done.err.split(": ", 2)[2].strip()[:30], reader.err)

    def test_reader_gone(self):
        r, w = os.pipe()
        os.close(r)
        self.fails(1, "dump", "--history", self.log, stdout=w, says="Broken pipe")
        os.close(w)

    def test_terminal(self):
        done = self.terminal("dump", "--history", self.log)
        self.assertEqual(done.code, 0, done.out)
        self.assertEqual(glob.glob(self.path("*.ckpt")), [self.path("ckpt-100.ckpt")])
        self.assertIn("ckpt-100.ckpt", done.out)
        done = self.terminal("dump", "--history", self.log, "-o", "-")
        self.assertEqual(done.code, 2)
        self.assertIn("not for a terminal", done.out)
        done = self.terminal("dump", "--history", self.log, "-o", "/dev/stdout")
        self.assertEqual(done.code, 2)

    def test_terminal_input(self):
        done = self.terminal("dump", "--history", "-", stdin_tty=True)
        self.assertEqual(done.code, 2)
        self.assertIn("standard input is a terminal", done.out)


class Modes(Case):
    def test_said_and_forced(self):
        log = self.history(GHOST)
        done = self.ok("dump", "--history", log, "--subtree", "-o", "t.ckpt")
        self.assertIn("subtree: as asked for", done.err)
        self.fails(1, "dump", "--history", log, "--container", "-o", "x", says="not a container")


if __name__ == "__main__":
    main()
