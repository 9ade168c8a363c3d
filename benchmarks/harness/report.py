# SPDX-License-Identifier: Apache-2.0
"""From results to tables: medians, ratios, text for a terminal, Markdown."""

import math
import shlex
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Table:
    """Cells are text; the first `left` columns are words, the others figures."""

    title: str
    header: list
    rows: list = field(default_factory=list)
    left: int = 1

    def text(self):
        """Columns aligned by blanks."""
        lines = [self.header, *self.rows]
        widths = [max(len(str(line[i])) for line in lines) for i in range(len(self.header))]

        def render(line):
            cells = [str(cell).ljust(width) if i < self.left else str(cell).rjust(width)
                     for i, (cell, width) in enumerate(zip(line, widths))]
            return "  ".join(cells).rstrip()

        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join([self.title, rule, render(self.header), rule,
                          *map(render, self.rows)]) + "\n"

    def markdown(self):
        """The same as Markdown; "*" behind a figure becomes bold type."""

        def render(line):
            cells = [f"**{cell[:-2]}**" if str(cell).endswith(" *") else str(cell).rstrip()
                     for cell in line]
            return "| " + " | ".join(cells) + " |"

        rule = ["---" if i < self.left else "---:" for i in range(len(self.header))]
        return "\n".join([f"**{self.title}**", "", render(self.header), render(rule),
                          *map(render, self.rows)]) + "\n"


def rounds_in_words(rounds):
    """How the figures were come by."""
    if rounds == 1:
        return "One round, allocators taking turns"
    return f"Median of {rounds} rounds, allocators taking turns"


class NoPlace(Exception):
    """A page that is to take results up has no place for them."""


def _split_page(path, tag):
    begin, end = f"<!-- {tag}:begin -->", f"<!-- {tag}:end -->"
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as reason:
        raise NoPlace(str(reason)) from None
    head, found_begin, rest = page.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not found_begin or not found_end:
        raise NoPlace(f"{path} has no place for results: {begin} and {end}")
    return head + begin, end + tail


def check_page(path, tag):
    """Raises NoPlace where update_page would; to be called before the measuring begins."""
    _split_page(path, tag)


def update_page(path, tag, command, body):
    """Replaces what stands between <!-- TAG:begin --> and <!-- TAG:end --> in a Markdown file by
    the command and what it has found."""
    head, tail = _split_page(path, tag)
    block = f"\n```\n{command}\n```\n\n{body.strip()}\n\n"
    path.write_text(f"{head}\n{block}{tail}", encoding="utf-8")


def command_line(arguments, hidden=("--update", "--out", "--build")):
    """The command that was given, without the options that only say where things go."""
    words, skip = [], False
    for word in arguments[1:]:
        if skip:
            skip = False
        elif word in hidden:
            skip = True
        elif not word.startswith(tuple(option + "=" for option in hidden)):
            words.append(word)
    return shlex.join([f"benchmarks/{Path(arguments[0]).name}", *words])


def geometric_mean(values):
    """Of positive numbers."""
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values))


def significant(value):
    """Three significant digits, without an exponent: 0.0123, 1.23, 12.3, 123, 1234."""
    if value == 0:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def with_suffix(value):
    """The same with k, M or G for thousands, millions and thousand millions."""
    for factor, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return significant(value / factor) + suffix
    return significant(value)


@dataclass(frozen=True)
class Metric:
    """A figure of merit of one run. scale turns the program's unit into the table's."""

    key: str
    title: str
    scale: float
    higher_is_better: bool
    form: Callable[[float], str]

    def best(self, values):
        """The best of some values."""
        return max(values) if self.higher_is_better else min(values)


def _mebibytes(value):
    return f"{value:.1f}"


TIME = Metric("seconds", "Time, seconds", 1.0, False, significant)
THROUGHPUT = Metric("ops_per_s", "Throughput, operations per second", 1.0, True, with_suffix)
PEAK = Metric("peak_rss_kib", "Peak resident memory, MiB", 1 / 1024, False, _mebibytes)
END = Metric("end_rss_kib", "Resident memory right after all is freed, MiB", 1 / 1024, False,
             _mebibytes)
CPU = Metric("cpu_s", "Processor time, seconds", 1.0, False, significant)
FAULTS = Metric("minor_faults", "Page faults", 1.0, False, with_suffix)


class Results:
    """Medians over the rounds, by workload, thread count and allocator."""

    def __init__(self, samples, allocators):
        self.allocators = allocators
        self.groups = {}
        for sample in samples:
            sample = dict(sample, cpu_s=sample["user_s"] + sample["sys_s"])
            key = (sample["workload"], sample["threads"], sample["allocator"])
            self.groups.setdefault(key, []).append(sample)
        self.cells = sorted({key[:2] for key in self.groups})

    def value(self, metric, workload, threads, allocator):
        """The median, in the metric's unit."""
        samples = self.groups[(workload, threads, allocator)]
        return metric.scale * statistics.median(sample[metric.key] for sample in samples)

    def spread(self, metric):
        """Median over all cells of (highest - lowest) / median within a cell's rounds."""
        spreads = []
        for samples in self.groups.values():
            values = [sample[metric.key] for sample in samples]
            middle = statistics.median(values)
            if middle > 0:
                spreads.append((max(values) - min(values)) / middle)
        return statistics.median(spreads) if spreads else 0.0

    def against_best_peer(self, metric, workload, threads, subject):
        """The subject's value divided by that of the best of the others."""
        peers = [name for name in self.allocators if name != subject]
        best = metric.best([self.value(metric, workload, threads, name) for name in peers])
        own = self.value(metric, workload, threads, subject)
        return own / best if best > 0 else 1.0

    def table(self, metric, subject):
        """One row a workload and thread count, one column an allocator; the best one is marked. The
        last row is the geometric mean, over all rows, of each value divided by the best."""
        compared = subject in self.allocators and len(self.allocators) > 1
        header = ["workload", "threads", *(name + "  " for name in self.allocators)]
        if compared:
            others = [name for name in self.allocators if name != subject]
            header.append(f"{subject} / " + (others[0] if len(others) == 1 else "best other"))
        table = Table(metric.title, header)
        ratios = {name: [] for name in self.allocators}
        subject_ratios = []
        for workload, threads in self.cells:
            values = {name: self.value(metric, workload, threads, name) for name in self.allocators}
            best = metric.best(values.values())
            row = [workload, str(threads)]
            for name, value in values.items():
                row.append(metric.form(value) + (" *" if value == best else "  "))
                if value > 0 and best > 0:
                    ratios[name].append(value / best)
            if compared:
                subject_ratios.append(self.against_best_peer(metric, workload, threads, subject))
                row.append(f"{subject_ratios[-1]:.2f}")
            table.rows.append(row)
        if len(table.rows) > 1:
            mean = [f"{geometric_mean(values):.2f}x  " for values in ratios.values()]
            last = [f"{geometric_mean(subject_ratios):.2f}"] if compared else []
            table.rows.append(["geometric mean / best", "", *mean, *last])
        return table

    def over_limit(self, limits):
        """Sentences about the cells where a subject takes more time than allowed."""
        found = []
        for subject, limit in limits.items():
            for workload, threads in self.cells:
                ratio = self.against_best_peer(TIME, workload, threads, subject)
                if ratio > limit:
                    found.append(f"{subject} takes {ratio:.2f} times as long as the best other in "
                                 f"{workload} with {threads} threads; the limit is {limit:.2f}")
        return found
