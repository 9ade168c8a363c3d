# SPDX-License-Identifier: Apache-2.0
"""The measuring loop. Allocators take turns run by run, so that a slow minute of the machine meets
all of them, in an order drawn anew for each cell and round: what one leaves behind, warm or cold
memory of a virtual machine, must not always meet the same one."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from harness import workloads
from harness.workloads import Failed

# References are far slower than what anybody would use, or use up memory, so they get a share of
# the work, and a run of theirs that is not over by then is no result.
REFERENCE_PERCENT = 1
REFERENCE_LIMIT_S = 30


class Progress:
    """One line on stderr: on a terminal it is rewritten, elsewhere written at each new heading."""

    def __init__(self, total):
        self.total, self.stream = total, sys.stderr
        self.done, self.start, self.heading = 0, time.monotonic(), None

    def step(self, heading, detail):
        """Call before each run."""
        left = ""
        if self.done:
            seconds = (time.monotonic() - self.start) / self.done * (self.total - self.done)
            left = f", {seconds:.0f} s left"
            if seconds >= 90:
                left = f", about {seconds / 60:.0f} min left"
        text = f"[{self.done + 1}/{self.total}] {heading}"
        if self.stream.isatty():
            self.stream.write(f"\r\033[K{text}: {detail}{left}")
        elif heading != self.heading:
            self.stream.write(f"{text}{left}\n")
        self.stream.flush()
        self.heading = heading
        self.done += 1

    def close(self):
        """Clears the line."""
        if self.stream.isatty():
            self.stream.write("\r\033[K")
            self.stream.flush()


def rotated(items, by):
    """The items, beginning with number `by`."""
    by %= len(items)
    return items[by:] + items[:by]


def rounds(count, budget_s):
    """0..count-1, but ends before a round that would not be over within the budget (None: without
    end). The first one is always done."""
    start = time.monotonic()
    for turn in range(count):
        elapsed = time.monotonic() - start
        if turn > 0 and budget_s is not None and elapsed / turn * (turn + 1) > budget_s:
            return
        yield turn


@dataclass(frozen=True)
class Cell:
    """What is run, but for the round."""

    workload: object
    threads: int
    allocator: object

    def __str__(self):
        plural = "thread" if self.threads == 1 else "threads"
        return f"{self.workload.name}, {self.threads} {plural}, {self.allocator.name}"


def cells(workloads_, threads, allocators, turn):
    """The cells of one round in their order. A workload may say with which thread counts it can be
    run (attribute thread_counts); references take part in the first round only."""
    for workload in workloads_:
        for number in getattr(workload, "thread_counts", threads):
            for allocator in random.sample(allocators, len(allocators)):
                if turn == 0 or not getattr(allocator, "reference", False):
                    yield Cell(workload, number, allocator)


def interleaved(workloads_, threads, allocators, count, budget_s, run, lost=None):
    """Calls run(workload, allocator, threads) for every combination in every round; returns the
    results as a list of dicts with allocator and round added.

    A combination that raises Failed ends the measurement; with `lost`, a dict, it is left out from
    there on and lost[workload name, threads, allocator name] tells why."""
    plan = [list(cells(workloads_, threads, allocators, turn)) for turn in range(count)]
    progress = Progress(sum(map(len, plan)))
    results, failed = [], set()
    for turn in rounds(count, budget_s):
        for cell in plan[turn]:
            progress.step(f"round {turn + 1} of {count}: {cell.workload.name}",
                          f"{cell.threads} threads, {cell.allocator.name}")
            if cell in failed:
                continue
            try:
                result = run(cell.workload, cell.allocator, cell.threads)
            except Failed as reason:
                if lost is None:
                    raise
                failed.add(cell)
                lost[cell.workload.name, cell.threads, cell.allocator.name] = str(reason)
                continue
            results.append(dict(result, allocator=cell.allocator.name, round=turn + 1))
    progress.close()
    if lost:
        results = [sample for sample in results
                   if (sample["workload"], sample["threads"], sample["allocator"]) not in lost]
    return results


def estimate(workloads_, threads, allocators, count, percent):
    """(runs, seconds they will take): two seconds for a workload, as they are made, and what a
    program says; rounds up for the allocators that are slower."""
    runs, seconds = 0, 0.0
    for turn in range(count):
        for cell in cells(workloads_, threads, allocators, turn):
            share = 1.0 if cell.allocator.reference else percent / 100
            runs += 1
            seconds += 0.1 + share * getattr(cell.workload, "seconds", 2.0)
    return runs, seconds


@dataclass(frozen=True)
class Outcome:
    """What a program left: usage is that of it and of all it has waited for."""

    status: int
    stdout: str
    stderr: str
    usage: dict


def execute(command, env, limit_s, cwd=None):
    """Runs a program to its end and returns the Outcome. It has a session of its own, so that it
    ends with all its children when the limit is over or we are ended."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               errors="replace", start_new_session=True)
    try:
        stdout, stderr = process.communicate(timeout=limit_s)
    except BaseException as reason:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(reason, subprocess.TimeoutExpired):
            raise Failed(f"did not end within {limit_s} s") from None
        raise
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    usage = {
        "user_s": after.ru_utime - before.ru_utime,
        "sys_s": after.ru_stime - before.ru_stime,
        "minor_faults": after.ru_minflt - before.ru_minflt,
        "major_faults": after.ru_majflt - before.ru_majflt,
    }
    return Outcome(process.returncode, stdout, stderr, usage)


def run_workload(workload, allocator, threads, percent, extra_env=None):
    """Runs a workload program once with an allocator preloaded and returns its result, in which
    processor time and page faults are those of the whole process as the kernel tells them. The
    text on stderr is under "words".

    The program says which file its malloc came from; a run that did not get the allocator it was
    meant for is an error and not a result. A reference does less, and its time and rate are what
    they would be with all of the work."""
    limit_s = workloads.RUN_LIMIT_S
    shortened = 1.0
    if allocator.reference:
        limit_s = REFERENCE_LIMIT_S
        shortened = min(1.0, REFERENCE_PERCENT / percent)
    share = max(1, round(percent * shortened))
    command = [str(workload.path), str(threads), f"{share}%"]
    what = f"{workload.name} with {threads} threads and {allocator.name}"
    try:
        done = execute(command, dict(allocator.environment(), **(extra_env or {})), limit_s)
    except Failed as reason:
        raise Failed(f"{what} {reason}") from None
    words = done.stderr.strip()
    if done.status != 0:
        raise Failed(f"{what} ended with status {done.status}: {words[-300:]}")
    result = workloads.parse_result(done.stdout.strip())
    if not allocator.supplies(result["malloc"]):
        raise Failed(f"{what} got its malloc from {result['malloc']}: {words[-300:]}")
    result.update(done.usage)
    if share != percent:
        result.update(percent=share)
        for key in ("seconds", "user_s", "sys_s", "minor_faults", "major_faults"):
            result[key] *= percent / share
    return dict(result, words=words)
