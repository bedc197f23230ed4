"""What tests of a real restore share: processes that write lines to a file until a file appears.

Needs root, and a kernel that lets ckpt read and write memory; skipped otherwise.
"""
import ctypes
import os
import subprocess
import time
import unittest

from harness import CKPT, Case, environment

COUNT = 'i=0; while [ ! -e stop ]; do i=$((i+1)); echo $i $$ >> out; sleep 0.02; done; exit 7'

# Orphans come to this process, which reaps them: init might not.
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


@unittest.skipUnless(os.geteuid() == 0, "skipped: restore for real: needs root")
class RealCase(Case):
    program = CKPT  # what restores, and what it does before: it may become a user
    before_restore = None

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
            if int(fields[3]) == sid and not RealCase.gone(int(entry)):
                found.append(int(entry))
        return found

    def restore(self, *args):
        with open(self.path("restore.err"), "wb") as err:
            p = subprocess.Popen([self.program, "restore", *args], cwd=self.dir,
                                 env=environment(), preexec_fn=self.before_restore,
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

    @staticmethod
    def root_of(p):
        """The root process of a restore that has made its init, as we see it."""
        pid = p.pid
        for _ in ("init", "root"):
            pid = int(subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True,
                                     check=True).stdout.split()[0])
        return pid

    def counts(self):
        """The numbers are 1, 2, 3... without a gap, all by the same process."""
        lines = self.lines()
        self.assertEqual([int(line.split()[0]) for line in lines], list(range(1, len(lines) + 1)))
        self.assertEqual(len({line.split()[1] for line in lines}), 1)
