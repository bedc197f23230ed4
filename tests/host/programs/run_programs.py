#!/usr/bin/env python3
"""Programs as people run them, in the middle of their work: dumped, restored, and both once more.

    run_programs.py CKPT CKPT_TARGET [NAME...]

Each tells by itself whether all was right. The root process's number must stay the same.
"""
import os
import re
import shutil
import sys
import tempfile

from run_states import SKIPPED, Children, Failed, Run, Skipped, end_all, read, tree_of

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "real")


NEEDS = {"make": ["make", "gcc"], "node": ["node"]}


def script(name):
    return os.path.join(HERE, name)


class Busy(Run):
    """A program that works on, so that not much of it is the same a moment later."""

    def go(self):
        for tool in NEEDS.get(self.name, []):
            if shutil.which(tool) is None:
                raise Skipped(f"there is no {tool} here")
        super().go()

    def restore(self, *options):
        """Once it runs, nothing of ckpt is left in it: its next dump would take that along."""
        ckpt, root = super().restore(*options)
        for pid in tree_of(root):
            if re.search(r" r-xs .*/dev/zero \(deleted\)", read(f"/proc/{pid}/maps")):
                raise Failed(f"process {pid} has not left what it was restored by")
        return ckpt, root

    def facts(self, root):
        return read(f"/proc/{root}/cmdline")


def main():
    ckpt, target = map(os.path.abspath, sys.argv[1:3])
    if os.geteuid() != 0:
        print("skipped: needs root")
        return SKIPPED
    programs = {
        "pipeline": ["bash", script("pipeline.sh")],
        "python": [sys.executable, script("python_work.py")],
        "make": ["bash", script("make.sh")],
        "sqlite": [sys.executable, script("transaction.py"), "delete"],
        "sqlite_wal": [sys.executable, script("transaction.py"), "wal"],
        "timing": [target, "threads"],
        "node": ["node", script("timers.js")],
    }
    names = sys.argv[3:] or list(programs)
    children = Children()
    with tempfile.TemporaryDirectory(prefix="ckpt-programs-") as folder:
        verdicts = [Busy(ckpt, programs[n], children, folder, n).verdict() for n in names]
        end_all()
    return 1 if "FAIL" in verdicts else SKIPPED if set(verdicts) == {"SKIP"} else 0


if __name__ == "__main__":
    sys.exit(main())
