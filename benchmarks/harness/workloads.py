# SPDX-License-Identifier: Apache-2.0
"""The workload programs: which there are, and one run of one of them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

RUN_LIMIT_S = 300


class Failed(Exception):
    """A program did not do what it was started for."""


@dataclass(frozen=True)
class Workload:
    """One program of benchmarks/workloads, as it describes itself."""

    path: Path
    name: str
    operation: str
    default_ops: int
    about: str


def discover(build, kind="workloads"):
    """All workload programs of a build directory, by name; or those of kind "probes"."""
    folder = Path(build).resolve() / "benchmarks" / kind
    if not folder.is_dir():
        raise Failed(f"{folder} is not there; build it: cmake --preset release && "
                     "cmake --build --preset release")
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_file():
            answer = subprocess.run([path, "--describe"], capture_output=True, text=True,
                                    check=True)
            name, operation, default_ops, about = answer.stdout.rstrip("\n").split("\t")
            found[name] = Workload(path, name, operation, int(default_ops), about)
    return found


def parse_result(line):
    """The key=value pairs of a result line; numbers as numbers."""
    values = {}
    for pair in line.split():
        key, equals, value = pair.partition("=")
        if not equals:
            raise Failed(f"not a result line: {line}")
        try:
            values[key] = float(value) if "." in value else int(value)
        except ValueError:
            values[key] = value
    missing = {"workload", "threads", "ops", "seconds", "peak_rss_kib", "malloc"} - values.keys()
    if missing:
        raise Failed(f"{', '.join(sorted(missing))} missing in result line: {line}")
    return values


def run(workload, allocator, threads, percent, parameters=()):
    """Runs the program once with an allocator preloaded and returns its result, and under "words"
    what went to stderr. parameters: what the program takes besides, such as "seconds=1".

    The program says which file its malloc came from; a run that did not get the allocator it was
    meant for is an error and not a result."""
    command = [str(workload.path), str(threads), f"{percent}%", *parameters]
    what = f"{workload.name} with {threads} threads and {allocator.name}"
    try:
        done = subprocess.run(command, env=allocator.environment(), capture_output=True, text=True,
                              timeout=RUN_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{what} did not end within {RUN_LIMIT_S} s") from None
    if done.returncode != 0:
        raise Failed(f"{what} ended with status {done.returncode}: {done.stderr.strip()}")
    result = parse_result(done.stdout.strip())
    if not allocator.supplies(result["malloc"]):
        raise Failed(f"{what} got its malloc from {result['malloc']}: {done.stderr.strip()}")
    return dict(result, words=done.stderr)
