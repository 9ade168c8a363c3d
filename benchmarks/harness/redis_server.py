# SPDX-License-Identifier: Apache-2.0
"""One redis-server of our own: started with an allocator, loaded by redis-benchmark, watched from
outside. It listens on a socket in a private folder, keeps nothing on disk and ends with us."""

import csv
import io
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from harness.workloads import Failed

START_LIMIT_S = 20
CLIENTS = 50
PIPELINE = 16


def executables(scratch):
    """Paths of redis-server and redis-benchmark.

    Debian's redis-tools carries the server too, under the name of its other task; a link with the
    right name is all it takes, and no service is installed for it."""
    benchmark = shutil.which("redis-benchmark")
    server = shutil.which("redis-server")
    twin = shutil.which("redis-check-rdb")
    if server is None and twin is not None:
        link = Path(scratch) / "redis-server"
        link.symlink_to(twin)
        server = str(link)
    if server is None or benchmark is None:
        raise Failed("redis-server or redis-benchmark is not installed; `ci/install redis` does it")
    return server, benchmark


def version(executable):
    """The version of redis-server, for example (7, 0, 15). redis-benchmark comes from the same
    source but does not tell its own in every release."""
    answer = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", answer.stdout)
    if found is None:
        raise Failed(f"{executable} does not say its version: {answer.stdout.strip()}")
    return tuple(map(int, found.groups()))


def malloc_origin(executable, allocator):
    """The file that supplies malloc, calloc, realloc and free to a program, as the dynamic linker
    itself reports it when it binds them."""
    env = dict(allocator.environment(), LD_DEBUG="bindings", LD_BIND_NOW="1")
    done = subprocess.run([executable, "--version"], env=env, capture_output=True, text=True,
                          errors="replace", check=False)
    pattern = re.compile(r"binding file (\S+) \[\d+\] to (\S+) \[\d+\]: normal symbol "
                         r"`(malloc|calloc|realloc|free)'")
    origins = {match[2] for match in pattern.finditer(done.stderr)
               if Path(match[1]).name == Path(executable).name}
    if len(origins) != 1:
        names = ", ".join(sorted(origins)) or "its allocator is built in"
        raise Failed(f"{executable} gets malloc and free from {len(origins)} libraries with "
                     f"{allocator.name}: {names}")
    return origins.pop()


class Server:
    """A running redis-server; a context manager that stops it."""

    def __init__(self, executable, allocator):
        self.allocator = allocator
        self.version = version(executable)
        self.folder = Path(tempfile.mkdtemp(prefix="larder-redis-"))
        self.socket_path = str(self.folder / "socket")
        command = [executable, "--port", "0", "--unixsocket", self.socket_path, "--dir",
                   str(self.folder), "--save", "", "--appendonly", "no", "--daemonize", "no",
                   "--logfile", "log"]
        with open(self.folder / "stderr", "wb") as words:
            self.process = subprocess.Popen(command, env=allocator.environment(), cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=words, stderr=words)
        try:
            self._wait_until_ready()
            self._check_library()
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends the server and removes its folder. May be called twice."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=START_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                words = (self.folder / "stderr").read_text(errors="replace").strip()
                raise Failed(f"redis-server with {self.allocator.name} ended with status "
                             f"{self.process.returncode}: {words}")
            try:
                if self.ask("PING") == "+PONG":
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise Failed(f"redis-server with {self.allocator.name} did not answer in {START_LIMIT_S} s")

    def _check_library(self):
        """The preloaded library must be mapped in the very process that is measured."""
        library = self.allocator.path
        if library is None:
            return
        maps = Path(f"/proc/{self.process.pid}/maps").read_text(encoding="utf-8")
        if os.path.realpath(library) not in maps:
            raise Failed(f"{library} is not mapped in redis-server")

    def ask(self, command):
        """Sends one command and returns the first line of the answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(self.socket_path)
            connection.sendall(command.encode() + b"\r\n")
            return connection.makefile("rb").readline().decode().rstrip()

    def delete(self, prefixes, keys, batch=100):
        """Deletes the keys <prefix>000000000000 and so on, one by one, a batch a command."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(self.socket_path)
            answers = connection.makefile("rb")
            for prefix in prefixes:
                for first in range(0, keys, batch):
                    names = (f"{prefix}{n:012d}" for n in range(first, min(first + batch, keys)))
                    connection.sendall(f"DEL {' '.join(names)}\r\n".encode())
                    if not answers.readline().startswith(b":"):
                        raise Failed("redis-server refused to delete keys")
        left = self.ask("DBSIZE")
        if left != ":0":
            raise Failed(f"redis-server still has {left[1:]} keys when all are deleted")

    def memory_kib(self, field):
        """VmRSS (now) or VmHWM (peak) of the server, as the kernel counts it."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1])


def parse_csv(text):
    """(requests per second, p99 in ms) from redis-benchmark --csv, 6.2 and newer."""
    rows = list(csv.DictReader(io.StringIO(text)))
    return float(rows[-1]["rps"]), float(rows[-1]["p99_latency_ms"])


def parse_text(text):
    """The same from the long form, which is where older ones tell latencies."""
    p99 = [float(match[2]) for match in re.finditer(r"([\d.]+)% <= ([\d.]+) milliseconds", text)
           if float(match[1]) >= 99]
    rate = re.findall(r"([\d.]+) requests per second", text)
    return float(rate[-1]), p99[0]


def load(benchmark, server, requests, keys, arguments):
    """Runs redis-benchmark; (requests per second, p99 in ms)."""
    modern = server.version >= (6, 2, 0)
    command = [benchmark, "-s", server.socket_path, "-c", str(CLIENTS), "-P", str(PIPELINE), "-n",
               str(requests), "-r", str(keys), *(["--csv"] if modern else ["--precision", "3"]),
               *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise Failed(f"redis-benchmark {' '.join(arguments)}: {done.stderr.strip()}")
    try:
        return (parse_csv if modern else parse_text)(done.stdout)
    except (IndexError, KeyError, TypeError, ValueError):
        answer = done.stdout.strip()[-200:]
        raise Failed(f"cannot read redis-benchmark's answer: {answer}") from None
