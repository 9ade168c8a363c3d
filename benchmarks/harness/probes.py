# SPDX-License-Identifier: Apache-2.0
"""What benchmarks/memory and benchmarks/latency share: options, choice of allocators, the measuring
loop over probes (workload programs whose result is not their time), tables and files."""

import argparse
import json
import re
import signal
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from harness import allocators, machine, measure, report, workloads

ROOT = Path(__file__).resolve().parent.parent.parent


def tuned(allocator, word, **settings):
    """The allocator with environment variables set; its name is "<name>, <word>" if there is a
    word."""
    return replace(allocator, name=", ".join(filter(None, (allocator.name, word))),
                   settings=allocator.settings + tuple(settings.items()))


@dataclass(frozen=True)
class Case:
    """One way of running a probe. name: the probe's, with a word where there are several ways."""

    name: str
    program: str
    threads: int
    percent: int = 100
    parameters: tuple = ()


def parser(script, doc, rounds, quick):
    """The options that both scripts have."""
    summary, details = doc.split("\n\n", maxsplit=1)
    options = argparse.ArgumentParser(description=summary, epilog=details)
    options.add_argument("--allocators", metavar="NAME[=LIBRARY],...",
                         help="larder, glibc, tcmalloc, jemalloc, mimalloc, or any name with a "
                         "shared library (default: all that are there)")
    options.add_argument("--add", metavar="NAME=LIBRARY,...", default="",
                         help="more allocators, besides the default ones")
    options.add_argument("--rounds", type=int, default=rounds, metavar="N",
                         help=f"runs of each combination ({rounds})")
    options.add_argument("--budget", type=float, metavar="SECONDS",
                         help="begin no round that would not be over by then")
    options.add_argument("--quick", action="store_true", help=quick)
    options.add_argument("--subject", default=allocators.LARDER, metavar="NAME",
                         help="the allocator that is held against the best other (larder)")
    options.add_argument("--build", type=Path, default=ROOT / "build" / "release", metavar="DIR",
                         help="build directory (build/release)")
    options.add_argument("--out", type=Path, default=ROOT / "build" / script, metavar="DIR",
                         help=f"where results go (build/{script})")
    options.add_argument("--update", type=Path, metavar="FILE",
                         help="put the tables into this Markdown file too, between "
                         f"<!-- {script}:begin --> and <!-- {script}:end -->")
    return options


def choose(options):
    """The allocators of this run."""
    if options.allocators:
        chosen = allocators.select(options.allocators, options.build)
    else:
        chosen, words = allocators.discover(options.build)
        for word in words:
            print(word, file=sys.stderr)
    chosen += allocators.select(options.add, options.build)
    if len({allocator.name for allocator in chosen}) != len(chosen):
        raise allocators.Missing("two allocators have the same name")
    return chosen


def warn_if_busy():
    """Says on stderr when the machine has other work."""
    if machine.load() > machine.processors() / 2:
        print(f"the machine is busy (load {machine.load():.1f}): these numbers will not be worth "
              "much", file=sys.stderr)


def _release_calls(words):
    """How many system calls gave memory back, from Larder's statistics; None without them."""
    found = re.search(r"^ *(\d+) +scavenge_calls ", words, re.MULTILINE)
    return int(found[1]) if found else None


def measure_all(options, cases, chosen, extra=()):
    """Runs every case with every allocator in every round, allocators taking turns; a list of
    samples with case, allocator and round. extra: pairs of a case's name and an allocator that only
    that case is run with. options.rounds becomes the number of rounds that were done."""
    known = workloads.discover(options.build, "probes")
    turns = {case: chosen + [item for name, item in extra if name == case.name] for case in cases}
    progress = measure.Progress(options.rounds * sum(map(len, turns.values())))
    samples = []
    for turn in measure.rounds(options.rounds, options.budget):
        for case in cases:
            for item in measure.rotated(turns[case], turn):
                progress.step(f"round {turn + 1} of {options.rounds}: {case.name}", item.name)
                result = workloads.run(known[case.program], item, case.threads, case.percent,
                                       case.parameters)
                result["release_calls"] = _release_calls(result.pop("words"))
                samples.append(dict(result, case=case.name, allocator=item.name, round=turn + 1))
    progress.close()
    options.rounds = samples[-1]["round"]
    return samples


class Figures:
    """Medians over the rounds."""

    def __init__(self, samples):
        self.groups = {}
        for sample in samples:
            self.groups.setdefault((sample["case"], sample["allocator"]), []).append(sample)

    def names(self, case):
        """The allocators that a case was run with, in the order of their first run."""
        return [name for of, name in self.groups if of == case]

    def value(self, case, name, key):
        """The median of what was reported as key; of a function of the sample if key is one."""
        read = key if callable(key) else lambda sample: sample[key]
        return statistics.median(read(sample) for sample in self.groups[(case, name)])


@dataclass(frozen=True)
class Column:
    """A column of a table: a case's key (or a function of the sample), scaled."""

    title: str
    case: str
    key: object
    scale: float = 1.0
    form: object = report.significant
    best: object = min  # None: there is no better or worse


def make_table(title, figures, names, columns, subject):
    """One row an allocator, the best of each column marked; the last row is the subject's value
    divided by that of the best other one."""
    table = report.Table(title, ["allocator", *(column.title + "  " for column in columns)])
    values = {name: [column.scale * figures.value(column.case, name, column.key)
                     for column in columns] for name in names}
    for name, row in values.items():
        cells = []
        for i, (column, value) in enumerate(zip(columns, row)):
            best = column.best and column.best(other[i] for other in values.values())
            cells.append(column.form(value) + (" *" if value == best else "  "))
        table.rows.append([name, *cells])
    others = [row for name, row in values.items() if name != subject]
    if subject in values and others:
        ratios = []
        for i, column in enumerate(columns):
            best = column.best(row[i] for row in others) if column.best else 0
            ratios.append(f"{values[subject][i] / best:.2f}  " if best > 0 else "")
        which = "best other" if len(others) > 1 else next(iter(set(names) - {subject}))
        table.rows.append([f"{subject} / {which}", *ratios])
    return table


def preamble(options, chosen, words):
    """What the numbers are, a line each."""
    return [f"Machine: {machine.describe()}", f"{report.rounds_in_words(options.rounds)}.", *words,
            *(f"{item.name}: {item.version}" for item in chosen)]


def publish(script, options, chosen, words, samples, tables):
    """Prints the tables and writes them as Markdown, and the samples as JSON."""
    lines = preamble(options, chosen, words)
    print("\n".join(lines) + "\n")
    for table in tables:
        print(table.text())
    facts = {
        "machine": machine.describe(),
        "tuning": machine.tuning(),
        "rounds": options.rounds,
        "allocators": {item.name: item.version for item in chosen},
        "samples": [dict(sample, malloc=Path(sample["malloc"]).name) for sample in samples],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    data, page = options.out / f"{script}.json", options.out / f"{script}.md"
    data.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    body = "\n".join([*(f"- {line}" for line in lines), "", *(t.markdown() for t in tables)])
    page.write_text(body, encoding="utf-8")
    if options.update:
        report.update_page(options.update, script, report.command_line(sys.argv), body)
    print(f"{data}\n{page}")


def start(script, main):
    """Runs main() as the process's main function."""
    # Whoever ends us with a signal ends the program under measurement too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        sys.exit(main())
    except (allocators.Missing, workloads.Failed, report.NoPlace) as reason:
        sys.exit(f"{script}: {reason}")
    except KeyboardInterrupt:
        sys.exit(f"\n{script}: stopped")
