"""Computes until SIGTERM and checks the result: a program with a heap, an interpreter and threads.

    compute.py single|threads
"""
import hashlib
import signal
import sys
import threading
import time

stop = threading.Event()
wrong = []


def primes(limit):
    sieve = bytearray([1]) * limit
    for n in range(2, int(limit ** 0.5) + 1):
        if sieve[n]:
            sieve[n * n::n] = bytes(len(range(n * n, limit, n)))
    return sum(sieve) - 2


def work():
    table = {i: str(i) for i in range(20000)}
    digest = hashlib.sha256("".join(table.values()).encode()).hexdigest()
    while not stop.is_set():
        if primes(20000) != 2262:
            wrong.append("primes")
        if hashlib.sha256("".join(table.values()).encode()).hexdigest() != digest:
            wrong.append("digest")
        begin = time.monotonic()
        time.sleep(0.002)
        if time.monotonic() - begin < 0.002:
            wrong.append("sleep")


signal.signal(signal.SIGTERM, lambda *_: stop.set())
print("ready", flush=True)
threads = [threading.Thread(target=work) for _ in range(3 if sys.argv[1] == "threads" else 0)]
for t in threads:
    t.start()
work()
for t in threads:
    t.join()
print(wrong)
sys.exit(bool(wrong))
