#!/usr/bin/env python3
"""ckpt dump and restore by a user without privileges, of processes of his own.

Needs root to become that user, and user namespaces; skipped otherwise.
"""
import os
import shutil
import signal
import socket
import struct
import subprocess
import unittest

from harness import CKPT, environment
from real import RealCase

USER = 54321
LOOP = """
import os, socket, threading, time
if os.path.exists('threads'):
    threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()
here, there = socket.socketpair(type=socket.SOCK_DGRAM)
here.send(b'letter')
child = os.fork()
i = 0
while not os.path.exists('stop'):
    i += 1
    with open('out' if child else 'out2', 'a') as f:
        print(i, os.getpid(), os.getuid(), os.getgid(), os.getgroups(), file=f)
    time.sleep(0.02)
if child:
    os.wait()
    if there.recv(9, socket.MSG_DONTWAIT) != b'letter':
        os._exit(8)
os._exit(7)
"""


def become_user():
    os.setsid()
    os.setgroups([USER])
    os.setgid(USER)
    os.setuid(USER)


def user_namespaces():
    p = subprocess.run(["unshare", "--user", "--pid", "--fork", "--map-root-user", "--mount-proc",
                        "true"], preexec_fn=become_user, capture_output=True, check=False)
    return p.returncode == 0


@unittest.skipUnless(os.geteuid() == 0, "skipped: rootless: needs root to become a user")
class Rootless(RealCase):
    def setUp(self):
        super().setUp()
        os.chown(self.dir, USER, USER)
        self.before_restore = become_user
        self.program = self.path("ckpt-copy")
        shutil.copy(CKPT, self.program)
        os.chmod(self.program, 0o755)
        self.addCleanup(self.stop)

    def start(self, *command):
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, preexec_fn=become_user, cwd=self.dir)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        return p

    def as_user(self, *args, code=0):
        p = subprocess.run([self.program, *map(str, args)], preexec_fn=become_user, cwd=self.dir,
                           capture_output=True, env=environment(), timeout=120, check=False)
        self.assertEqual(p.returncode, code, p.stderr.decode())
        return p.stderr.decode()

    def goes_on(self, *args):
        r = self.restore("i.ckpt", *args)
        self.grows()
        self.stop()
        self.assertEqual(r.wait(timeout=30), 7)
        lines = [line.split(" ", 1) for line in self.lines()]
        self.assertEqual([int(n) for n, _ in lines], list(range(1, len(lines) + 1)))
        self.assertEqual({rest.split(" ")[1:3] == [str(USER), str(USER)] for _, rest in lines}, {True})
        return {rest.split(" ")[0] for _, rest in lines}

    def dumped(self):
        p = self.start("python3", "-c", LOOP)
        self.grows()
        self.as_user("dump", "--pid", p.pid, "-o", "i.ckpt")
        p.wait(timeout=30)
        return p.pid

    def needs_user_namespaces(self):
        if not user_namespaces():
            self.skipTest("needs user namespaces for users")

    def test_own_namespace(self):
        self.needs_user_namespaces()
        with open(self.path("threads"), "w", encoding="utf-8"):
            pass
        pid = self.dumped()
        self.assertEqual(self.goes_on(), {str(pid)})

    def test_dumped_again(self):
        """From outside of the user namespace that it was restored in."""
        self.needs_user_namespaces()
        pid = self.dumped()
        r = self.restore("i.ckpt")
        self.grows()
        self.as_user("dump", "--pid", self.root_of(r), "-o", "i.ckpt")
        self.assertEqual(r.wait(timeout=30), 128 + signal.SIGKILL)
        self.assertEqual(self.goes_on(), {str(pid)})

    def test_here_is_not_permitted(self):
        self.dumped()
        said = self.as_user("restore", "--here", "i.ckpt", code=125)
        self.assertIn("CAP_CHECKPOINT_RESTORE", said)

    def test_here_with_a_file_capability(self):
        checkpoint_restore = 40
        value = struct.pack("<5I", 0x02000001, 0, 0, 1 << (checkpoint_restore - 32), 0)
        try:
            os.setxattr(self.program, "security.capability", value)
        except OSError as e:
            self.skipTest(f"needs file capabilities: {e}")
        pid = self.dumped()
        self.until(lambda: not RealCase.session(pid))  # its orphans are reaped by init
        self.assertEqual(self.goes_on("--here"), {str(pid)})

    def test_not_of_others(self):
        """An image of root's processes."""
        p = subprocess.Popen(["sleep", "1000"], cwd=self.dir, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             start_new_session=True)
        self.ok("dump", "--pid", p.pid, "-o", "i.ckpt")
        p.wait(timeout=30)
        os.chmod(self.path("i.ckpt"), 0o644)
        said = self.as_user("restore", "i.ckpt", code=125)
        self.assertIn("other user or group ids than yours", said)
        self.assertIn("processes with capabilities", said)

    def test_sockets_of_others(self):
        """Made by root, who has given them to a user's process."""
        a, b = socket.socketpair()
        with a, b:
            p = subprocess.Popen(["sleep", "1000"], cwd=self.dir, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 pass_fds=(a.fileno(), b.fileno()), preexec_fn=become_user)
        self.addCleanup(p.kill)
        self.as_user("dump", "--pid", p.pid, "-o", "i.ckpt")
        p.wait(timeout=30)
        said = self.as_user("restore", "i.ckpt", code=125)
        self.assertIn("the image has sockets that others connected", said)


if __name__ == "__main__":
    unittest.main()
