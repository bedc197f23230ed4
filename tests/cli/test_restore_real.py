#!/usr/bin/env python3
"""ckpt restore with real processes: they go on where they were dumped.

Needs root, and a kernel that lets ckpt read and write memory; skipped otherwise.
"""
import ctypes
import os
import re
import signal
import subprocess
import time
import unittest

from harness import CKPT, Case, environment

COUNT = 'i=0; while [ ! -e stop ]; do i=$((i+1)); echo $i $$ >> out; sleep 0.02; done; exit 7'

# A session leader that is dead, a member that tells who it is, below a root that waits for the end.
DEAD_LEADER = """
import ctypes, os, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setpgid(0, 0)
        if os.fork() == 0:
            while not os.path.exists('stop'):
                with open('out', 'a') as f:
                    print(os.getpid(), os.getpgid(0), os.getsid(0), file=f)
                time.sleep(0.02)
            os._exit(0)
        time.sleep(0.2)
    os._exit(0)
os.wait()
while not os.path.exists('stop'):
    time.sleep(0.02)
"""


# Orphans come to this process, which reaps them: init might not.
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


@unittest.skipUnless(os.geteuid() == 0, "skipped: restore for real: needs root")
class Real(Case):
    def start(self, *command):
        """A process in a session of its own, with files in self.dir only."""
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True, cwd=self.dir)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        return p

    def lines(self):
        try:
            with open(self.path("out"), encoding="utf-8") as f:
                return f.read().split("\n")[:-1]
        except FileNotFoundError:
            return []

    def until(self, what, seconds=30):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, self.lines()[-3:])
            time.sleep(0.02)

    def grows(self):
        n = len(self.lines())
        self.until(lambda: len(self.lines()) > n + 3)

    def dumped(self, p, name="i.ckpt"):
        self.grows()
        self.ok("dump", "--pid", p.pid, "-o", name)
        p.wait(timeout=20)
        self.until(lambda: not self.session(p.pid))
        n = len(self.lines())
        time.sleep(0.1)
        self.assertEqual(len(self.lines()), n, "it goes on after the dump")

    @staticmethod
    def gone(pid):
        """Has it ended? It is reaped if it is ours."""
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
        return not os.path.exists(f"/proc/{pid}")

    @staticmethod
    def session(sid):
        """The processes of a session, zombies too; ours are reaped."""
        found = []
        for entry in os.listdir("/proc"):
            try:
                with open(f"/proc/{int(entry)}/stat", encoding="utf-8") as f:
                    fields = f.read().rsplit(")", 1)[1].split()
            except (ValueError, FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == sid and not Real.gone(int(entry)):
                found.append(int(entry))
        return found

    def restore(self, *args):
        with open(self.path("restore.err"), "wb") as err:
            p = subprocess.Popen([CKPT, "restore", *args], cwd=self.dir, env=environment(),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.addCleanup(self.stop)  # so that it ends by itself before
        self.until(lambda: "restored: " in self.said() or p.poll() is not None)
        self.assertIn("restored: ", self.said())
        return p

    def said(self):
        with open(self.path("restore.err"), encoding="utf-8") as f:
            return f.read()

    def stop(self):
        open(self.path("stop"), "w", encoding="utf-8").close()

    def counts(self):
        """The numbers are 1, 2, 3... without a gap, all by the same process."""
        lines = self.lines()
        self.assertEqual([int(line.split()[0]) for line in lines], list(range(1, len(lines) + 1)))
        self.assertEqual(len({line.split()[1] for line in lines}), 1)

    def test_shell_goes_on_and_its_status_is_ours(self):
        for place in ([], ["--here"], ["--no-pids"]):
            with self.subTest(place=place):
                self.dumped(self.start("sh", "-c", COUNT))
                p = self.restore("i.ckpt", *place)
                self.grows()
                self.stop()
                self.assertEqual(p.wait(timeout=30), 7)
                self.counts()
                os.remove(self.path("stop"))
                os.remove(self.path("out"))

    def test_signals_are_passed_on(self):
        self.dumped(self.start("sh", "-c", COUNT))
        p = self.restore("i.ckpt")
        self.grows()
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(timeout=30), 128 + signal.SIGTERM)
        self.counts()

    def test_dumped_and_restored_again(self):
        p = self.start("sh", "-c", COUNT)
        self.dumped(p)
        for _ in range(2):
            r = self.restore("i.ckpt", "--here")
            self.grows()
            self.ok("dump", "--pid", p.pid, "-o", "i.ckpt")
            self.assertEqual(r.wait(timeout=30), 128 + signal.SIGKILL)
            self.until(lambda: not self.session(p.pid))
        r = self.restore("i.ckpt", "--here")
        self.grows()
        self.stop()
        self.assertEqual(r.wait(timeout=30), 7)
        self.counts()

    def test_pipeline(self):
        self.dumped(self.start("sh", "-c", "i=0; while [ ! -e stop ]; do i=$((i+1)); echo $i; "
                               "sleep 0.01; done | while read x; do echo $x >> out; done"))
        p = self.restore("i.ckpt")
        self.grows()
        self.stop()
        self.assertEqual(p.wait(timeout=30), 0)
        lines = self.lines()
        self.assertEqual(lines, [str(i + 1) for i in range(len(lines))])

    def test_dead_session_leader(self):
        p = self.start("python3", "-c", DEAD_LEADER)
        self.until(lambda: self.lines())
        time.sleep(0.4)  # both leaders are dead
        self.dumped(p)
        r = self.restore("i.ckpt")
        self.grows()
        self.assertEqual(len(set(self.lines())), 1, set(self.lines()))
        pid, group, session = map(int, self.lines()[0].split())
        self.assertEqual(len({pid, group, session}), 3)
        self.stop()
        self.assertEqual(r.wait(timeout=30), 0)

    def test_nested_namespaces(self):
        self.dumped(self.start("unshare", "--fork", "--pid", "unshare", "--fork", "--pid", "sh",
                               "-c", COUNT))
        p = self.restore("i.ckpt")
        self.grows()
        self.assertEqual({line.split()[1] for line in self.lines()}, {"1"})
        self.stop()
        self.assertEqual(p.wait(timeout=30), 7)
        self.counts()

    def test_detach(self):
        self.dumped(self.start("sh", "-c", COUNT))
        done = self.ok("restore", "--detach", "i.ckpt")
        self.addCleanup(self.stop)
        init = int(re.search(r"namespace is (\d+) here", done.err).group(1))
        self.grows()
        self.assertTrue(os.path.exists(f"/proc/{init}"))
        self.stop()
        self.until(lambda: self.gone(int(init)))
        self.counts()

    def test_own_failures_are_125(self):
        p = self.start("sh", "-c", COUNT)
        self.grows()
        self.ok("dump", "--pid", p.pid, "--leave-running", "-o", "i.ckpt")
        self.fails(125, "restore", "--here", "i.ckpt", says="taken")
        self.fails(1, "restore", "--here", "--detach", "i.ckpt", says="taken")
        self.assertIsNone(p.poll())

    def test_detach_needs_memory(self):
        self.image()
        self.fails(1, "restore", "--detach", "t.ckpt", says="holds no memory")


if __name__ == "__main__":
    unittest.main()
