# SPDX-License-Identifier: Apache-2.0
"""The measuring loop. Allocators take turns run by run, so that a slow minute of the machine meets
all of them; which one begins moves on from round to round."""

import sys
import time


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


def interleaved(workloads, threads, allocators, count, budget_s, run):
    """Calls run(workload, allocator, threads) for every combination in every round; returns the
    results as a list of dicts with allocator and round added."""
    progress = Progress(count * len(workloads) * len(threads) * len(allocators))
    results = []
    for turn in rounds(count, budget_s):
        for workload in workloads:
            for number in threads:
                for allocator in rotated(allocators, turn):
                    plural = "thread" if number == 1 else "threads"
                    progress.step(f"round {turn + 1} of {count}: {workload.name}",
                                  f"{number} {plural}, {allocator.name}")
                    result = run(workload, allocator, number)
                    results.append(dict(result, allocator=allocator.name, round=turn + 1))
    progress.close()
    return results
