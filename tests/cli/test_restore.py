"""ckpt restore: plan, rehearsal, what stands in the way."""

import os
import subprocess

from harness import GHOST, SMALL, Case, main


class Restore(Case):
    def test_plan(self):
        image = self.image(GHOST)
        out = self.ok("restore", "--plan", image).out
        for number in ("100", "101", "102"):
            self.assertIn(number, out)
        self.assertIn("nothing would go wrong", out)
        self.assertNotIn("\033", out)

    def test_rehearse(self):
        image = self.image(GHOST)
        done = self.ok("restore", "--rehearse", image)
        self.assertIn("rehearsed", done.err)
        self.assertNotIn("no memory", done.err)
        self.assertEqual(done.out, self.ok("inspect", "--tree", image).out)

    def test_plain(self):
        done = self.ok("restore", self.image())
        self.assertIn("the image holds no memory", done.err)
        self.assertIn("sleep", done.out)
        self.assertEqual(self.ok("restore", "-q", "t.ckpt").err, "")

    def test_json(self):
        image = self.image(GHOST)
        got = self.ok("restore", "--rehearse", "--json", image).json
        before = self.ok("inspect", "--json", image).json
        self.assertEqual(got["ghosts"], [101])
        self.assertEqual(got["reopens"], 0)
        self.assertEqual(self.without_files(got["tasks"]), self.without_files(before["tasks"]))
        self.assertEqual(got["pids"], before["pids"])
        self.assertEqual(self.ok("restore", "--json", image).json, got)

    def without_files(self, tasks):
        return [{k: v for k, v in t.items() if k != "fds"} for t in tasks]

    def test_files_come_back(self):
        """The same descriptors and files; the numbering of objects and LIVE do not matter."""
        def files(got):
            by_ref = {f["ref"]: f for f in got["files"]}
            return [[(d["fd"], d["cloexec"], by_ref[d["file"]]["path"], by_ref[d["file"]]["offset"],
                      by_ref[d["file"]]["flags"]) for d in t["fds"]] for t in got["tasks"]]
        before = self.ok("inspect", "--json", self.image()).json
        after = self.ok("restore", "--json", "t.ckpt").json
        self.assertEqual(files(after), files(before))
        self.assertIn((3, False, "/etc/motd", 42, ["O_RDONLY"]), files(after)[0])

    def test_eager_files(self):
        """Each fd is pending until it is used, or all are reopened at once."""
        image = self.image()
        for options, state in ([], "pending"), (["--eager-files"], "live"):
            got = self.ok("restore", "--rehearse", "--json", *options, image).json
            states = [d["state"] for t in got["tasks"] for d in t["fds"]]
            self.assertGreater(len(states), 0)
            self.assertEqual(set(states), {state})
            self.assertEqual(got["reopens"], len(states) if options else 0)
        self.fails(2, "restore", "--plan", "--eager-files", image)

    def test_stdin(self):
        with open(self.image(), "rb") as f:
            data = f.read()
        self.ok("restore", "-", stdin=data)

    def test_trouble(self):
        self.fails(1, "restore", "none.ckpt", says="No such file")
        with open(self.image(), "rb") as f:
            data = f.read()
        for how in ([], ["--plan"], ["--rehearse"]):
            self.fails(3, "restore", *how, "-", stdin=data[:-20], says="offset")


class Here(Case):
    def test_no_pids(self):
        """Numbers that are taken do not matter; every reference follows."""
        me = os.getpid()
        image = self.image(SMALL.replace("100", str(me)))
        done = self.ok("restore", "--no-pids", "--json", image)
        self.assertEqual([(t["pid"], t["ppid"], t["pgid"]) for t in done.json["tasks"]],
                         [(2, 0, 0), (3, 2, 3)])
        self.assertIn("forks 2 (sh)", self.ok("restore", "--no-pids", "--plan", image).out)
        self.fails(2, "restore", "--no-pids", "--here", image)

    def test_no_pids_nested(self):
        log = SMALL + "100  clone(child_stack=NULL, flags=CLONE_NEWPID|SIGCHLD) = 102\n"
        self.fails(1, "restore", "--no-pids", self.image(log), says="2 pid namespaces")

    def test_taken(self):
        """Every number that is taken is named, with its holder."""
        me = os.getpid()
        zombie = os.fork()
        if zombie == 0:
            os._exit(0)
        self.addCleanup(os.waitpid, zombie, 0)
        os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
        log = SMALL.replace("100", str(me)).replace("101", str(zombie))
        image = self.image(log)
        done = self.fails(1, "restore", "--here", "--plan", image, says="2 numbers taken")
        self.assertRegex(done.out, rf"(?m)^  {me} by process {me} \(python")
        self.assertRegex(done.out, rf"(?m)^  {zombie} by zombie {zombie} \(")
        self.fails(1, "restore", "--here", "--rehearse", image, says=f"{zombie} by zombie")

    def test_plan_as_json(self):
        me = os.getpid()
        log = SMALL.replace("100", str(me))
        done = self.ok("restore", "--plan", "--json", self.image(log))
        self.assertEqual(done.json["conflicts"], [])
        steps = done.json["steps"]
        self.assertEqual([(s["op"], s["actor"], s["child"], s["namespace"]) for s in steps[:2]],
                         [("fork", "restorer", [me], 0), ("fork", [me], [101], 0)])
        group = next(s for s in steps if s["op"] == "setpgid")
        self.assertEqual(group["group"], [101])
        self.assertIn("101 (sleep) founds its group", [s["text"] for s in steps])
        done = self.fails(1, "restore", "--plan", "--json", "--here", self.image(log), says="taken")
        self.assertEqual([c["kind"] for c in done.json["conflicts"]], ["number"])
        self.assertIn("taken", str(done.json["error"]))

    def test_lingering_session(self):
        tree = self.live_tree()
        # The leader of a session that sleeps on without it.
        p = subprocess.run(["setsid", "-w", "bash", "-c", "sleep 1000 >/dev/null 2>&1 & echo $$ $!"],
                           capture_output=True, check=True, timeout=30)
        leader, sleeper = map(int, p.stdout.split())
        self.addCleanup(os.kill, sleeper, 9)
        self.wait_for_name(sleeper, "sleep")
        log = SMALL.replace("100", str(tree.pid)).replace("101", str(leader))
        done = self.fails(1, "restore", "--here", "--plan", self.image(log))
        self.assertRegex(done.out, rf"(?m)^  {leader} by the session of {sleeper} \(sleep\), "
                                   "whose leader is gone$")

    def test_free(self):
        with open("/proc/sys/kernel/pid_max", encoding="utf-8") as f:
            top = int(f.read())
        free = [n for n in range(top - 1, 300, -1) if not os.path.exists(f"/proc/{n}")][:2]
        log = SMALL.replace("100", str(free[0])).replace("101", str(free[1]))
        self.ok("restore", "--here", "--rehearse", self.image(log))
        self.ok("restore", "--here", "--plan", "t.ckpt")
        log = SMALL.replace("101", str(top))
        if top < 4194304:
            self.fails(1, "restore", "--here", self.image(log, "u.ckpt"), says="pid_max")


class Files(Case):
    """What has become of the files of a live process."""

    def hold(self, redirections):
        p = subprocess.Popen(["bash", "-c", f"exec {redirections}; exec sleep 1000"],
                             cwd=self.dir, stdout=subprocess.PIPE, start_new_session=True)
        self.addCleanup(p.communicate)
        self.addCleanup(p.kill)
        self.wait_for_name(p.pid, "sleep")
        self.ok("dump", "--no-memory", "--pid", p.pid, "--leave-running", "-o", "f.ckpt")

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)

    def plan(self, code, says):
        """The plan, and the descriptors, say it of the file `held`."""
        if code:
            done = self.fails(1, "restore", "--plan", "f.ckpt", says="/held: ")
        else:
            done = self.ok("restore", "--plan", "f.ckpt")
        self.assertRegex(done.out, f"(?m)^  .*/held: {says}$")
        self.assertEqual("nothing would go wrong" in done.out, code == 0)
        self.assertRegex(self.ok("inspect", "--fds", "f.ckpt").out, f"(?m)^ {{44}}{says}$")

    def test_changes(self):
        self.write("held", "x" * 100)
        self.hold("7<>held; head -c 10 <&7")
        self.assertNotIn("held", self.ok("restore", "--plan", "f.ckpt").out)
        self.assertNotIn(" now", self.ok("inspect", "--fds", "f.ckpt").out)
        self.write("held", "x" * 200)
        self.plan(0, r"changed: 100 bytes, modified .* UTC then, 200 bytes, modified .* UTC now")
        self.write("held", "x" * 9)
        self.plan(1, r"shorter than the offset: at offset 10 then, 9 bytes now \(put back .*\)")
        os.rename(self.path("held"), self.path("away"))
        self.plan(1, r"gone: a regular file then, No such file or directory now \(bring it back\)")
        self.write("held", "x" * 100)
        self.plan(0, r"another file: inode \d+ on device \d+ then, inode \d+ on device \d+ now")
        os.remove(self.path("held"))
        os.symlink("away", self.path("held"))
        self.plan(1, r"another type: a regular file then, a symbolic link now \(.*\)")

    def test_touch(self):
        """Regular files and directories are reopened for real; nothing else is."""
        self.write("held", "x" * 100)
        os.mkdir(self.path("d"))
        self.hold("7<>held 8<&7 9<d; head -c 10 <&7; cat 6</dev/null | exec 5>&1")
        self.usage_of_touch()
        done = self.ok("restore", "--rehearse", "--touch", "f.ckpt")
        for fd, kind in ((7, "live"), (8, "live"), (9, "live"), (1, "pending")):
            self.assertRegex(done.out, rf"(?m)^ *{fd}  \S+ +{kind} ")
        self.assertRegex(done.out, r"(?m)^Reopened here: 2 files for 3 descriptors$")
        self.assertRegex(done.out, r"(?m)^Never needed, still pending: \d+ descriptors? "
                                   r"\(1 char, \d pipe\)$")
        got = self.ok("restore", "--rehearse", "--touch", "--json", "f.ckpt").json
        self.assertEqual(got["touched"], {"files": 2, "descriptors": 3, "failed": []})
        self.assertEqual(got["reopens"], 3)
        with open(self.path("held"), encoding="utf-8") as f:
            self.assertEqual(f.read(), "x" * 100)

    def usage_of_touch(self):
        self.fails(2, "restore", "--touch", "f.ckpt", says="needs --rehearse")
        self.fails(2, "restore", "--rehearse", "--touch", "--eager-files", "f.ckpt", says="exclude")

    def test_touch_fails(self):
        self.write("held", "x" * 100)
        self.hold("7<>held; head -c 10 <&7")
        pid = self.ok("inspect", "--json", "f.ckpt").json["tasks"][0]["pid"]
        self.write("held", "x" * 9)
        done = self.fails(1, "restore", "--rehearse", "--touch", "f.ckpt",
                          says="cannot reopen 1 descriptor")
        self.assertRegex(done.out, rf"(?m)^  {pid} \(sleep\) 7  .*/held: shorter than the offset")
        self.assertRegex(done.out, r"(?m)^ *7  rw +pending ")
        os.remove(self.path("held"))
        done = self.fails(1, "restore", "--rehearse", "--touch", "--json", "f.ckpt")
        self.assertEqual(done.json["error"]["exit"], 1)
        self.assertEqual([(f["pid"], f["fd"]) for f in done.json["touched"]["failed"]], [(pid, 7)])

    def test_deleted(self):
        self.hold("7>held; rm held")
        self.plan(1, r"without a name when dumped \(its contents are not in the image\)")

    def test_no_access(self):
        self.write("held", "x")
        os.chmod(self.path("held"), 0o644)
        os.chmod(self.dir, 0o755)
        self.hold("7<>held")
        os.chmod(self.path("f.ckpt"), 0o644)
        done = self.as_nobody("restore", "--plan", "f.ckpt")
        self.assertEqual(done.code, 1)
        self.assertRegex(done.out, r"(?m)^  .*/held: no access: open for reading and writing then, "
                                   r"Permission denied now \(restore as")


if __name__ == "__main__":
    main()
