#!/usr/bin/env python3
"""An independent reader of linux-cr's record framing [LC-14].

    zstd -dc image.ckpt | ckptwalk.py [-v]

Written from linux-cr's layout (include/linux/checkpoint_hdr.h, version 23) and from nothing else:
it shares no code and no constants with format/, so that the two can disagree. It walks every record
to TAIL, names it, and checks HEADER, PIDS, TREE, TASK and TAIL. Exit status 0 and a summary, or 1
and one line that says what is wrong, in which record, at which offset. -v lists the records.
"""
import struct
import sys

# linux-cr's numbers and names; 2001 to 4095 are free for others' records.
NAMES = {
    1: "HEADER", 2: "HEADER_ARCH", 3: "CONTAINER", 4: "BUFFER", 5: "STRING", 6: "OBJREF",
    101: "PIDS", 102: "TREE", 103: "TASK", 104: "TASK_NS", 105: "TASK_OBJS", 106: "RESTART_BLOCK",
    107: "THREAD", 108: "CPU", 109: "NS", 115: "CRED", 118: "TASK_CREDS",
    301: "FILE_TABLE", 302: "FILE_DESC", 303: "FILE_NAME", 304: "FILE", 305: "PIPE_BUF", 306: "TTY",
    401: "MM", 402: "VMA", 403: "PGARR", 451: "FS",
    601: "SIGHAND", 602: "SIGNAL", 603: "SIGNAL_TASK", 604: "SIGPENDING",
    9001: "TAIL", 9999: "ERROR",
}
FOREIGN = range(2001, 4096)

HEAD = struct.Struct("<II")
HEADER_MAGIC = 0x00FEED0CC0A2D200
TAIL_MAGIC = 0x002D2A0CC0DEEF00
TASK_SIZE = 72  # struct ckpt_hdr_task with its head
TREE_ENTRY = struct.Struct("<iiiiiI")  # pid, ppid, tgid, pgid, sid, depth
NO_PID, OUTSIDE_PID = -4096, -4097
MAX_DEPTH = 32  # MAX_PID_NS_LEVEL
EXIT_STATES = (0, 16, 32)  # none, dead, zombie
UNPADDED = ("BUFFER", "STRING", "FILE_NAME")


class Wrong(Exception):
    pass


def need(condition, text):
    if not condition:
        raise Wrong(text)


class Records:
    """The records of a stream one by one: (name, payload)."""

    def __init__(self, stream, verbose=False):
        self.stream, self.verbose = stream, verbose
        self.offset = self.next_offset = 0
        self.number = -1
        self.name = "start"

    def read(self, size, what):
        parts = []
        while size > 0:
            part = self.stream.read(min(size, 1 << 20))
            need(part, f"the stream ends within {what}")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def take(self):
        self.offset = self.next_offset
        self.number += 1
        kind, length = HEAD.unpack(self.read(HEAD.size, "a record's head (no TAIL yet)"))
        self.name = NAMES.get(kind) or (f"({kind})" if kind in FOREIGN else None)
        need(self.name, f"type {kind} is neither linux-cr's nor in the range left to others")
        need(length >= HEAD.size, f"{self.name}: length {length} is less than a head")
        need(self.name in UNPADDED or kind in FOREIGN or length % 8 == 0,
             f"{self.name}: length {length} of a fixed record is no multiple of 8")
        self.next_offset += length
        if self.verbose:
            print(f"{self.number:8} @{self.offset:<10} {self.name:<14} {kind:5} len {length}")
        return self.name, self.read(length - HEAD.size, self.name)

    def take_buffer(self, of):
        name, payload = self.take()
        need(name == "BUFFER", f"{of} is followed by {name}, not by its BUFFER")
        return payload

    def buffers_of(self, of, size):
        """The payloads of one or more BUFFERs in a row that hold `size` bytes together."""
        found = b""
        while len(found) < size:
            part = self.take_buffer(of)
            need(part, f"an empty BUFFER of {of}")
            found += part
        need(len(found) == size, f"{of}: {len(found)} bytes in its BUFFER, expected {size}")
        return found


class Walk:
    def __init__(self, records):
        self.records = records
        self.counts = {}
        self.pids = None  # range of the pid objects' references
        self.depths = []
        self.nr_tasks = None

    def run(self):
        first = True
        while True:
            name, payload = self.records.take()
            self.counts[name] = self.counts.get(name, 0) + 1
            need(first == (name == "HEADER"), "HEADER must be the first record and the only one")
            first = False
            if name == "TAIL":
                self.tail(payload)
                return
            check = {"HEADER": self.header, "PIDS": self.pids_record, "TREE": self.tree,
                     "TASK": self.task, "ERROR": self.error}.get(name)
            if check:
                check(payload)

    def header(self, payload):
        # magic; arch_id, major, minor, patch, rev; constants; time; uflags
        need(len(payload) >= 64, f"HEADER: {len(payload)} bytes, linux-cr's has 64")
        magic, = struct.unpack_from("<Q", payload)
        need(magic == HEADER_MAGIC, f"HEADER: magic {magic:#018x}")
        revision, comm_len = struct.unpack_from("<H6xH", payload, 16)
        need(revision == 23, f"HEADER: revision {revision} of linux-cr, expected 23")
        need(comm_len == 16, f"HEADER: task_comm_len {comm_len}")
        # linux-cr has the uts names of the kernel follow: release, version, machine.
        uts = dict(zip(("sysname", "nodename", "release", "version", "machine", "domainname"),
                       struct.unpack_from("<6H", payload, 30)))
        for field in ("release", "version", "machine"):
            text = self.records.take_buffer("HEADER")
            need(len(text) == uts[field],
                 f"HEADER: {field} has {len(text)} bytes, its constant says {uts[field]}")
            need(b"\0" in text, f"HEADER: {field} does not end")

    def pids_record(self, payload):
        need(self.pids is None, "a second PIDS")
        need(len(payload) in (12, 16), f"PIDS: {len(payload)} bytes")
        nr_pids, nr_vpids, offset = struct.unpack_from("<III", payload)
        need(nr_pids > 0 and offset > 0, "PIDS: no pids, or a reference of 0")
        size = nr_pids * 8 + nr_vpids * 4
        table = self.records.buffers_of("PIDS", size)
        at = 0
        for index in range(nr_pids):
            need(at + 8 <= size, f"PIDS: entry {index} lies beyond the BUFFER")
            depth, = struct.unpack_from("<I", table, at)
            need(depth <= MAX_DEPTH, f"PIDS: entry {index} has depth {depth}")
            need(at + 8 + 4 * depth <= size, f"PIDS: entry {index} lies beyond the BUFFER")
            numbers = struct.unpack_from(f"<{depth + 1}i", table, at + 4)
            # -1: our mark of a number that nobody could learn.
            need(all(n > 0 or n == -1 for n in numbers),
                 f"PIDS: entry {index} has the numbers {numbers}")
            self.depths.append(depth)
            at += 8 + 4 * depth
        need(at == size, f"PIDS: {size - at} bytes after the last entry")
        need(sum(self.depths) == nr_vpids, f"PIDS: depths sum to {sum(self.depths)}, not {nr_vpids}")
        self.pids = range(offset, offset + nr_pids)

    def tree(self, payload):
        need(self.pids is not None, "TREE before PIDS")
        need(self.nr_tasks is None, "a second TREE")
        self.nr_tasks, = struct.unpack_from("<I", payload)
        need(self.nr_tasks > 0, "TREE: no tasks")
        table = self.records.buffers_of("TREE", self.nr_tasks * TREE_ENTRY.size)
        seen, root = set(), None
        for index, entry in enumerate(TREE_ENTRY.iter_unpack(table)):
            *refs, depth = entry
            for field, ref in zip(("pid", "ppid", "tgid", "pgid", "sid"), refs):
                need(ref in self.pids or ref in (0, NO_PID, OUTSIDE_PID),
                     f"TREE: task {index}: {field} refers to {ref}, which is no pid object")
            pid, ppid, tgid = refs[:3]
            need(pid in self.pids and pid not in seen, f"TREE: task {index}: pid is no pid of its own")
            need(depth == self.depths[pid - self.pids.start],
                 f"TREE: task {index}: depth {depth} is not its pid's")
            need(tgid == pid or tgid in seen, f"TREE: task {index} comes before its leader")
            root = root if index else tgid
            need(ppid == 0 if tgid == root else ppid in seen,
                 f"TREE: task {index} comes before its parent")
            seen.add(pid)

    def task(self, payload):
        need(self.nr_tasks is not None, "TASK before TREE")
        need(self.counts["TASK"] <= self.nr_tasks, "more TASKs than TREE has entries")
        need(len(payload) + HEAD.size == TASK_SIZE,
             f"TASK: {len(payload) + HEAD.size} bytes, linux-cr's has {TASK_SIZE}")
        _, exit_state, _, exit_signal = struct.unpack_from("<4I", payload)
        need(exit_state in EXIT_STATES, f"TASK: exit_state {exit_state}")
        need(exit_signal <= 64 or exit_signal == 0xFFFFFFFF, f"TASK: exit_signal {exit_signal}")

    def error(self, _payload):
        name, text = self.records.take()
        need(name == "STRING", f"ERROR is followed by {name}, not by its STRING")
        raise Wrong("the checkpoint failed: " + text.rstrip(b"\0").decode(errors="replace"))

    def tail(self, payload):
        magic, = struct.unpack_from("<Q", payload)
        need(magic == TAIL_MAGIC, f"TAIL: magic {magic:#018x}")
        for name in ("PIDS", "TREE"):
            need(name in self.counts, f"TAIL, but there was no {name}")
        tasks = self.counts.get("TASK", 0)
        need(tasks == self.nr_tasks, f"{tasks} TASK records, TREE has {self.nr_tasks} entries")
        need(not self.records.stream.read(1), "bytes after TAIL")


def main(arguments):
    if arguments not in ([], ["-v"]):
        print(__doc__, file=sys.stderr)
        return 2
    records = Records(sys.stdin.buffer, verbose=bool(arguments))
    walk = Walk(records)
    try:
        walk.run()
    except (Wrong, struct.error) as wrong:
        print(f"ckptwalk: record {records.number} ({records.name}) at {records.offset}: {wrong}",
              file=sys.stderr)
        return 1
    print(f"ckptwalk: {records.number + 1} records to TAIL, {len(walk.depths)} pids, "
          f"{walk.nr_tasks} tasks")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
