#!/usr/bin/env python3
"""Golden files: for every sample the image, the printed tree, pids, fds and plan, and the JSON.

    golden.py            compare, and print what differs; exit status 1 if anything does
    golden.py --update   write them anew (through update.sh)

Images are compared as record streams (zstd -dc), as another version of zstd may compress otherwise;
and the committed image itself must still be readable and show the same.
"""

import difflib
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.environ.get("CKPT_SOURCE_DIR", os.path.dirname(os.path.dirname(HERE)))
CKPT = os.path.abspath(os.environ.get("CKPT", os.path.join(SOURCE, "build/release/ckpt")))
ENV = {**os.environ, "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
VIEWS = {
    "tree": ["inspect", "--tree", "-v"],
    "pids": ["inspect", "--pids"],
    "fds": ["inspect", "--fds"],
    "json": ["inspect", "--json"],
    "plan": ["restore", "--plan"],
}
TRACED = {"exec-by-thread", "migrated-group", "requests"}  # whose trace is golden, too


def instants():
    """(golden name, sample, line or None) of everything that is golden."""
    listed = {}
    with open(os.path.join(HERE, "instants"), encoding="utf-8") as f:
        for line in f:
            words = line.split("#")[0].split()
            if words:
                listed.setdefault(words[0], []).append(words[1])
    for sample in sorted(glob.glob(os.path.join(SOURCE, "samples", "*.strace"))):
        name = os.path.basename(sample)[:-len(".strace")]
        for at in listed.get(name, ["end"]):
            yield (name, sample, None) if at == "end" else (f"{name}@{at}", sample, at)


def run(args):
    p = subprocess.run([CKPT, *args], capture_output=True, env=ENV, check=False, timeout=120)
    text = p.stdout.decode()
    if p.returncode != 0:
        text += f"exit status {p.returncode}\n{p.stderr.decode()}"
    return text


def produce(sample, at, image):
    """The files of one instant: suffix -> text. The image is written to `image`."""
    args = ["dump", "--history", sample] + (["--at", at] if at else [])
    p = subprocess.run([CKPT, *args, "-o", image], capture_output=True, env=ENV, check=False, timeout=120)
    said = p.stderr.decode().replace(image, "IMAGE").replace(sample, os.path.basename(sample))
    # The size of the compressed image depends on zstd's version.
    said = re.sub(r", [0-9.]+ (bytes|kB) written to IMAGE", " written to IMAGE", said)
    files = {"dump": said}
    if p.returncode == 0:
        files.update((suffix, run([*args, image])) for suffix, args in VIEWS.items())
        files["json"] = json.dumps(json.loads(files["json"]), indent=1) + "\n"
    if os.path.basename(sample)[:-len(".strace")] in TRACED:
        with tempfile.TemporaryDirectory() as scratch:
            files["trace"] = run([*args, "-q", "-o", os.path.join(scratch, "i"), "--trace", "-"])
    return files


def stream(image):
    return subprocess.run(["zstd", "-dcq", image], capture_output=True, check=True).stdout


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def compare(name, sample, at, scratch):
    image = os.path.join(scratch, "image.ckpt")
    if os.path.exists(image):
        os.unlink(image)
    wrong = []
    for suffix, text in produce(sample, at, image).items():
        golden = os.path.join(HERE, f"{name}.{suffix}")
        old = read(golden) if os.path.exists(golden) else ""
        if old != text:
            wrong.append("".join(difflib.unified_diff(
                old.splitlines(True), text.splitlines(True), f"golden/{name}.{suffix}", "now")))
    golden = os.path.join(HERE, f"{name}.ckpt")
    if os.path.exists(golden) != os.path.exists(image):
        wrong.append(f"{name}.ckpt: an image only {'then' if os.path.exists(golden) else 'now'}\n")
    elif os.path.exists(golden):
        if stream(golden) != stream(image):
            wrong.append(f"{name}.ckpt: another record stream:\n" + "".join(difflib.unified_diff(
                run(["inspect", "--records", golden]).splitlines(True),
                run(["inspect", "--records", image]).splitlines(True), "golden", "now")))
        for view, args in VIEWS.items():
            if run([*args, golden]) != run([*args, image]):
                wrong.append(f"{name}.ckpt: the golden image no longer shows the same {view}\n")
    return wrong


def update():
    for path in glob.glob(os.path.join(HERE, "*.*")):
        if path.rsplit(".", 1)[1] in {*VIEWS, "dump", "trace", "ckpt"}:
            os.unlink(path)
    for name, sample, at in instants():
        image = os.path.join(HERE, f"{name}.ckpt")
        for suffix, text in produce(sample, at, image).items():
            with open(os.path.join(HERE, f"{name}.{suffix}"), "w", encoding="utf-8") as f:
                f.write(text)
        if os.path.exists(image):
            os.chmod(image, 0o644)


def main():
    if sys.argv[1:] == ["--update"]:
        update()
        return 0
    count, bad = 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, sample, at in instants():
            count += 1
            wrong = compare(name, sample, at, scratch)
            bad += bool(wrong)
            print(f"{'FAIL' if wrong else 'ok  '} {name}")
            print("".join(wrong), end="")
    if count == 0:
        print("no sample found")
    print(f"{count - bad} of {count} instants as they were")
    return 0 if count and not bad else 1


if __name__ == "__main__":
    sys.exit(main())
