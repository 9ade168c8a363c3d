# SPDX-License-Identifier: Apache-2.0
"""Load for memcached over its unix socket: memcached_load.py SOCKET SECONDS THREADS.

Each thread owns its keys, remembers what it stored last under each, and checks every answer
against that, with sizes from 1 byte to 900 KiB; the server must have room for all, a miss of a
stored key is an error. Prints the number of operations; exits 1 when an answer was wrong.
"""

import random
import socket
import sys
import threading
import time


class Client:
    """One connection that speaks memcached's text protocol."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(path)
        self.file = self.sock.makefile("rb")

    def ask(self, line, body=None):
        request = line.encode() + b"\r\n"
        if body is not None:
            request += body + b"\r\n"
        self.sock.sendall(request)
        return self.file.readline().rstrip(b"\r\n")

    def values(self, keys):
        """The stored values of `keys` that the server still has."""
        found = {}
        line = self.ask("get " + " ".join(keys))
        while line != b"END":
            word, key, _flags, size = line.split()
            if word != b"VALUE":
                raise ValueError("unexpected answer %r" % line)
            found[key.decode()] = self.file.read(int(size))
            self.file.readline()
            line = self.file.readline().rstrip(b"\r\n")
        return found

    def close(self):
        self.file.close()
        self.sock.close()


def size_of(rng):
    """Mostly small values, now and then one near the server's limit of 1 MiB."""
    if rng.random() < 0.002:
        return rng.randrange(100000, 900000)
    return int(2 ** rng.uniform(0, 13))


def exercise(path, seed, seconds, result):
    rng = random.Random(seed)
    pool = random.Random(seed).randbytes(1 << 20)
    kept = {}
    operations = 0
    client = Client(path)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        key = "t%d-%d" % (seed, rng.randrange(4000))
        choice = rng.random()
        if choice < 0.45:
            size = size_of(rng)
            start = rng.randrange(len(pool) - size)
            kept[key] = pool[start:start + size]
            answer = client.ask("set %s 0 0 %d" % (key, size), kept[key])
            if answer != b"STORED":
                raise ValueError("set: %r" % answer)
        elif choice < 0.55:
            answer = client.ask("delete " + key)
            if answer != (b"DELETED" if key in kept else b"NOT_FOUND"):
                raise ValueError("delete of %s: %r" % (key, answer))
            kept.pop(key, None)
        else:
            keys = ["t%d-%d" % (seed, rng.randrange(4000)) for _ in range(1 + rng.randrange(20))]
            found = client.values(keys)
            for name in keys:
                if found.get(name) != kept.get(name):
                    raise ValueError("get of %s: wrong or missing value" % name)
        operations += 1
        if operations % 2000 == 0:
            client.close()
            client = Client(path)
    client.close()
    result[seed] = operations


def main():
    path, seconds, threads = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    result = {}
    errors = []

    def run(seed):
        try:
            exercise(path, seed, seconds, result)
        except Exception as error:  # the thread's end must reach the exit code
            errors.append("thread %d: %s" % (seed, error))

    workers = [threading.Thread(target=run, args=(seed,)) for seed in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for error in errors:
        print(error, file=sys.stderr)
    print(sum(result.values()))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
