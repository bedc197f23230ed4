"""dump of live processes with memory: what is taken, what becomes of the processes, what is refused.

What is refused stands in core/host/README.md; each row names its test here.
"""
import os
import resource
import signal
import socket
import subprocess
import sys
import time

from harness import CKPT, Case, environment, main

HEAD = "import os, sys, time\n"
LACKING = 77  # the exit status of a program that cannot do here what its test is about
TAIL = "\nprint('up', flush=True)\ntime.sleep(1000)\n"


class Process:
    """A process in a session of its own, whose output goes to a file."""

    def __init__(self, case, command, **options):
        self.out = case.path(f"out.{len(os.listdir(case.dir))}")
        with open(self.out, "wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, start_new_session=True, cwd=case.dir,
                                            close_fds=True, **options)
        case.addCleanup(self.end)
        self.pid = self.process.pid
        deadline = time.monotonic() + 60
        while not os.path.getsize(self.out):
            case.assertLess(time.monotonic(), deadline)
            if self.process.poll() == LACKING:
                case.skipTest("needs what this kernel, or its setting, does not have")
            time.sleep(0.01)
        with open(self.out, "rb") as out:
            case.assertEqual(out.read(), b"up\n")

    def state(self):
        with open(f"/proc/{self.pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0]

    def maps(self):
        """Without the sizes of heap and stack, which grow."""
        with open(f"/proc/{self.pid}/maps", encoding="utf-8") as f:
            return [line for line in f if "[heap]" not in line and "[stack]" not in line]

    def end(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(timeout=60)


def vdso_of(pid):
    """Its bytes, the same in all processes."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        area = next(line.split()[0] for line in f if "[vdso]" in line)
    begin, end = (int(n, 16) for n in area.split("-"))
    with open(f"/proc/{pid}/mem", "rb") as f:
        f.seek(begin)
        return f.read(end - begin)


class Live(Case):
    def python(self, code="", **options):
        return Process(self, [sys.executable, "-I", "-S", "-c", HEAD + code + TAIL], **options)

    def setUp(self):
        super().setUp()
        probe = subprocess.Popen(["sleep", "1000"], close_fds=True, stdout=subprocess.DEVNULL)
        done = self.ckpt("dump", "--pid", probe.pid, "--leave-running", "-q", "-o", "probe")
        probe.kill()
        probe.wait()
        if "ermitted" in done.err:
            self.skipTest("ptrace is not permitted here")

    def dump_messages(self, p, image):
        """Of a process in one of whose sockets more than one message waits."""
        done = self.ckpt("dump", "--pid", p.pid, "--leave-running", "-o", image)
        if "io_uring" in done.err:
            self.skipTest("needs io_uring, Linux 6.7")
        self.assertEqual(done.code, 0, done.err)


class Dump(Live):
    def test_ends_the_processes(self):
        p = self.python("child = os.fork()\nif child == 0: time.sleep(1000)")
        done = self.ok("dump", "--pid", p.pid, "-o", "t.ckpt")
        self.assertIn("2 processes ended", done.err)
        self.assertEqual(p.process.wait(timeout=60), -signal.SIGKILL)
        got = self.ok("inspect", "--json", "t.ckpt").json
        self.assertEqual(len(got["tasks"]), 2)
        self.ok("verify", "t.ckpt")

    def test_leaves_them_running(self):
        p = self.python()
        for _ in range(3):
            self.ok("dump", "--pid", p.pid, "--leave-running", "-o", "t.ckpt")
            self.assertIn(p.state(), "RS")

    def test_a_tree_that_never_rests(self):
        """It forks faster than it can be looked at, and dash does so by vfork(2)."""
        p = Process(self, ["sh", "-c", "echo up; (while :; do /bin/true; done) & "
                                       "while :; do /bin/true; done"])
        for _ in range(20):
            self.ok("dump", "--pid", p.pid, "--leave-running", "-o", "t.ckpt")

    def test_leaves_them_stopped(self):
        p = self.python()
        self.ok("dump", "--pid", p.pid, "--leave-stopped", "-o", "t.ckpt")
        self.assertEqual(p.state(), "T")
        self.assertEqual(self.ok("inspect", "--json", "t.ckpt").json["tasks"][0]["state"], "running")
        self.ok("dump", "--pid", p.pid, "--leave-running", "-o", "t.ckpt")
        self.assertEqual(p.state(), "T")
        self.assertEqual(self.ok("inspect", "--json", "t.ckpt").json["tasks"][0]["state"], "stopped")
        os.kill(p.pid, signal.SIGCONT)

    def test_failing_to_write(self):
        """Whoever was to be ended goes on, and nothing of ckpt's is left in him."""
        p = self.python("import threading\n"
                        "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()")
        before = p.maps()
        for _ in range(3):
            self.fails(1, "dump", "--pid", p.pid, "-o", "/dev/full", says="No space left")
            self.assertIn(p.state(), "RS")
            self.assertEqual(p.maps(), before)
            self.assertEqual(vdso_of(p.pid), vdso_of(os.getpid()))
        self.ok("dump", "--pid", p.pid, "--leave-running", "-o", "t.ckpt")
        self.assertEqual(p.maps(), before)

    def test_same_pages_once(self):
        """A hundred times the same 400 pages, which nothing compresses."""
        p = self.python("page = os.urandom(4096)\ndata = bytearray(page * 400)\n"
                        "kids = [os.fork() for _ in range(3)]\n"
                        "data[:] = bytearray(page * 400)\ntime.sleep(0 if all(kids) else 1000)")
        self.ok("dump", "--pid", p.pid, "--leave-running", "-o", "t.ckpt")
        self.assertLess(os.path.getsize(self.path("t.ckpt")), 5 << 20)

    def test_maps(self):
        p = self.python("import mmap\nm = mmap.mmap(-1, 1 << 20)\nm[:3] = b'abc'")
        self.ok("dump", "--pid", p.pid, "--leave-running", "-o", "t.ckpt")
        out = self.ok("inspect", "--maps", "t.ckpt").out
        self.assertRegex(out, r"(?m)^  [0-9a-f]+-[0-9a-f]+ +r-xp  .*/libc\.so\.6$")
        self.assertRegex(out, r"(?m)^  [0-9a-f]+-[0-9a-f]+ +rw-p  \[stack\]$")
        self.assertRegex(out, r"(?m)^  [0-9a-f]+-[0-9a-f]+ +rw-s  \[shared memory \d+\]$")
        self.assertRegex(out, r"(?m)^  \d+ mappings, .* are in the image$")
        self.assertIn("memory", self.ok("inspect", "t.ckpt").out)

    def test_diff(self):
        p = self.python()
        self.ok("dump", "--pid", p.pid, "--leave-stopped", "-o", "a.ckpt")
        self.ok("dump", "--pid", p.pid, "--leave-stopped", "-o", "b.ckpt")
        os.kill(p.pid, signal.SIGCONT)
        out = self.ckpt("diff", "a.ckpt", "b.ckpt").out
        self.assertIn("state: running", out)

    def test_sockets(self):
        """What waits is shown, and stays; so do offsets of who looks."""
        p = self.python("import signal, socket\n"
                        "a, b = socket.socketpair(type=socket.SOCK_SEQPACKET)\n"
                        "c, d = socket.socketpair()\nd.setsockopt(socket.SOL_SOCKET, 42, 1)\n"
                        "[a.send(m) for m in (b'one', b'', b'three')]\nc.send(b'stream')\n"
                        "c.shutdown(socket.SHUT_WR)\n"
                        "def look(*_):\n"
                        "    got = [b.recv(9) for _ in range(3)]\n"
                        "    got += [d.recv(9, socket.MSG_PEEK), d.recv(9), d.recv(9)]\n"
                        "    print(got, d.getsockopt(socket.SOL_SOCKET, 42),\n"
                        "          b.getsockopt(socket.SOL_SOCKET, 42), flush=True)\n"
                        "signal.signal(signal.SIGUSR1, look)")
        self.dump_messages(p, "a.ckpt")
        os.kill(p.pid, signal.SIGUSR1)
        deadline = time.monotonic() + 60
        while True:
            with open(p.out, encoding="utf-8") as f:
                said = f.read()
            if said.count("\n") == 2:
                break
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assertIn("[b'one', b'', b'three', b'tream', b'stream', b''] 0 -1", said)
        self.ok("dump", "--pid", p.pid, "--leave-running", "-o", "b.ckpt")
        fds = self.ok("inspect", "--fds", "a.ckpt").out
        self.assertRegex(fds, r"socket:\[\d+\].*  seqpacket  3 messages  8 bytes in flight  with .*:3")
        self.assertRegex(fds, r"  stream, receives no more  6 bytes in flight  with ")
        self.assertRegex(fds, r"  stream, sends no more  with ")
        ends = [o for o in self.ok("inspect", "--json", "a.ckpt").json["files"] if "socket" in o]
        self.assertEqual([o["socket"]["type"] for o in ends], ["seqpacket"] * 2 + ["stream"] * 2)
        self.assertEqual(ends[1]["socket"]["messages"], [3, 0, 5])
        self.assertEqual(ends[3]["socket"]["options"]["42"], 1)
        self.assertFalse(ends[3]["socket"]["receives"])
        self.ok("verify", "a.ckpt")
        diff = self.ckpt("diff", "a.ckpt", "b.ckpt").out
        self.assertRegex(diff, r"fd 4: socket's messages: 3.*0")
        self.assertRegex(diff, r"fd 6: socket's option 42: 1")

    def test_diff_of_a_deleted_file(self):
        p = self.python("import signal\nf = open('gone', 'wb', buffering=0)\nos.remove('gone')\n"
                        "f.write(b'1')\n"
                        "signal.signal(signal.SIGUSR1, lambda *_: os.pwrite(f.fileno(), b'2', 0))")
        for name in ("a.ckpt", "b.ckpt"):
            self.ok("dump", "--pid", p.pid, "--leave-running", "-o", name)
            os.kill(p.pid, signal.SIGUSR1)
            deadline = time.monotonic() + 60
            while os.pread(self.gone(p), 1, 0) != b"2":
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
        out = self.ckpt("diff", "a.ckpt", "b.ckpt").out
        self.assertRegex(out, r"fd \d+: contents: 1 bytes.*others, 1 bytes")

    def gone(self, p):
        for fd in os.listdir(f"/proc/{p.pid}/fd"):
            path = f"/proc/{p.pid}/fd/{fd}"
            if os.readlink(path).endswith("/gone (deleted)"):
                opened = os.open(path, os.O_RDONLY)
                self.addCleanup(os.close, opened)
                return opened
        return self.fail("it is not open")

    def test_owner_that_cannot_be_asked(self):
        """For want of descriptors: a dump knows whom a file signals, or says that it does not."""
        p = self.python("import fcntl\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, os.getpid())")
        said = ""
        for limit in range(4, 16):
            done = subprocess.run(
                [CKPT, "dump", "--pid", str(p.pid), "--leave-running", "-o", self.path("t.ckpt")],
                preexec_fn=lambda n=limit: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)),
                capture_output=True, env=environment(), timeout=60, check=False)
            said += done.stderr.decode()
            if done.returncode == 0:
                self.assertIn("FILE_OWNER", self.ok("inspect", "--records", "t.ckpt").out)
        if "memory cannot be printed" in said:
            self.skipTest("a sanitizer needs descriptors of its own")
        self.assertIn("whom it signals cannot be learned: Too many open files", said)

    def test_no_memory(self):
        p = self.python("import socket\ns = socket.socket()")
        self.ok("dump", "--pid", p.pid, "--no-memory", "--leave-running", "-o", "t.ckpt")
        self.assertIn("no memory", self.ok("inspect", "--maps", "t.ckpt").out)
        self.fails(1, "dump", "--pid", p.pid, "--no-memory", "-o", "u.ckpt", says="--leave-running")


class Refused(Live):
    def refused(self, says, code="", dump=(), once_up=lambda: None, **options):
        """All obstacles are named, the process goes on, and nothing is written."""
        p = self.process = self.python(code, **options)
        once_up()
        done = self.ckpt("dump", "--pid", p.pid, "-o", "t.ckpt", *dump)
        self.assertEqual(done.code, 1, done.err)
        self.assertRegex(done.err, says)
        self.assertIn(f"process {p.pid} (python", done.err)
        self.assertIn(p.state(), "RS")
        self.assertFalse(os.path.exists(self.path("t.ckpt")))
        return done

    def test_all_at_once(self):
        done = self.refused("3 obstacles", "import socket\na = socket.socket()\n"
                            "b = os.pidfd_open(os.getpid())\nimport ctypes\n"
                            "c = ctypes.CDLL(None).inotify_init()")
        for what in ("socket", "pidfd", "inotify"):
            self.assertRegex(done.err, rf"not checkpointable: process .*fd \d+ .*type {what}")

    def test_socket(self):
        self.refused("type socket, but not of AF_UNIX", "import socket\na = socket.socket()")

    def socket_refused(self, says, code):
        self.refused(says, "import array, socket\n" + code)

    def test_descriptors_in_flight(self):
        send = "socket.socketpair(type=socket.{})\n" \
               "b[0].sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))])"
        for kind in ("SOCK_STREAM", "SOCK_DGRAM", "SOCK_SEQPACKET"):
            self.socket_refused(r"SCM_RIGHTS\) or credentials in flight", "b = " + send.format(kind))

    def test_credentials_in_flight(self):
        self.socket_refused("credentials in flight", "a, b = socket.socketpair()\n"
                            "b.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)\na.send(b'x')")
        self.socket_refused("credentials in flight", "a, b = socket.socketpair()\n"
                            "a.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)\na.send(b'x')")

    def test_socket_to_outside(self):
        here, there = socket.socketpair()
        self.addCleanup(here.close)
        self.refused("whose other end is in no process of the tree", once_up=there.close,
                     pass_fds=(there.fileno(),))

    def test_socket_of_others(self):
        """Both ends are in the tree, but not in it alone."""
        a, b = socket.socketpair()
        with a, b:
            self.refused(f"process {os.getpid()} outside of the tree has it open, too",
                         pass_fds=(a.fileno(), b.fileno()))

    def test_named_sockets(self):
        done = self.refused(
            "4 obstacles", "import socket\nl = socket.socket(socket.AF_UNIX)\nl.bind('name')\n"
            "l.listen()\nc = socket.socket(socket.AF_UNIX)\nc.connect('name')\ns, _ = l.accept()\n"
            "w = socket.socket(socket.AF_UNIX)\nw.connect('name')")
        for why in ("listens for connections", "has a name, or was made by one",
                    "whose other end has a name", "was not accepted yet"):
            self.assertIn(why, done.err)

    def test_socket_out_of_band(self):
        self.socket_refused("out-of-band data", "a, b = socket.socketpair()\n"
                            "a.send(b'x', socket.MSG_OOB)")

    def test_socket_options(self):
        self.socket_refused("with option 29 of", "a, b = socket.socketpair()\n"
                            "a.setsockopt(socket.SOL_SOCKET, 29, 1)")

    def test_messages_that_are_not_seen(self):
        """An empty one that was looked at: by the first dump."""
        p = self.python("import socket\na, b = socket.socketpair(type=socket.SOCK_DGRAM)\n"
                        "a.send(b'x')\na.send(b'')\na.send(b'y')")
        self.dump_messages(p, "t.ckpt")
        self.fails(1, "dump", "--pid", p.pid, "-o", "u.ckpt", says="messages wait that cannot be seen")

    def test_epoll_of_closed(self):
        self.refused("watches a file that", "import select\na, b = os.pipe()\nc = os.dup(a)\n"
                     "e = select.epoll()\ne.register(a)\nos.close(a)")

    def test_pipe_to_outside(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        try:
            self.refused("outside of the tree has the other end", pass_fds=(write,))
        finally:
            os.close(write)

    def test_packets(self):
        self.refused("pipe of packets", "a = os.pipe2(os.O_DIRECT)")

    def test_fifo_of_others(self):
        os.mkfifo(self.path("fifo"))
        fd = os.open(self.path("fifo"), os.O_RDWR)
        self.addCleanup(os.close, fd)
        self.refused(f"fifo: process {os.getpid()} outside of the tree has it open",
                     "f = os.open('fifo', os.O_WRONLY)")

    def test_fifo_without_name(self):
        os.mkfifo(self.path("fifo"))
        self.refused("fifo .*was deleted", "f = os.open('fifo', os.O_RDWR)\nos.remove('fifo')")

    def test_large_deleted_file(self):
        """Only what is no hole counts."""
        code = "f = open('gone', 'wb')\nos.remove('gone')\nf.write(b'x' * 300000)\n" \
               "f.seek(1 << 30)\nf.write(b'y')\nf.flush()"
        done = self.refused(r"fd \d+ .*gone \(deleted\): was deleted, and holds 3\d{5} bytes", code,
                            dump=["--deleted-limit", "200K"])
        self.assertIn("--deleted-limit 1M takes them", done.err)
        p = self.python(code)
        self.ok("dump", "--pid", p.pid, "--deleted-limit", "1M", "-o", "t.ckpt")
        self.assertLess(os.path.getsize(self.path("t.ckpt")), 4 << 20)

    def test_large_deleted_mapping(self):
        self.refused("mapping .*was deleted, and holds 8192 bytes",
                     "import mmap\nf = open('gone', 'w+')\nf.write('x' * 5000)\n"
                     "f.flush()\nm = mmap.mmap(f.fileno(), 4096)\nos.remove('gone')\nf.close()",
                     dump=["--deleted-limit", "8191"])

    def test_deleted_hard_link(self):
        self.refused("was deleted, but has another name",
                     "f = open('gone', 'w')\nos.link('gone', 'other')\nos.remove('gone')")

    def test_leased_deleted_file(self):
        """The lease is not broken by a look at the file."""
        self.refused("holds a lease", "import fcntl, signal\nf = open('leased', 'w')\n"
                     "signal.signal(signal.SIGIO, lambda *_: print('broken', flush=True))\n"
                     "fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)\nos.remove('leased')")
        with open(self.process.out, encoding="utf-8") as f:
            self.assertEqual(f.read(), "up\n")

    def test_secret_memory(self):
        import ctypes
        if ctypes.CDLL(None).syscall(447, 0x80000) < 0:
            self.skipTest("needs memfd_secret(2)")
        self.refused(r"/secretmem \(deleted\): is of no file system that is mounted",
                     "import ctypes\nctypes.CDLL(None).syscall(447, 0)")

    def test_memory_of_no_file_system(self):
        """The ring of io_setup(2) is mapped under a name of its own."""
        self.refused(r"mapping .*\[aio\]: is of no regular file", "import ctypes\n"
                     "r = ctypes.c_ulong(0)\nassert ctypes.CDLL(None).syscall(206, 8, ctypes.byref(r)) == 0")

    def test_seal_that_came_later(self):
        self.refused("in spite of its file's seal", "import fcntl, mmap\nf = os.memfd_create('x', 2)\n"
                     "os.truncate(f, 4096)\nm = mmap.mmap(f, 4096)\nfcntl.fcntl(f, 1033, 0x10)")

    def test_shared_tables(self):
        for flag, name in ((0x400, "CLONE_FILES"), (0x200, "CLONE_FS")):
            p = self.python("import ctypes\nlibc = ctypes.CDLL(None)\n"
                            f"if libc.syscall(56, {flag} | 17, 0, 0, 0, 0) == 0: time.sleep(1000)")
            done = self.fails(1, "dump", "--pid", p.pid, "-o", "t.ckpt")
            self.assertRegex(done.err, rf"shared with process {p.pid} \({name}\)")
            p.end()

    def test_one_memory(self):
        """clone(2) with CLONE_VM: a child, and a sibling (CLONE_PARENT)."""
        clone = ("import ctypes\nlibc = ctypes.CDLL(None)\nstack = ctypes.create_string_buffer(65536)\n"
                 "top = ctypes.c_void_p(ctypes.addressof(stack) + 65520)\n"
                 "def clone(flags):\n"
                 "    assert libc.clone(libc.pause, top, 0x100 | flags | 17, None) > 0\n")
        for code in "clone(0)", "if os.fork() == 0:\n    clone(0x8000)\n    time.sleep(1000)":
            p = self.python(clone + code)
            done = self.fails(1, "dump", "--pid", p.pid, "-o", "t.ckpt")
            self.assertRegex(done.err, r"memory: is shared with process \d+ \(vfork or CLONE_VM\)")
            self.assertIn(p.state(), "RS")
            p.end()

    def test_vfork(self):
        p = subprocess.Popen([sys.executable, "-c", "import ctypes, os\n"
                              "if ctypes.CDLL(None).syscall(56, 0x4100 | 17, 0, 0, 0, 0) == 0:\n"
                              "    while True: os.write(1, b'.')"],
                             stdout=subprocess.PIPE, start_new_session=True)
        self.addCleanup(p.wait)
        self.addCleanup(os.killpg, p.pid, signal.SIGKILL)
        os.read(p.stdout.fileno(), 1)
        self.fails(1, "dump", "--pid", p.pid, "-o", "t.ckpt", says="vfork")

    def test_huge_pages(self):
        self.refused("mapping .* has the flag 'ht'", "import mmap\n"
                     "try: m = mmap.mmap(-1, 2 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)\n"
                     "except OSError: os._exit(77)")

    def test_userfaultfd(self):
        self.refused("mapping .* has the flag 'um'", "import ctypes, fcntl, mmap, struct\n"
                     "libc = ctypes.CDLL(None)\n"
                     "m = mmap.mmap(-1, 65536, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
                     "at = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
                     "u = libc.syscall(323, 0)\n"
                     "if u < 0: os._exit(77)\n"
                     "fcntl.ioctl(u, 0xc018aa3f, struct.pack('QQQ', 0xaa, 0, 0))\n"
                     "fcntl.ioctl(u, 0xc020aa00, struct.pack('QQQQ', at, 65536, 1, 0))")

    def test_timer_of_thread_time(self):
        self.refused("timer 0: of the clock of a thread", "import ctypes\nlibc = ctypes.CDLL(None)\n"
                     "i = ctypes.c_int()\nassert libc.syscall(222, 3, None, ctypes.byref(i)) == 0")

    def test_lease(self):
        self.refused("holds a lease", "import fcntl\nf = open('leased', 'w')\n"
                     "fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)")

    def test_async(self):
        self.refused(f"its signals go to process {os.getpid()} outside of the tree",
                     "import fcntl\na, b = os.pipe()\nfcntl.fcntl(a, fcntl.F_SETOWN, os.getppid())")

    def test_async_of_another_user(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to become another user")
        self.refused("its signals were asked for by user 0",
                     "import ctypes, fcntl\nlibc = ctypes.CDLL(None)\na, b = os.pipe()\n"
                     "fcntl.fcntl(a, fcntl.F_SETOWN, os.getpid())\nos.setuid(65534)\nlibc.prctl(4, 1)")

    def test_seccomp(self):
        self.refused("seccomp", "import ctypes\nlibc = ctypes.CDLL(None)\n"
                     "class F(ctypes.Structure): _fields_ = [('c', ctypes.c_ushort), ('t', ctypes.c_ubyte),"
                     " ('f', ctypes.c_ubyte), ('k', ctypes.c_uint)]\n"
                     "class P(ctypes.Structure): _fields_ = [('n', ctypes.c_ushort), ('f', ctypes.POINTER(F))]\n"
                     "f = F(6, 0, 0, 0x7fff0000)\np = P(1, ctypes.pointer(f))\n"
                     "assert libc.prctl(38, 1, 0, 0, 0) == 0\n"
                     "assert libc.prctl(22, 2, ctypes.byref(p)) == 0")

    def test_deleted_directory(self):
        self.refused("working directory: was deleted", "os.mkdir('d')\nos.chdir('d')\nos.rmdir('../d')")

    def test_pseudoterminal_master(self):
        self.refused("master of a pseudoterminal", "import pty\na = pty.openpty()")

    def test_deadline(self):
        self.refused("is of SCHED_DEADLINE",
                     "import ctypes\nimport struct\nlibc = ctypes.CDLL(None)\n"
                     "attr = struct.pack('IIQiIQQQ', 48, 6, 0, 0, 0, 10**6, 10**7, 10**7)\n"
                     "if libc.syscall(314, 0, attr, 0) != 0: os._exit(77)")

    def test_network_namespace(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to make a namespace")
        self.refused("network namespace", "import ctypes\nassert ctypes.CDLL(None).unshare(0x40000000) == 0")

    def test_shared_memory_sysv(self):
        self.refused("System V shared memory", "import ctypes\nlibc = ctypes.CDLL(None)\n"
                     "i = libc.shmget(0, 4096, 0o1600)\nlibc.shmat.restype = ctypes.c_void_p\n"
                     "assert libc.shmat(i, None, 0)\nlibc.shmctl(i, 0, None)")

    def test_traced(self):
        p = self.python()
        try:
            tracer = subprocess.Popen(["strace", "-q", "-o", self.path("trace"), "-p", str(p.pid)])
        except FileNotFoundError:
            self.skipTest("needs strace")
        self.addCleanup(tracer.wait)
        self.addCleanup(tracer.kill)
        deadline = time.monotonic() + 60
        traced = False
        while not traced:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
            with open(f"/proc/{p.pid}/status", encoding="utf-8") as f:
                traced = f"TracerPid:\t{tracer.pid}\n" in f.read()
        self.fails(1, "dump", "--pid", p.pid, "-o", "t.ckpt", says=f"process {tracer.pid} traces it")

    def test_zombie(self):
        p = self.python()
        os.kill(p.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while p.state() != "Z":
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.fails(1, "dump", "--pid", p.pid, "-o", "z.ckpt", says="all of them have ended")
        self.ok("dump", "--pid", p.pid, "--no-memory", "--leave-running", "-o", "z.ckpt")

    def test_itself(self):
        p = subprocess.run(["bash", "-c", '"$0" dump --pid $$ -o t.ckpt; echo "code $?"', CKPT],
                           cwd=self.dir, capture_output=True, env=environment(), timeout=60,
                           start_new_session=True, check=False)
        self.assertIn(b"ckpt itself is one of them", p.stderr)
        self.assertEqual(p.stdout, b"code 1\n")


if __name__ == "__main__":
    main()
