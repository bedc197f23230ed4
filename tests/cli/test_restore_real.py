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


# Two processes with a deleted file, whose offset they share, and the memory of a memfd.
NAMELESS = """
import mmap, os, sys, time
f = open('gone', 'w+b', buffering=0)
os.remove('gone')
counter = os.memfd_create('counter')
os.truncate(counter, 4096)
m = mmap.mmap(counter, 4096)
child = os.fork()
while not os.path.exists('stop'):
    n = int.from_bytes(m[:8], 'little')
    if child == 0:
        f.write(b'%d\\n' % (n + 1))
        m[:8] = (n + 1).to_bytes(8, 'little')
    else:
        with open('out', 'a') as out:
            print(n, file=out)
    time.sleep(0.02)
if child == 0:
    os._exit(0)
os.wait()
n = int.from_bytes(m[:8], 'little')
text = b''.join(b'%d\\n' % (i + 1) for i in range(n))
sys.exit(7 if f.tell() == len(text) and os.pread(f.fileno(), 1 << 20, 0) == text else 8)
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

    def test_files_without_names(self):
        self.dumped(self.start("python3", "-c", NAMELESS))
        shown = self.ok("inspect", "--fds", "i.ckpt").out
        self.assertRegex(shown, r"/gone \(deleted, [0-9]+ bytes in the image\)")
        self.assertIn("/memfd:counter (deleted, 4.1 kB in the image)", shown)
        self.assertIn("nothing would go wrong", self.ok("restore", "--plan", "i.ckpt").out)
        for place in (["--here"], []):
            p = self.restore("i.ckpt", *place)
            self.grows()
            self.stop()
            self.assertEqual(p.wait(timeout=30), 7)
            os.remove(self.path("stop"))

    def test_a_deleted_file_whose_directory_is_gone(self):
        os.mkdir(self.path("d"))
        self.dumped(self.start("sh", "-c", "exec 7>d/gone; rm d/gone; echo kept >&7; " + COUNT))
        os.rmdir(self.path("d"))
        self.assertRegex(self.ok("restore", "--plan", "i.ckpt").out,
                         r"d/gone: without a name .*it will be in memory.*No such file")
        p = self.restore("i.ckpt")
        self.assertRegex(self.said(), r"the deleted file .*d/gone is in memory now: .*No such file")
        self.grows()
        self.stop()
        self.assertEqual(p.wait(timeout=30), 7)

    def test_fifo(self):
        os.mkfifo(self.path("fifo"))
        self.dumped(self.start("sh", "-c", "exec 7<>fifo; echo waits >&7; " +
                               COUNT.replace("exit 7", "read x <&7; [ $x = waits ] && exit 7")))
        self.assertRegex(self.ok("inspect", "--fds", "i.ckpt").out, r"(?m)^ +7 .* fifo .*/fifo")
        fd = os.open(self.path("fifo"), os.O_RDONLY | os.O_NONBLOCK)
        self.fails(125, "restore", "i.ckpt", says="fifo: another process has it open")
        os.close(fd)
        fd = os.open(self.path("fifo"), os.O_RDWR)
        self.fails(125, "restore", "i.ckpt", says="fifo: another process has it open")
        os.close(fd)
        p = self.restore("i.ckpt")
        self.grows()
        self.stop()
        self.assertEqual(p.wait(timeout=30), 7)

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
