#!/usr/bin/env python3
"""Each program of ckpt_state through the real command: dumped, restored, and both once more.

    run_states.py CKPT CKPT_STATE [--host|--nested] [--fixed] [--older] [--jobs N] [THEME|NAME...]

Before that it is dumped and left running. The first restore is with --here, the second into a pid
namespace of its own. Each time the tree must be the one that was dumped: numbers, families, states,
names, mappings, descriptors and all that /proc/PID/status tells. At last the root gets SIGTERM through ckpt and says whether all was right.

--nested: all of it within a pid namespace with a /proc of its own; --host, the default: here.
--fixed: addresses are not random. --older: dumps find a kernel like Linux 6.1. One line for each
program; exit status 1 if one failed, 77 if all were skipped (not permitted here).
"""
import argparse
import concurrent.futures
import ctypes
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

PR_SET_CHILD_SUBREAPER = 36
ADDR_NO_RANDOMIZE = 0x40000  # personality(2)
LARGE_FILE = 0o100000  # a pipe that was opened by name has it
UNNAMED = os.O_TMPFILE  # shown by who created a file so; its restore opens what is there
WAITS = "128 "  # rt_sigtimedwait(2)
PATIENCE = 100  # seconds that a step may take on a machine with much else to do
SKIPPED = 77
NEWER = ("guard_pages",)  # what a kernel like Linux 6.1 has not
OLDER_KERNEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "older_kernel.py")
# The kernel shows empty messages of sockets to the first look only (MSG_PEEK with SO_PEEK_OFF).
SEEN_ONCE = ("socket_messages", "socket_many_messages", "socket_shutdown", "socket_options")


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class Children:
    """All children of this process, orphans too: somebody must reap them, as their numbers are to
    be used again."""

    def __init__(self):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.ended, self.changed = {}, threading.Condition()
        threading.Thread(target=self._reap, daemon=True).start()

    def _reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(0.005)
                continue
            with self.changed:
                self.ended[pid] = status
                self.changed.notify_all()

    def start(self, command, out):
        """`out` gets standard output and error."""
        with open(out, "wb") as file:
            p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                 start_new_session=True, close_fds=True)
        p.returncode = 0  # it is not subprocess that reaps
        return p.pid

    def status(self, pid):
        """None while it lives."""
        with self.changed:
            return self.ended.get(pid)

    def wait(self, pid, what):
        with self.changed:
            if not self.changed.wait_for(lambda: pid in self.ended, PATIENCE):
                raise Failed(f"{what} does not end")
            return os.waitstatus_to_exitcode(self.ended.pop(pid))


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def stat_of(pid):
    """(comm, state, ppid), or None."""
    text = read(f"/proc/{pid}/stat")
    if not text:
        return None
    head, tail = text.rsplit(")", 1)
    fields = tail.split()
    return head.split("(", 1)[1], fields[0], int(fields[1])


def tree_of(root):
    """The pids of a tree, parents first."""
    children = {}
    for entry in os.listdir("/proc"):
        stat = entry.isdigit() and stat_of(entry)
        if stat:
            children.setdefault(stat[2], []).append(int(entry))
    found = [root]
    for pid in found:
        found += sorted(children.get(pid, []))
    return found


# What may differ from one life to the next, or does by itself.
PASSING = re.compile(r"(Ngid|FDSize|Vm\w+|Rss\w+|HugetlbPages|voluntary_ctxt_switches|"
                     r"nonvoluntary_ctxt_switches|Cpus_allowed\w*|Mems_allowed\w*|TracerPid|"
                     r"Speculation\w*|SigQ|Pid|Tgid|PPid|NStgid|NSpid|NSpgid|NSsid|State)$")


def numbers(text, key):
    return [int(n) for n in re.search(rf"^{key}:(.*)$", text, re.M).group(1).split()]


def status_of(text):
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    facts = {k: v.strip() for k, v in fields.items() if not PASSING.match(k)}
    if not fields["State"].lstrip().startswith("T"):
        # What is pending and not blocked is about to be taken: it depends on the instant.
        for key in ("SigPnd", "ShdPnd"):
            facts[key] = f"{int(facts[key], 16) & int(facts['SigBlk'], 16):016x}"
    return facts


def door_of(pid):
    """Where a process can be looked into: a dead leader's threads may live."""
    for tid in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
        path = f"/proc/{pid}/task/{tid}"
        if re.search(r"^State:\s+[^ZX]", read(path + "/status"), re.M):
            return path
    return None


# The name of a file that was deleted, or never had one, is told in other words after a restore.
NAMELESS = re.compile(r"^/.* \(deleted\)$")


def maps_of(door):
    """Neighbours that could be one mapping are one; memory and files without a name have no number."""
    merged = []
    for line in read(f"{door}/maps").splitlines():
        area, mode, offset, device, inode, *name = line.split(None, 5)
        name = name[0] if name else ""
        begin, end = (int(n, 16) for n in area.split("-"))
        if name.startswith("/dev/zero"):
            inode = ""
        elif NAMELESS.match(name):
            device, inode, name = "", "", "(deleted)"
        if name.startswith("[vvar") or name == "[vsyscall]":
            continue
        if name == "[stack]":
            begin = 0  # grows
        kind = [mode, device, inode, name]
        if merged and merged[-1][1] == begin and merged[-1][2] == kind and inode == "0":
            merged[-1][1] = end
        else:
            merged.append([begin, end, kind, offset])
    return [f"{b:x}-{e:x} {offset} {' '.join(kind)}" for b, e, kind, offset in merged]


def descriptors_of(door):
    found = {}
    try:
        for fd in os.listdir(f"{door}/fd"):
            link = re.sub(r":\[\d+\]", "", os.readlink(f"{door}/fd/{fd}"))
            link = NAMELESS.sub("(deleted)", link)
            info = read(f"{door}/fdinfo/{fd}")
            flags = int((re.findall(r"^flags:\s*(\d+)", info, re.M) or ["0"])[0], 8)
            if link == "(deleted)" and flags & UNNAMED == UNNAMED:
                flags &= ~UNNAMED
            found[fd] = f"{link} {flags & ~LARGE_FILE:o}"
    except (FileNotFoundError, PermissionError):
        pass
    return found


def facts_of(root):
    """What must be the same before and after, by the numbers within the root's own namespace."""
    root_status = read(f"/proc/{root}/status")
    if not root_status:
        raise Failed("the root process is gone")
    outer = len(numbers(root_status, "NSpid")) - 1
    facts = {}
    for pid in tree_of(root):
        text = read(f"/proc/{pid}/status")
        own = numbers(text, "NSpid")[outer:]
        parent = read(f"/proc/{stat_of(pid)[2]}/status")
        fact = {key: numbers(text, key)[outer:] for key in ("NSpid", "NStgid", "NSpgid", "NSsid")}
        fact["parent"] = numbers(parent, "NSpid")[outer:] if pid != root and parent else []
        state = stat_of(pid)[1]
        fact["state"] = state if state in "ZT" else "alive"
        door = door_of(pid)
        if door:
            fact["directory"] = [os.readlink(f"{door}/{n}") for n in ("cwd", "exe")]
            fact["maps"] = maps_of(door)
            fact["descriptors"] = descriptors_of(door)
        for name in ("limits", "oom_score_adj", "cmdline", "environ", "auxv", "coredump_filter",
                     "personality", "timerslack_ns"):
            fact[name] = read(f"/proc/{pid}/{name}")
        if door:
            for tid in os.listdir(f"/proc/{pid}/task"):
                thread = read(f"/proc/{pid}/task/{tid}/status")
                if thread and "\nState:\tZ" not in thread:
                    fact[f"thread {numbers(thread, 'NSpid')[outer:]}"] = status_of(thread)
        facts[tuple(own)] = fact
    return facts


def difference(before, after):
    """The first one, for a person."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in list(before) + [k for k in after if k not in before]:
            if before.get(key) != after.get(key):
                return f"{key}: {difference(before.get(key), after.get(key))}"
    if isinstance(before, list) and isinstance(after, list):
        return f"{[x for x in before if x not in after]} became " \
               f"{[x for x in after if x not in before]}"
    return f"{before!r} became {after!r}"


class Run:
    """One program: it says "ready", and checks itself after SIGTERM."""

    def __init__(self, ckpt, command, children, folder, name, dumper=None):
        """`dumper`: the command that dumps, if it is not just `ckpt`."""
        self.ckpt, self.command, self.children, self.name = ckpt, command, children, name
        self.dumper = dumper or [ckpt]
        self.base = os.path.join(folder, name)

    def until(self, condition, what):
        end = time.monotonic() + PATIENCE
        while True:
            done = condition()
            if done:
                return done
            if time.monotonic() > end:
                raise Failed(what)
            time.sleep(0.01)

    def start(self):
        out = self.base + ".out"
        pid = self.children.start(self.command, out)
        self.until(lambda: "ready\n" in read(out) or self.children.status(pid) is not None,
                   "it does not start")
        if "ready\n" not in read(out):
            status = self.children.wait(pid, "it")
            if status == SKIPPED:
                raise Skipped(read(out).strip())
            raise Failed(f"it ended with {status} at once: {read(out).strip()}")
        return pid

    def dump(self, root, *options):
        out = self.base + ".dump"
        dump = self.children.start([*self.dumper, "dump", "--pid", str(root), "-o", self.image(),
                                    *options], out)
        status = self.children.wait(dump, "dump")
        if status != 0:
            text = read(out).strip().splitlines()[-1]
            raise (Skipped if "ermitted" in text and "ptrace" in text else Failed)("dump: " + text)

    def image(self):
        return self.base + ".ckpt"

    def restore(self, *options):
        """The pids of ckpt and of the root process, once it runs."""
        out = self.base + ".restore"
        ckpt = self.children.start([self.ckpt, "restore", self.image(), *options], out)
        self.until(lambda: "restored: " in read(out) or self.children.status(ckpt) is not None,
                   "restore does not come to its end: " + read(out))
        found = re.search(r"the (root process|init of their pid namespace) is (\d+) here", read(out))
        if not found:
            raise Failed(f"restore ended with {self.children.wait(ckpt, 'restore')}: "
                         f"{read(out).strip()}")
        root = int(found.group(2))
        return ckpt, root if found.group(1) == "root process" else tree_of(root)[1]

    def same(self, before, root):
        """It may take a moment until the restored processes sleep where they slept."""
        after = self.facts(root)
        end = time.monotonic() + 5
        while after != before and time.monotonic() < end:
            time.sleep(0.05)
            after = self.facts(root)
        if after != before:
            raise Failed("not as it was: " + difference(before, after))

    def facts(self, root):
        # The mask of signals is another one while it waits.
        self.until(lambda: any(read(f"/proc/{root}/task/{tid}/syscall").startswith(WAITS)
                               for tid in os.listdir(f"/proc/{root}/task")), "it does not wait")
        return facts_of(root)

    def settled(self, root):
        """What a moment shows may pass: a signal that is about to be taken."""
        facts, before = self.facts(root), None
        while facts != before:
            time.sleep(0.01)
            facts, before = self.facts(root), facts
        return facts

    def gone(self, pids):
        self.until(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids),
                   "processes outlive their dump")
        # A number is free when it has been reaped to the end, which may be after it has left /proc.
        self.children.wait(self.children.start(["true"], os.devnull), "true")

    def go(self):
        root = self.start()
        before = self.settled(root)
        pids = tree_of(root)
        # Calls that were interrupted once are restart_syscall(2) from then on.
        if self.name not in SEEN_ONCE:
            self.dump(root, "--leave-running")
            self.same(before, root)
        self.dump(root)
        self.children.wait(root, "the dumped process")
        self.gone(pids)
        ckpt, root = self.restore("--here")
        if root != pids[0]:
            raise Failed(f"the root process was {pids[0]} and is {root}")
        self.same(before, root)
        pids = tree_of(root)
        self.dump(root)
        self.children.wait(ckpt, "ckpt after the second dump")
        self.gone(pids)
        ckpt, root = self.restore()
        self.same(before, root)
        os.kill(ckpt, signal.SIGTERM)
        status = self.children.wait(ckpt, "the check")
        if status == SKIPPED:
            raise Skipped(read(self.base + ".out").strip())
        if status != 0:
            raise Failed(f"{read(self.base + '.out').strip()} (status {status})")

    def verdict(self):
        begin = time.monotonic()
        try:
            self.go()
            what, why = "PASS", ""
        except Skipped as skipped:
            what, why = "SKIP", str(skipped)
        except Failed as failed:
            what, why = "FAIL", str(failed)
        except Exception:  # one program must not hide the others
            what, why = "FAIL", traceback.format_exc()
        # In one piece, as others print at the same time.
        print(f"{what} {self.name} ({time.monotonic() - begin:.1f} s){why and ': ' + why}\n",
              end="", flush=True)
        return what


def end_all():
    """Nothing outlives the tests."""
    for _ in range(100):
        left = tree_of(os.getpid())[1:]
        left = [pid for pid in left if stat_of(pid) and stat_of(pid)[1] != "Z"]
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ckpt", type=os.path.abspath)
    parser.add_argument("state", type=os.path.abspath)
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--host", action="store_true")
    place.add_argument("--nested", action="store_true")
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--older", action="store_true")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("which", nargs="*")
    options = parser.parse_intermixed_args()
    if os.geteuid() != 0:
        print("skipped: needs root")
        return SKIPPED
    # As a login shell has it: ckpt raises it for itself, not for those it restores.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    if options.fixed and ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE) < 0:
        print("skipped: addresses may not be the same each time: personality(2) is not permitted")
        return SKIPPED
    dumper = [options.ckpt]
    if options.older:
        dumper = [sys.executable, "-B", OLDER_KERNEL, options.ckpt]
        if subprocess.run([*dumper[:-1], "true"], check=False).returncode != 0:
            print("skipped: needs seccomp(2)")
            return SKIPPED
    if options.nested:
        command = [a for a in sys.argv if a != "--nested"]
        probe = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], check=False)
        if probe.returncode != 0:
            print("skipped: needs unshare(1), and pid namespaces")
            return SKIPPED
        os.execvp("unshare", ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child",
                              sys.executable, "-B", *command])
    listed = [line.split() for line in
              subprocess.run([options.state, "--list"], check=True, capture_output=True,
                             text=True).stdout.splitlines()]
    names = [n for theme, n in listed
             if not options.which or theme in options.which or n in options.which]
    if options.older:
        names = [n for n in names if n not in NEWER]
    if not names:
        parser.error("no such program")
    children = Children()
    with tempfile.TemporaryDirectory(prefix="ckpt-states-") as folder:
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            run = lambda n: Run(options.ckpt, [options.state, n], children, folder, n,
                                dumper).verdict()
            verdicts = list(pool.map(run, names))
        end_all()
    failed = [n for n, v in zip(names, verdicts) if v == "FAIL"]
    print(f"{len(names)} programs, {verdicts.count('SKIP')} skipped, {len(failed)} failed"
          + "".join(" " + n for n in failed))
    return 1 if failed else SKIPPED if set(verdicts) == {"SKIP"} else 0


if __name__ == "__main__":
    sys.exit(main())
