# SPDX-License-Identifier: Apache-2.0
"""From results to tables: medians, ratios, text for a terminal, Markdown."""

import math
import re
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
    """The command that was given, without the options that only say where things go and without the
    folders of libraries."""
    words, skip = [], False
    for word in arguments[1:]:
        if skip:
            skip = False
        elif word in hidden:
            skip = True
        elif not word.startswith(tuple(option + "=" for option in hidden)):
            words.append(word)
    words = [re.sub(r"=/[^,]*/", "=", word) for word in words]
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


def or_dash(value, form):
    """The figure, or a dash where there is none."""
    return "-" if value is None else form(value)


@dataclass(frozen=True)
class Metric:
    """A figure of merit of one run. scale turns the program's unit into the table's. Memory
    is held against other allocators than time (Results.lean)."""

    key: str
    title: str
    scale: float
    higher_is_better: bool
    form: Callable[[float], str]
    of_memory: bool = False

    def best(self, values):
        """The best of some values."""
        return max(values) if self.higher_is_better else min(values)


def _mebibytes(value):
    return f"{value:.1f}"


TIME = Metric("seconds", "Time, seconds", 1.0, False, significant)
THROUGHPUT = Metric("ops_per_s", "Throughput, operations per second", 1.0, True, with_suffix)
PEAK = Metric("peak_rss_kib", "Peak resident memory, MiB", 1 / 1024, False, _mebibytes, True)
END = Metric("end_rss_kib", "Resident memory right after all is freed, MiB", 1 / 1024, False,
             _mebibytes, True)
CPU = Metric("cpu_s", "Processor time, seconds", 1.0, False, significant)
FAULTS = Metric("faults", "Page faults, minor and major", 1.0, False, with_suffix)


class Results:
    """Medians over the rounds, by workload, thread count and allocator.

    allocators are names in the order of the columns; references, some of them, are shown and
    nothing more: never the best, never divided by. lean are those whose memory is held against the
    subject's; by default all."""

    def __init__(self, samples, allocators, references=(), lean=None):
        self.allocators = allocators
        self.references = set(references)
        self.lean = [name for name in (allocators if lean is None else lean)]
        self.groups = {}
        for sample in samples:
            sample = dict(sample, cpu_s=sample["user_s"] + sample["sys_s"],
                          faults=sample["minor_faults"] + sample.get("major_faults", 0))
            key = (sample["workload"], sample["threads"], sample["allocator"])
            self.groups.setdefault(key, []).append(sample)
        self.cells = sorted({key[:2] for key in self.groups})

    def peers(self, metric, subject):
        """The names that the subject is held against."""
        pool = self.lean if metric.of_memory else self.allocators
        return [name for name in pool if name != subject and name not in self.references]

    def _values(self, metric, workload, threads, allocator):
        samples = self.groups.get((workload, threads, allocator), [])
        # Memory of a run that did only a share of the work is not that of the work.
        return [metric.scale * sample[metric.key] for sample in samples
                if metric.key in sample and not (metric.of_memory and "percent" in sample)]

    def value(self, metric, workload, threads, allocator):
        """The median, in the metric's unit; None where nothing was measured."""
        values = self._values(metric, workload, threads, allocator)
        return statistics.median(values) if values else None

    def cell_spread(self, metric, workload, threads, allocator):
        """(highest - lowest) / median within a cell's rounds; None for a median of 0 or nothing."""
        values = self._values(metric, workload, threads, allocator)
        middle = statistics.median(values) if values else 0
        return (max(values) - min(values)) / middle if middle > 0 else None

    def spread(self, metric):
        """Median over all cells of their spread; references, measured once, have none."""
        spreads = [self.cell_spread(metric, *key) for key in self.groups
                   if key[2] not in self.references]
        spreads = [value for value in spreads if value is not None]
        return statistics.median(spreads) if spreads else 0.0

    def best_peer(self, metric, workload, threads, subject):
        """The best value of those that the subject is held against; None if there is none."""
        values = [self.value(metric, workload, threads, name)
                  for name in self.peers(metric, subject)]
        values = [value for value in values if value is not None]
        return metric.best(values) if values else None

    def against_best_peer(self, metric, workload, threads, subject):
        """The subject's value divided by that of the best of the others; None if one of the two is
        missing, 1 if it is divided by 0."""
        best = self.best_peer(metric, workload, threads, subject)
        own = self.value(metric, workload, threads, subject)
        if best is None or own is None:
            return None
        return own / best if best > 0 else 1.0

    def _cell(self, metric, workload, threads, name, best):
        value = self.value(metric, workload, threads, name)
        if value is None:
            return "-  "
        text = metric.form(value)
        spread = self.cell_spread(metric, workload, threads, name)
        if spread is not None and spread >= 0.01:
            text += f" ±{50 * spread:.0f}%"
        return text + (" *" if value == best and name not in self.references else "  ")

    def table(self, metric, subject):
        """One row a workload and thread count, one column an allocator; the best one is marked. The
        last row is the geometric mean, over all rows, of each value divided by the best."""
        cells = [cell for cell in self.cells
                 if any(self.value(metric, *cell, name) is not None for name in self.allocators)]
        others = self.peers(metric, subject)
        compared = subject in self.allocators and bool(others)
        header = ["workload", "threads",
                  *((f"({name})" if name in self.references else name) + "  "
                    for name in self.allocators)]
        if compared:
            name = others[0] if len(others) == 1 else (
                "leanest" if metric.of_memory else "best other")
            header.append(f"{subject} / {name}")
        table = Table(metric.title, header)
        ratios = {name: [] for name in self.allocators}
        subject_ratios = []
        for cell in cells:
            values = {name: self.value(metric, *cell, name) for name in self.allocators}
            known = [value for name, value in values.items()
                     if value is not None and name not in self.references]
            best = metric.best(known) if known else None
            row = [cell[0], str(cell[1])]
            for name, value in values.items():
                row.append(self._cell(metric, *cell, name, best))
                if value and best and name not in self.references:
                    ratios[name].append(value / best)
            if compared:
                ratio = self.against_best_peer(metric, *cell, subject)
                row.append(or_dash(ratio, "{:.2f}".format))
                if ratio:
                    subject_ratios.append(ratio)
            table.rows.append(row)
        if len(table.rows) > 1:
            mean = [f"{geometric_mean(values):.2f}x  " if values else "  "
                    for values in ratios.values()]
            last = [f"{geometric_mean(subject_ratios):.2f}" if subject_ratios else ""]
            table.rows.append(["geometric mean / best", "", *mean, *(last if compared else [])])
        return table

    def ratios(self, metric, name, subject):
        """By cell, the value of one allocator divided by the best of those that the subject is held
        against: the same measure for all, so peers have at least 1 where they are among them."""
        found = {}
        for cell in self.cells:
            best = self.best_peer(metric, *cell, subject)
            own = self.value(metric, *cell, name)
            if best and own:
                found[cell] = own / best
        return found

    def summary(self, subject, metrics):
        """One row an allocator: geometric mean and worst cell of each metric over the best peer."""
        header = ["allocator"]
        for metric in metrics:
            peer = "leanest" if metric.of_memory else "best peer"
            header += [f"{_short(metric)} / {peer}", "worst", "in"]
        lean = ", ".join(self.peers(PEAK, subject))
        table = Table(f"Geometric means over all cells; the leanest is that of {lean}", header)
        for name in self.allocators:
            if name in self.references:
                continue
            row = [name]
            for metric in metrics:
                ratios = self.ratios(metric, name, subject)
                if not ratios:
                    row += ["-", "-", ""]
                    continue
                cell = max(ratios, key=ratios.get)
                row += [f"{geometric_mean(ratios.values()):.3f}", f"{ratios[cell]:.2f}",
                        f"{cell[0]} {cell[1]}"]
            table.rows.append(row)
        return table

    def medians(self, metrics, subject):
        """All cells as a list of dicts for JSON: median, spread and ratio to the best peer."""
        rows = []
        for workload, threads, name in sorted(self.groups):
            row = {"workload": workload, "threads": threads, "allocator": name}
            for metric in metrics:
                value = self.value(metric, workload, threads, name)
                if value is None:
                    continue
                row[metric.key] = {
                    "median": value / metric.scale,
                    "spread": self.cell_spread(metric, workload, threads, name),
                    "over_best_peer": self.ratios(metric, name, subject).get((workload, threads)),
                }
            rows.append(row)
        return rows

    def over_limit(self, limits, metric=TIME):
        """Sentences about the cells where a subject takes more than allowed."""
        found = []
        for subject, limit in limits.items():
            for workload, threads in self.cells:
                ratio = self.against_best_peer(metric, workload, threads, subject)
                if ratio is None or ratio > limit:
                    found.append(f"{subject} {_takes(metric, ratio)} in {workload} with {threads} "
                                 f"threads; the limit is {limit:.2f}")
        return found

    def over_mean_limit(self, limits, metric):
        """The same for the geometric mean over all cells."""
        found = []
        for subject, limit in limits.items():
            ratios = [self.against_best_peer(metric, *cell, subject) for cell in self.cells]
            mean = None if None in ratios else geometric_mean(ratios)
            if mean is None or mean > limit:
                found.append(f"{subject} {_takes(metric, mean)} in the geometric mean; the limit "
                             f"is {limit:.2f}")
        return found


def _short(metric):
    return metric.title.partition(",")[0].lower()


def _takes(metric, ratio):
    if ratio is None:
        return f"has no ratio of {_short(metric)}"
    if metric.of_memory:
        return f"takes {ratio:.2f} times the memory of the leanest other"
    return f"takes {ratio:.2f} times as long as the best other"
