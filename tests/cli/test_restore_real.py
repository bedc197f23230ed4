#!/usr/bin/env python3
"""ckpt restore with real processes: they go on where they were dumped.

Needs root, and a kernel that lets ckpt read and write memory; skipped otherwise.
"""
import os
import re
import signal
import struct
import time
import unittest

from image_file import image_file, record_stream
from real import COUNT, RealCase

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

# fcntl's locks of two processes on one file, and flock's of an open file that both have.
LOCKS = """
import fcntl, os, time
data, job = open('data', 'w'), open('job', 'w')
fcntl.lockf(data, fcntl.LOCK_EX, 10)
fcntl.flock(job, fcntl.LOCK_EX)
if os.fork() == 0:
    fcntl.lockf(data, fcntl.LOCK_EX, 5, 20)
    while not os.path.exists('stop'):
        with open('out', 'a') as f:
            print('.', file=f)
        time.sleep(0.02)
    os._exit(0)
os.wait()
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


# It never has SIGCHLD pending, which tells of a number.
ALONE = ("python3", "-c", """
import os, sys, time
i, pid = 0, os.getpid()
while not os.path.exists('stop'):
    i += 1
    with open('out', 'a') as out:
        print(i, pid, file=out)
    time.sleep(0.02)
sys.exit(7)
""")


class Real(RealCase):
    def test_shell_goes_on_and_its_status_is_ours(self):
        for place in ([], ["--here"], ["--no-pids"]):
            with self.subTest(place=place):
                self.dumped(self.start(*(ALONE if place == ["--no-pids"] else ("sh", "-c", COUNT))))
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

    def locks(self, sid):
        """Of the processes of a session: pid, fd, kind, and range."""
        found = []
        for pid in sorted(self.session(sid)):
            for fd in sorted(os.listdir(f"/proc/{pid}/fdinfo")):
                try:
                    with open(f"/proc/{pid}/fdinfo/{fd}", encoding="utf-8") as f:
                        words = [line.split() for line in f if line.startswith("lock:")]
                except FileNotFoundError:  # it has been closed meanwhile
                    continue
                found += [(pid, fd, *w[2:5], *w[6:]) for w in words]
        return found

    def test_locks(self):
        p = self.start("python3", "-c", LOCKS)
        self.until(lambda: self.lines())
        before = self.locks(p.pid)
        self.assertEqual([lock[2] for lock in before], ["POSIX", "FLOCK"] * 2)
        self.dumped(p)
        r = self.restore("i.ckpt", "--here")
        self.grows()
        self.assertEqual(self.locks(p.pid), before)
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

    def test_processors_that_are_not_here(self):
        """An image of another machine: what a thread is bound to lies beyond this one's."""
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("needs two processors")
        self.dumped(self.start("taskset", "-c", str(min(os.sched_getaffinity(0))), "sh", "-c", COUNT))
        with open(self.path("i.ckpt"), "rb") as f:
            plain = bytearray(record_stream(f.read()))
        at, place = 0, None
        while place is None:
            kind, length = struct.unpack_from("<II", plain, at)
            place = at + length + 8 if kind == 2036 else None
            at += length
        struct.pack_into("<Q", plain, place, 1 << 63)
        with open(self.path("far.ckpt"), "wb") as f:
            f.write(image_file(bytes(plain)))
        self.fails(1, "restore", "--plan", "far.ckpt", says="processors of which none is here")
        self.fails(125, "restore", "far.ckpt", says="taskset")
        self.ok("restore", "--plan", "i.ckpt")

    def test_conflicts_are_listed_at_once(self):
        """Numbers, files: all of it before anything is made, and by --plan as well."""
        with open(self.path("data"), "w", encoding="utf-8") as f:
            f.write("data")
        p = self.start("sh", "-c", "exec 3< data; " + COUNT)
        self.grows()
        self.ok("dump", "--pid", p.pid, "--leave-running", "-o", "i.ckpt")
        os.remove(self.path("data"))
        for args in (("--plan",), ()):
            done = self.fails(1 if args else 125, "restore", "--here", *args, "i.ckpt",
                              says="another kind")
            said = done.out + done.err
            self.assertRegex(said, rf"{p.pid} by process {p.pid}")
            self.assertRegex(said, r"/data: ")
        done = self.fails(1, "restore", "--plan", "--json", "--here", "i.ckpt")
        self.assertLessEqual({"number", "file"}, {c["kind"] for c in done.json["conflicts"]})
        self.stop()

    def test_detach_needs_memory(self):
        self.image()
        self.fails(1, "restore", "--detach", "t.ckpt", says="holds no memory")


if __name__ == "__main__":
    unittest.main()
