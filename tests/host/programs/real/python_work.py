"""Threads that compute, and a subprocess that answers through pipes."""
import os
import signal
import subprocess
import sys
import threading
import time

stop = threading.Event()
wrong = []
CHILD = "import sys\nfor line in sys.stdin:\n    print(int(line) ** 2, flush=True)\n"


def compute(seed):
    while not stop.is_set():
        x = seed
        for _ in range(20000):
            x = (x * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        if x != expected[seed]:
            wrong.append(f"thread {seed}")


def expected_of(seed):
    x = seed
    for _ in range(20000):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2 ** 64
    return x


expected = {seed: expected_of(seed) for seed in range(3)}
signal.signal(signal.SIGTERM, lambda *_: stop.set())
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", CHILD], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
threads = [threading.Thread(target=compute, args=(seed,)) for seed in expected]
for t in threads:
    t.start()
pid, n = os.getpid(), 0
while not stop.is_set():
    n += 1
    child.stdin.write(f"{n}\n")
    child.stdin.flush()
    if int(child.stdout.readline()) != n * n:
        wrong.append("answer")
    if n == 3:
        print("ready", flush=True)
    time.sleep(0.01)
for t in threads:
    t.join()
child.stdin.close()
if child.wait() != 0 or os.getpid() != pid:
    wrong.append("the child's end")
print(wrong)
sys.exit(bool(wrong))
