#!/usr/bin/env python3
"""Holds the house in order: who may include whom, no folder too many, a README in each.

    house.py ROOT          checks the tree below ROOT; prints what is wrong; exit status 1 if anything
    house.py --self-test   shows on small trees that each rule can fail

Files are judged by their paths alone, so a new file is under the rules from its first line.
"""
import os
import re
import subprocess
import sys
import tempfile
import unittest

# The parts of the house and what each may include, besides itself. A part is a folder, or the files
# of a folder that are named here.
MAY_INCLUDE = {
    "format": set(),
    "core": {"format"},
    "core/sim": {"core", "format"},
    "core/host": {"core", "format"},
    "restart": {"format"},  # the planner and all that is pure, on records alone
    "restart executors": {"restart", "format", "core", "core/sim"},
    "restart host executor": {"restart", "format", "core", "core/host"},
}
MAY_INCLUDE["cli"] = set(MAY_INCLUDE)
MAY_INCLUDE["tests"] = set(MAY_INCLUDE)
EXECUTORS = re.compile(r"restart/(sim_executor|sim_files|rehearse)\w*\.(h|cpp)$")
HOST_EXECUTOR = re.compile(r"restart/(host_executor|rebirth|requirements|rootless)\w*\.(h|cpp)$")

# format/ reads and writes bytes, which takes these of POSIX; nothing of tasks or of Linux alone.
POSIX_IO = {"fcntl.h", "unistd.h", "sys/stat.h", "sys/types.h"}
SYSTEM_HEADER = re.compile(r"(sys|linux|asm|asm-generic|bits)/|(sched|signal|poll|unistd|fcntl|"
                           r"pthread|pwd|grp|spawn|termios|syscall|ucontext|csignal)(\.h)?$")

TOP = {"cli", "format", "core", "restart", "tests", "samples"}
# Absolute paths that exist on one machine only; in a sample, somebody's home would be one too.
FOREIGN_PATH = re.compile(rb"(?<![\w./~-])/work/[\w.-]")
FOREIGN_PATH_IN_SAMPLE = re.compile(rb"(?<![\w./~-])/(work|home|Users|root)/[\w.-]")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def part_of(path):
    """The part of the house that the file at `path` (from the root) belongs to, or None."""
    if EXECUTORS.match(path):
        return "restart executors"
    if HOST_EXECUTOR.match(path):
        return "restart host executor"
    folders = path.split("/")[:-1]
    for n in range(len(folders), 0, -1):
        if "/".join(folders[:n]) in MAY_INCLUDE:
            return "/".join(folders[:n])
    return None


def check_includes(path, text):
    part = part_of(path)
    for line, text_line in enumerate(text.split("\n"), 1):
        found = INCLUDE.match(text_line)
        if not found or part is None:
            continue
        kind, header = found.groups()
        where = f"{path}:{line}: "
        if kind == "<":
            if part == "format" and SYSTEM_HEADER.match(header) and header not in POSIX_IO:
                yield where + f"format may not include <{header}>"
            elif part_of(header) is not None and "/" in header and os.path.splitext(header)[1]:
                if header.split("/")[0] in TOP:
                    yield where + f'a header of ours is included as "{header}", not <{header}>'
            continue
        to = part_of(header)
        if to is None:
            yield where + f'"{header}" is not written from the root of the tree'
        elif to != part and to not in MAY_INCLUDE[part]:
            yield where + f'{part} may not include {to} ("{header}")'


def check_folders(paths, folders):
    for top in sorted({p.split("/")[0] for p in folders} - TOP):
        if not top.startswith("."):
            yield f"{top}/: no further folder at the top level without need"
    for folder in sorted(folders):
        house = folder in MAY_INCLUDE or folder in TOP
        if house and folder + "/README.md" not in paths:
            yield f"{folder}/: has no README.md"


def check_samples(root, paths):
    """Each history says at its top what it shows, and the folder's README lists it."""
    histories = [p for p in paths if re.match(r"samples/[^/]*\.strace$", p)]
    if not histories:
        return
    with open(os.path.join(root, "samples/README.md"), encoding="utf-8") as file:
        readme = file.read()
    for path in histories:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            if not file.readline().startswith("# shows: "):
                yield f"{path}: does not begin with '# shows: '"
        if f"`{os.path.basename(path)}`" not in readme:
            yield f"{path}: is not in samples/README.md"


def files_of(root):
    """The files below `root` that are the project's: git's list if it has one, else all but builds."""
    git = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others",
                          "--exclude-standard"], capture_output=True, check=False)
    if git.returncode == 0 and os.path.exists(os.path.join(root, ".git")):
        paths = git.stdout.decode().split("\0")
        return sorted({p for p in paths if p and os.path.isfile(os.path.join(root, p))})
    found = []
    for folder, below, names in os.walk(root):
        below[:] = [d for d in below if d != ".git" and not d.startswith("build")]
        found += [os.path.relpath(os.path.join(folder, n), root) for n in names]
    return sorted(found)


def check(root):
    paths = files_of(root)
    folders = {os.path.dirname(p) for p in paths} - {""}
    for folder in list(folders):
        while folder := os.path.dirname(folder):
            folders.add(folder)
    wrong = list(check_folders(set(paths), folders)) + list(check_samples(root, paths))
    for path in paths:
        with open(os.path.join(root, path), "rb") as file:
            content = file.read()
        if path.endswith((".h", ".cpp")):
            wrong += check_includes(path, content.decode())
        foreign = FOREIGN_PATH_IN_SAMPLE if path.startswith("samples/") else FOREIGN_PATH
        if b"\0" not in content[:4096]:
            for line, text in enumerate(content.split(b"\n"), 1):
                if hit := foreign.search(text):
                    wrong.append(f"{path}:{line}: names a path of one machine: {hit.group().decode()}...")
    return wrong


class SelfTest(unittest.TestCase):
    """Every rule on a tree that keeps it and on one that breaks it."""

    def wrong(self, files):
        with tempfile.TemporaryDirectory() as root:
            readmes = {f"{d}/README.md": "" for d in TOP | {"core/sim", "core/host"}}
            for path, text in (readmes | files).items():
                if text is None:
                    continue
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            return check(root)

    def test_what_is_allowed(self):
        self.assertEqual(self.wrong({
            "format/a.h": '#include <fcntl.h>\n#include <vector>\n#include "format/b.h"\n',
            "core/a.h": '#include "format/a.h"\n#include <sched.h>\n',
            "core/sim/a.h": '#include "core/a.h"\n#include "format/a.h"\n',
            "core/host/a.cpp": '#include <sys/ptrace.h>\n  #  include "core/a.h"\n',
            "restart/planner.cpp": '#include "restart/step.h"\n#include "format/a.h"\n',
            "restart/rehearse.cpp": '#include "core/sim/a.h"\n#include "restart/planner.h"\n',
            "cli/main.cpp": '#include "restart/rehearse.h"\n#include "core/host/a.h"\n',
            "tests/format/a_test.cpp": '#include "cli/a.h"\n#include <boost/json.hpp>\n',
        }), [])

    def test_each_forbidden_direction(self):
        for path, header in [
                ("format/a.h", "core/a.h"), ("format/a.h", "restart/step.h"),
                ("core/a.h", "core/sim/a.h"), ("core/a.h", "core/host/a.h"),
                ("core/a.h", "restart/step.h"), ("core/sim/a.h", "core/host/a.h"),
                ("core/host/a.h", "core/sim/a.h"), ("core/sim/a.cpp", "restart/step.h"),
                ("restart/planner.cpp", "core/a.h"), ("restart/step.h", "core/sim/a.h"),
                ("restart/validate.cpp", "core/a.h"), ("restart/planner.cpp", "restart/rehearse.h"),
                ("restart/rehearse.h", "core/host/a.h"), ("restart/sim_executor.h", "cli/a.h"),
                ("restart/host_executor.cpp", "core/sim/a.h"),
                ("core/a.h", "cli/a.h"), ("cli/a.h", "tests/a.h")]:
            with self.subTest(path=path, header=header):
                wrong = self.wrong({path: f'// A file.\n#include "{header}"\n'})
                self.assertEqual(len(wrong), 1, wrong)
                self.assertIn(f"{path}:2: ", wrong[0])
                self.assertIn(header, wrong[0])

    def test_host_executor_may_reach_the_host(self):
        self.assertEqual(self.wrong({"restart/host_executor.h": '#include "core/host/a.h"\n'}), [])

    def test_system_headers_in_format(self):
        for header in ["linux/sched.h", "sys/ptrace.h", "sys/wait.h", "sched.h", "signal.h"]:
            with self.subTest(header=header):
                self.assertEqual(len(self.wrong({"format/a.cpp": f"#include <{header}>\n"})), 1)

    def test_how_an_include_is_written(self):
        self.assertEqual(len(self.wrong({"core/a.cpp": '#include "a.h"\n'})), 1)
        self.assertEqual(len(self.wrong({"core/a.cpp": '#include "../format/a.h"\n'})), 1)
        self.assertEqual(len(self.wrong({"core/a.cpp": "#include <format/a.h>\n"})), 1)

    def test_folders(self):
        self.assertEqual(len(self.wrong({"tools/a.sh": ""})), 1)
        self.assertEqual(self.wrong({".ci/run": ""}), [])
        self.assertEqual(len(self.wrong({"core/README.md": None, "core/a.h": ""})), 1)

    def test_samples(self):
        good = {"samples/a.strace": "# shows: a\n", "samples/README.md": "`a.strace`"}
        self.assertEqual(self.wrong(good), [])
        self.assertEqual(len(self.wrong(good | {"samples/a.strace": "1 fork() = 2\n"})), 1)
        self.assertEqual(len(self.wrong(good | {"samples/README.md": "`b.strace`"})), 1)

    def test_paths_of_one_machine(self):
        for path in ["/wo" "rk/x", "/ho" "me/me/x", "(/ro" "ot/x)"]:
            self.assertEqual(len(self.wrong({"samples/a.sh": f'cd "{path}"'})), 1)
        self.assertEqual(len(self.wrong({"core/README.md": "in /wo" "rk/x"})), 1)
        self.assertEqual(self.wrong({"README.md": "see /usr/bin/x, core/wo" "rk/x, ./ro" "ot/x"}), [])


def main():
    if sys.argv[1:] == ["--self-test"]:
        unittest.main(argv=sys.argv[:1])
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    wrong = check(sys.argv[1])
    for line in wrong:
        print(line)
    print(f"house: {len(wrong)} wrong" if wrong else "house: in order")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
