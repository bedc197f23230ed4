"""sqlite3 in the middle of a transaction on a file; afterwards another process counts.

    transaction.py delete|wal     the journal's mode
"""
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

COUNT = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=0.2)
for what in 'select count(*), sum(n) from t', 'begin immediate':
    try:
        print(db.execute(what).fetchone())
    except sqlite3.OperationalError as e:
        print(e)
"""


def others(path):
    done = subprocess.run([sys.executable, "-I", "-c", COUNT, path], stdout=subprocess.PIPE, text=True,
                          check=True)
    return done.stdout.splitlines()


stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
with tempfile.TemporaryDirectory() as folder:
    file = os.path.join(folder, "db")
    db = sqlite3.connect(file, isolation_level=None)
    db.execute(f"pragma journal_mode={sys.argv[1]}")
    db.execute("pragma cache_size=5")  # so that pages go to the file within the transaction
    db.execute("create table t (n integer, text blob)")
    db.execute("insert into t values (1000, 'before')")
    db.execute("begin immediate")
    for n in range(500):
        db.execute("insert into t values (?, ?)", (n, b"x" * 1000))
    print("ready", flush=True)
    while not stop:
        time.sleep(0.01)
    before = others(file)
    for n in range(500, 1000):
        db.execute("insert into t values (?, ?)", (n, b"y" * 1000))
    db.execute("commit")
    after = others(file)
    # With a rollback journal there are no readers once pages have gone to the file.
    locked = "database is locked"
    good = (before == ["(1, 1000)" if sys.argv[1] == "wal" else locked, locked]
            and after == [f"(1001, {1000 + 999 * 500})", "None"]
            and db.execute("pragma integrity_check").fetchone() == ("ok",))
    print(before, after)
    db.close()
sys.exit(not good)
