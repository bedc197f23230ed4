#!/usr/bin/env python3
"""ckpt restore of processes with threads and of stopped ones: children's namespaces, dead leaders."""
import os
import time
import unittest

from real import RealCase

# A thread has made the init of a pid namespace, and goes on to make children there; the leader's
# are born elsewhere.
CHILDREN = """
import ctypes, os, threading, time

def born_elsewhere():
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    os.close(read)
    elsewhere = os.readlink(f'/proc/{pid}/ns/pid') != os.readlink('/proc/self/ns/pid')
    os.close(write)
    os.waitpid(pid, 0)
    return elsewhere

inits = []
def thread():
    assert ctypes.CDLL(None).unshare(0x20000000) == 0  # CLONE_NEWPID
    inits.append(os.fork())
    if inits[0] == 0:
        while True:
            time.sleep(0.1)
    while not os.path.exists('stop'):
        with open('out', 'a') as f:
            print(born_elsewhere(), file=f)
        time.sleep(0.02)

t = threading.Thread(target=thread)
t.start()
t.join()
os.kill(inits[0], 9)
os.wait()
os._exit(4 if born_elsewhere() else 3)
"""

# Children of a process that is not in their namespace: its init, and another one.
OUTSIDE = """
import ctypes, os, time
assert ctypes.CDLL(None).unshare(0x20000000) == 0  # CLONE_NEWPID
children = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        while True:
            time.sleep(0.1)
    children.append(pid)
while not os.path.exists('stop'):
    with open('out', 'a') as f:
        print(*children, file=f)
    time.sleep(0.02)
for pid in reversed(children):
    os.kill(pid, 9)
    os.waitpid(pid, 0)
os._exit(3)
"""


# A process that counts its SIGCHLDs; a child with threads that is stopped; and another below it that
# is stopped as well, and has a stopped child.
STOPPED = """
import os, signal, sys, threading, time

def stop():
    os.kill(os.getpid(), signal.SIGSTOP)

seen = []
signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))

first = os.fork()
if first == 0:
    for _ in range(3):
        threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()
    stop()
    os._exit(5)
second = os.fork()
if second == 0:
    third = os.fork()
    if third == 0:
        stop()
        os._exit(6)
    os.waitpid(third, os.WUNTRACED)
    n = len(seen)
    stop()
    time.sleep(0.1)
    os._exit(7 if len(seen) == n else 8)
for child in first, second:
    os.waitpid(child, os.WUNTRACED)
with open('pids', 'w') as f:
    print(first, second, file=f)
while not os.path.exists('stop'):
    with open('out', 'a') as f:
        print(len(seen), file=f)
    time.sleep(0.02)
for child in first, second:
    os.kill(child, signal.SIGCONT)
status = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in (first, second)]
os._exit(9 if status == [5, 7] else 10)
"""


class Threads(RealCase):
    def shown(self, pid, name):
        with open(f"/proc/{pid}/{name}", encoding="utf-8") as f:
            return f.read()

    def maps(self, pid):
        """Neighbours alike are one: which of them the kernel merges depends on their past."""
        merged = []
        for line in self.shown(pid, "maps").splitlines():
            addresses, rest = line.split(" ", 1)
            begin, end = addresses.split("-")
            if merged and merged[-1][1:] == [begin, rest] and " 00:00 0" in rest:
                merged[-1][1] = end
            else:
                merged.append([begin, end, rest])
        return merged

    def state(self, pid):
        return self.shown(pid, "stat").rsplit(")", 1)[1].split()[0]

    def test_stopped(self):
        """Nothing foreign is left in stopped processes, and their parents are not told of the stop."""
        p = self.start("python3", "-c", STOPPED)
        self.until(lambda: os.path.exists(self.path("pids")) and self.lines())
        with open(self.path("pids"), encoding="utf-8") as f:
            stopped = [int(pid) for pid in f.read().split()]
        before = [self.maps(pid) for pid in stopped]
        seen = self.lines()[-1]
        self.ok("dump", "--pid", p.pid, "-o", "i.ckpt")
        p.wait(timeout=20)
        self.until(lambda: not self.session(p.pid))
        with open(self.path("out"), "w", encoding="utf-8"):
            pass
        r = self.restore("i.ckpt", "--here")
        self.grows()
        self.assertEqual([self.state(pid) for pid in stopped], ["T", "T"])
        self.assertEqual([self.maps(pid) for pid in stopped], before)
        self.assertEqual(set(self.lines()), {seen})
        self.assertNotIn("/dev/zero", self.shown(p.pid, "maps"))  # what the restore shares
        # Again, with them as they are.
        self.ok("dump", "--pid", p.pid, "-o", "i.ckpt")
        r.wait(timeout=20)
        self.until(lambda: not self.session(p.pid))
        r = self.restore("i.ckpt", "--here")
        self.grows()
        self.assertEqual([self.maps(pid) for pid in stopped], before)
        self.assertEqual(set(self.lines()), {seen})
        self.stop()
        self.assertEqual(r.wait(timeout=30), 9)

    def test_children_of_one_outside(self):
        """The second child is for us to reap, and its init ends after it: a dump waits for neither."""
        p = self.start("python3", "-c", OUTSIDE)
        self.grows()
        begun = time.monotonic()
        self.ok("dump", "--pid", p.pid, "-o", "i.ckpt")
        self.assertLess(time.monotonic() - begun, 20)
        p.wait(timeout=20)
        self.until(lambda: not self.session(p.pid))
        r = self.restore("i.ckpt", "--here")
        self.grows()
        self.stop()
        self.assertEqual(r.wait(timeout=30), 3)
        self.assertEqual(len(set(self.lines())), 1)

    def test_children_of_a_thread(self):
        self.dumped(self.start("python3", "-c", CHILDREN))
        p = self.restore("i.ckpt")
        self.grows()
        self.stop()
        self.assertEqual(p.wait(timeout=30), 3)
        self.assertEqual(set(self.lines()), {"True"})


if __name__ == "__main__":
    unittest.main()
