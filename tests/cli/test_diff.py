"""ckpt diff: same, different, trouble."""

from harness import GHOST, SMALL, Case, main


class Diff(Case):
    def test_same(self):
        a, b = self.image(name="a"), self.image(name="b")
        done = self.ok("diff", a, b)
        self.assertEqual((done.out, done.err), ("", ""))
        self.assertIn("are the same", self.ok("diff", "-v", a, b).err)
        self.assertEqual(self.ok("diff", "--json", a, b).json, {"same": True, "differences": []})

    def test_different(self):
        a = self.image(name="a")
        b = self.image(SMALL.replace("setpgid(0, 0) = 0", "getpid() = 101"), name="b")
        done = self.ckpt("diff", a, b)
        self.assertEqual((done.code, done.err), (1, ""))
        self.assertRegex(done.out, r"(?m)^task 101 .*group")
        got = self.ckpt("diff", "--json", a, b)
        self.assertEqual(got.code, 1)
        self.assertFalse(got.json["same"])
        self.assertLessEqual({"where", "a", "b"}, got.json["differences"][0].keys())
        self.assertEqual(self.ckpt("diff", "-q", a, b).out, "")
        self.assertEqual(self.ckpt("diff", "-q", a, b).code, 1)

    def test_stdin(self):
        with open(self.image(name="a"), "rb") as f:
            data = f.read()
        self.ok("diff", "-", "a", stdin=data)

    def test_trouble(self):
        a = self.image(GHOST, name="a")
        self.fails(2, "diff", a, "none", says="No such file")
        with open(a, "rb") as f:
            self.fails(3, "diff", a, "-", stdin=f.read()[:-4], says="standard input")


if __name__ == "__main__":
    main()
