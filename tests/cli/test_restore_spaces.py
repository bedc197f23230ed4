#!/usr/bin/env python3
"""ckpt dump and restore of processes with namespaces or a root directory of their own."""
import os
import signal
import unittest

from real import COUNT, RealCase

LOOP = """
import ctypes, os, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
UTS, IPC, CGROUP, MOUNT = 0x04000000, 0x08000000, 0x02000000, 0x00020000
def unshare(flags):
    assert libc.unshare(flags) == 0, ctypes.get_errno()
def same(kind, pid):
    return os.readlink(f'/proc/self/ns/{kind}') == os.readlink(f'/proc/{pid}/ns/{kind}')
def loop(line):
    while not os.path.exists('stop'):
        with open('out', 'a') as f:
            print(line(), file=f)
        time.sleep(0.02)
"""


class Spaces(RealCase):
    def python(self, code, *before):
        return self.start(*before, "python3", "-c", LOOP + code)

    def test_chroot(self):
        os.mkdir(self.path("below"))
        with open(self.path("below/only"), "w", encoding="utf-8"):
            pass
        for place in ("--here",), ():
            p = self.python("os.chroot('.')\nos.chdir('/below')\n"
                            "while not os.path.exists('/stop'):\n"
                            "    with open('/out', 'a') as f:\n"
                            "        print(os.getcwd(), os.listdir('.'), os.listdir('/..'), file=f)\n"
                            "    time.sleep(0.02)\n")
            self.until(self.lines)
            self.dumped(p)
            last = self.lines()[-1].split("]")[0]
            before = len(self.lines())
            r = self.restore("i.ckpt", *place)
            self.grows()
            self.assertEqual({line.split("]")[0] for line in self.lines()[before:]}, {last})
            self.stop()
            self.assertEqual(r.wait(timeout=30), 0)
            os.remove(self.path("stop"))
            os.remove(self.path("out"))

    def check(self, code, expected, *places):
        for place in places or ((), ("--here",)):
            with self.subTest(place=place):
                self.dumped(self.python(code))
                self.assertEqual(set(self.lines()), expected)
                before = len(self.lines())
                p = self.restore("i.ckpt", *place)
                self.grows()
                self.assertEqual(set(self.lines()[before:]), expected)
                self.stop()
                self.assertEqual(p.wait(timeout=30), 0)
                for name in ("stop", "out"):
                    os.remove(self.path(name))

    def test_host_names(self):
        self.check("unshare(UTS)\nsocket.sethostname('ckpt-host')\n"
                   "assert libc.setdomainname(b'example', 7) == 0\n"
                   "loop(lambda: os.uname().nodename + ' ' +"
                   " open('/proc/sys/kernel/domainname').read().strip())\n", {"ckpt-host example"})

    def test_one_namespace_for_several(self):
        """A child shares two namespaces with its parent, and has a third of its own."""
        self.check("unshare(UTS | IPC | CGROUP)\nsocket.sethostname('parent')\nparent = os.getpid()\n"
                   "child = os.fork()\n"
                   "if child == 0:\n"
                   "    unshare(UTS)\n"
                   "    socket.sethostname('child')\n"
                   "    loop(lambda: (os.uname().nodename, same('uts', parent), same('ipc', parent),"
                   " same('cgroup', parent)))\n"
                   "    os._exit(0)\n"
                   "loop(lambda: (os.uname().nodename, same('ipc', os.getppid())))\nos.wait()\n",
                   {"('child', False, True, True)", "('parent', False)"}, ("--here",))

    def test_own_proc(self):
        """The init of a pid namespace with a /proc of its own, below a process that sees all."""
        for place in ((), ("--here",)):
            with self.subTest(place=place):
                self.dumped(self.start(
                    "sh", "-c", "unshare --fork --pid --mount-proc sh -c 'while [ ! -e stop ]; do "
                    "read x y < /proc/self/stat; echo $x $$ >> out; sleep 0.02; done'; exit 0"))
                self.assertEqual(set(self.lines()), {"1 1"})
                before = len(self.lines())
                p = self.restore("i.ckpt", *place)
                self.grows()
                self.assertEqual(set(self.lines()[before:]), {"1 1"})
                self.stop()
                self.assertEqual(p.wait(timeout=30), 0)
                for name in ("stop", "out"):
                    os.remove(self.path(name))

    def test_restored_dumped_and_restored(self):
        """In a namespace of its own each time: it has a /proc that is not ours."""
        self.dumped(self.start("sh", "-c", COUNT))
        for _ in range(2):
            p = self.restore("i.ckpt")
            self.grows()
            self.ok("dump", "--pid", self.root_of(p), "-o", "i.ckpt")
            self.assertEqual(p.wait(timeout=30), 128 + signal.SIGKILL)
        p = self.restore("i.ckpt")
        self.grows()
        self.stop()
        self.assertEqual(p.wait(timeout=30), 7)
        self.counts()

    def refused(self, code, says):
        p = self.python(code + "\nloop(lambda: 1)")
        self.until(self.lines)
        self.fails(1, "dump", "--pid", p.pid, "-o", "i.ckpt", says=says)
        self.assertIsNone(p.poll())
        self.stop()

    def test_refused_objects(self):
        self.refused("unshare(IPC)\nassert libc.shmget(0, 4096, 0o1600) >= 0", "has System V objects")

    def test_refused_queues(self):
        self.refused("unshare(IPC)\nassert ctypes.CDLL('librt.so.1').mq_open(b'/q', 0o102, 0o600, None)"
                     " >= 0", "has message queues")

    def test_refused_mounts(self):
        self.refused("unshare(MOUNT)\nassert libc.mount(b'none', b'/', None, 0x44000, None) == 0\n"
                     "assert libc.mount(b'none', b'/mnt', b'tmpfs', 0, None) == 0",
                     "has other mounts than ckpt's")


if __name__ == "__main__":
    unittest.main()
