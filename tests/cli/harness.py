"""What the tests of the command share: running it, a live tree to dump, images to damage.

The command is $CKPT (build/release/ckpt by default). Each test has a directory of its own.
"""

import errno
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

SOURCE = os.environ.get(
    "CKPT_SOURCE_DIR",
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
CKPT = os.path.abspath(os.environ.get("CKPT", os.path.join(SOURCE, "build/release/ckpt")))
SAMPLES = os.path.join(SOURCE, "samples")

# One line: what failed, perhaps a detail, perhaps a hint.
ERROR_LINE = re.compile(r"^ckpt: (?:[a-z]+: )?\S.*$")


class Done:
    """A finished run."""

    def __init__(self, code, out, err):
        self.code, self.raw, self.err_raw = code, out, err

    @property
    def out(self):
        return self.raw.decode("utf-8")

    @property
    def err(self):
        return self.err_raw.decode("utf-8")

    @property
    def json(self):
        return json.loads(self.out)


def environment(**more):
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LANG")}
    env.update(LC_ALL="C.UTF-8", TERM="xterm")
    env.update(more)
    return {k: v for k, v in env.items() if v is not None}


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="ckpt-test-")
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def ckpt(self, *args, stdin=b"", env=None, **kwargs):
        if "stdout" not in kwargs:
            kwargs["stdout"] = subprocess.PIPE
        p = subprocess.run([CKPT, *map(str, args)], input=stdin, stderr=subprocess.PIPE,
                           cwd=self.dir, env=env or environment(), timeout=120, check=False,
                           **kwargs)
        # A crash is never right, whatever the test expects.
        self.assertGreaterEqual(p.returncode, 0, f"killed by a signal: {p.stderr}")
        self.assertNotIn(b"internal error", p.stderr)
        self.assertNotIn(b"Sanitizer", p.stderr)
        return Done(p.returncode, p.stdout or b"", p.stderr)

    def wait_for_name(self, pid, name):
        deadline = time.monotonic() + 20
        while True:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                if f.read() == name + "\n":
                    return
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def ok(self, *args, **kwargs):
        done = self.ckpt(*args, **kwargs)
        self.assertEqual(done.code, 0, done.err)
        return done

    def fails(self, code, *args, says="", **kwargs):
        """The command fails with this exit code and one error line that contains `says`."""
        done = self.ckpt(*args, **kwargs)
        self.assertEqual(done.code, code, done.err + repr(done.raw))
        lines = done.err.splitlines()
        self.assertGreaterEqual(len(lines), 1, "no error line")
        self.assertRegex(lines[-1], ERROR_LINE)
        self.assertIn(says, lines[-1])
        return done

    def history(self, text, name="log"):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def image(self, text=None, name="t.ckpt", *more):
        """An image of a history."""
        log = self.history(text or SMALL, name + ".log")
        self.ok("dump", "--history", log, "-q", "-o", self.path(name), *more)
        return self.path(name)

    def terminal(self, *args, env=None, stdin_tty=False, stdout_tty=True, stderr_tty=True):
        """Runs on a pseudo terminal; Done.out is what the terminal got."""
        master, slave = pty.openpty()
        p = subprocess.Popen(
            [CKPT, *map(str, args)], cwd=self.dir, env=env or environment(),
            stdin=slave if stdin_tty else subprocess.DEVNULL,
            stdout=slave if stdout_tty else subprocess.PIPE,
            stderr=slave if stderr_tty else subprocess.PIPE)
        os.close(slave)
        got = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError as e:
                if e.errno != errno.EIO:
                    raise
                break
            if not piece:
                break
            got += piece
        out, err = p.communicate(timeout=60)
        os.close(master)
        return Done(p.returncode, got if stdout_tty else out, err or b"")

    def as_nobody(self, *args):
        """Runs a copy of the command as nobody; skips the test where that cannot be."""
        if os.geteuid() != 0:
            self.skipTest("needs root to become somebody else")
        copy = self.path("ckpt-copy")
        shutil.copy(CKPT, copy)
        os.chmod(copy, 0o755)
        p = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy,
                            *map(str, args)], capture_output=True, env=environment(), timeout=60,
                           check=False, cwd=self.dir)
        self.assertNotIn(b"setpriv", p.stderr)
        return Done(p.returncode, p.stdout, p.stderr)

    def live_tree(self):
        """A session of its own with a pipeline and a stopped job below a shell; ended afterwards."""
        return LiveTree(self)


class LiveTree:
    SCRIPT = """
sleep 1000 | cat >/dev/null &
sleep 1001 &
python3 -c 'import os, signal, time
print("up", flush=True)
time.sleep(1000)' &
echo shell $$
wait
"""

    def __init__(self, case):
        self.shell = subprocess.Popen(["bash", "-c", self.SCRIPT], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, start_new_session=True,
                                      cwd=case.dir, close_fds=True)
        case.addCleanup(self.end)
        self.pid = self.shell.pid
        seen = {self.shell.stdout.readline(), self.shell.stdout.readline()}
        case.assertEqual(seen, {f"shell {self.pid}\n".encode(), b"up\n"})
        deadline = time.monotonic() + 20
        while sorted(self.names()) != ["bash", "cat", "python3", "sleep", "sleep"]:
            case.assertLess(time.monotonic(), deadline, self.names())
            time.sleep(0.02)

    def members(self):
        """pid -> (comm, state, ppid, pgid, sid) of all processes of the session."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8") as f:
                    text = f.read()
            except (FileNotFoundError, ProcessLookupError):
                continue
            head, tail = text.rsplit(")", 1)
            fields = tail.split()
            if int(fields[3]) == self.pid:
                found[int(entry)] = (head.split("(", 1)[1], fields[0], *map(int, fields[1:4]))
        return found

    def names(self):
        return [m[0] for m in self.members().values()]

    def end(self):
        for pid in self.members():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.shell.stdout.close()
        self.shell.wait(timeout=20)


SMALL = """\
100  execve("/bin/sh", ["sh"], 0x7ffc0 /* 3 vars */) = 0
100  clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f) = 101
101  setpgid(0, 0) = 0
101  openat(AT_FDCWD, "/var/log/job.log", O_RDWR|O_APPEND) = 3
101  execve("/bin/sleep", ["sleep", "10"], 0x7ffc0 /* 3 vars */) = 0
100  openat(AT_FDCWD, "/etc/motd", O_RDONLY) = 3
100  read(3, "hello"..., 42) = 42
"""

# 100 makes 101, which leads a session, makes 102 and dies; 100 adopts 102 as a subreaper.
GHOST = """\
100  execve("/bin/sh", ["sh"], 0x7ffc0 /* 3 vars */) = 0
100  prctl(PR_SET_CHILD_SUBREAPER, 1) = 0
100  clone(child_stack=NULL, flags=SIGCHLD) = 101
101  setsid() = 101
101  clone(child_stack=NULL, flags=SIGCHLD) = 102
101  exit_group(0) = ?
101  +++ exited with 0 +++
100  wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 101
"""


def main():
    unittest.main(verbosity=1)
