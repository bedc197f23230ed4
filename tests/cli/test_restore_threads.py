#!/usr/bin/env python3
"""ckpt restore of processes with threads and of stopped ones: children's namespaces, dead leaders."""
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


class Threads(RealCase):
    def test_children_of_a_thread(self):
        self.dumped(self.start("python3", "-c", CHILDREN))
        p = self.restore("i.ckpt")
        self.grows()
        self.stop()
        self.assertEqual(p.wait(timeout=30), 3)
        self.assertEqual(set(self.lines()), {"True"})


if __name__ == "__main__":
    unittest.main()
