#!/usr/bin/env python3
"""ckpt restore --shell-job: a job of a terminal goes on in the terminal that it is restored from."""
import fcntl
import os
import pty
import signal
import subprocess
import termios
import time
import unittest

from harness import CKPT, environment
from real import RealCase

# A shell as far as a terminal needs it: leads the session, puts its child into a group of its own
# in the foreground, and writes what became of it. Its child stops: so it writes that, and lets it
# go on in the foreground.
SHELL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[2], sys.argv[2:])
try:
    os.setpgid(child, child)
except PermissionError:
    pass  # it has done so itself, and runs its program by now
def say(text):
    with open(sys.argv[1], 'a') as f:
        print(text, file=f)
say(f'job {child}')
while True:
    pid, status = os.waitpid(child, os.WUNTRACED)
    say(f'foreground {os.tcgetpgrp(0)}')
    if not os.WIFSTOPPED(status):
        break
    os.tcsetpgrp(0, os.getpgrp())
    say('stopped')
    sys.stdin.readline()
    os.tcsetpgrp(0, child)
    os.kill(-child, signal.SIGCONT)
say(f'status {os.waitstatus_to_exitcode(status)}')
"""

# Echoes lines, with its number and whether it is in the foreground.
JOB = """
import os, signal, sys, termios
signal.signal(signal.SIGTSTP, signal.SIG_DFL)
for line in iter(sys.stdin.readline, ''):
    print('got', line.strip(), os.getpid(), os.tcgetpgrp(0) == os.getpgid(0), flush=True)
    if line.strip() == 'end':
        sys.exit(4)
"""


class Terminal(RealCase):
    def start_in_terminal(self, log, *command):
        """`command` as the job of a shell on a terminal of its own."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        settings = termios.tcgetattr(slave)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        p = subprocess.Popen(["python3", "-c", SHELL, self.path(log), *command], stdin=slave,
                             stdout=slave, stderr=slave, cwd=self.dir, env=environment(),
                             close_fds=True)
        os.close(slave)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.until(lambda: self.log(log))
        return p, master, int(self.log(log)[0].split()[1])

    def log(self, name):
        try:
            with open(self.path(name), encoding="utf-8") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def expect(self, master, text, seconds=30):
        """Reads the terminal until it shows `text`; gives all of it."""
        os.set_blocking(master, False)
        got = ""
        end = time.monotonic() + seconds
        while text not in got:
            self.assertLess(time.monotonic(), end, got)
            try:
                got += os.read(master, 4096).decode()
            except BlockingIOError:
                time.sleep(0.01)
        return got

    def dumped_job(self):
        shell, master, job = self.start_in_terminal("first", "python3", "-c", JOB)
        os.write(master, b"one\n")
        self.expect(master, f"got one {job} True")
        done = self.ok("dump", "--pid", job, "-o", "i.ckpt")
        self.assertIn("--shell-job", done.err)
        shell.wait(timeout=30)
        self.assertEqual(self.log("first")[-1], f"status {-signal.SIGKILL}")
        return job

    def test_goes_on_in_another_terminal(self):
        job = self.dumped_job()
        for place in ((), ("--here",)):
            with self.subTest(place=place):
                log = "second" + "".join(place)
                shell, master, ckpt = self.start_in_terminal(
                    log, CKPT, "restore", "--shell-job", *place, "i.ckpt")
                self.expect(master, "restored: ")
                os.write(master, b"two\n")
                self.expect(master, f"got two {job} True")
                # The job is in the foreground, not ckpt.
                group = int.from_bytes(fcntl.ioctl(master, termios.TIOCGPGRP, b"\0" * 4), "little")
                self.assertNotEqual(group, ckpt)
                # It stops, and ckpt with it: the shell is told, and lets both go on.
                os.write(master, b"\x1a")
                self.until(lambda: "stopped" in self.log(log))
                self.assertEqual(self.log(log)[1], f"foreground {ckpt}")
                os.write(master, b"\n")
                os.write(master, b"three\n")
                self.expect(master, f"got three {job} True")
                os.write(master, b"end\n")
                shell.wait(timeout=30)
                self.assertEqual(self.log(log)[-2:], [f"foreground {ckpt}", "status 4"])

    def test_interrupt_reaches_the_job(self):
        job = self.dumped_job()
        shell, master, _ = self.start_in_terminal("second", CKPT, "restore", "--shell-job", "--here",
                                                  "i.ckpt")
        self.expect(master, "restored: ")

        def reads():
            with open(f"/proc/{job}/syscall", encoding="utf-8") as f:
                return f.read().startswith("0 0x0 ")  # read(0, ...): what a signal interrupts
        self.until(reads)
        os.write(master, b"\x03")
        self.expect(master, "KeyboardInterrupt")
        shell.wait(timeout=30)
        self.assertEqual(self.log("second")[-1], f"status {128 + signal.SIGINT}")

    def test_must_be_asked_for(self):
        self.dumped_job()
        self.fails(125, "restore", "i.ckpt", says="--shell-job")
        _, master, _ = self.start_in_terminal("second", CKPT, "restore", "i.ckpt")
        self.expect(master, "--shell-job")

    def test_needs_a_terminal(self):
        self.dumped_job()
        p = subprocess.run([CKPT, "restore", "--shell-job", "i.ckpt"], cwd=self.dir,
                           stdin=subprocess.DEVNULL, capture_output=True, env=environment(),
                           start_new_session=True, timeout=60, check=False)
        self.assertEqual(p.returncode, 125)
        self.assertIn(b"no terminal", p.stderr)

    def test_not_for_a_session_of_its_own(self):
        self.dumped(self.start("sh", "-c", "while [ ! -e stop ]; do echo x >> out; sleep 0.02; done"))
        self.fails(125, "restore", "--shell-job", "i.ckpt", says="holds the leader of its session")


if __name__ == "__main__":
    unittest.main()
