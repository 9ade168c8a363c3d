# SPDX-License-Identifier: Apache-2.0
"""What benchmarks/compare and benchmarks/scaling share: the options that say what is measured, the
measuring itself, and where results go."""

import json
import signal
import sys
from pathlib import Path

from harness import allocators, machine, measure, plot, programs, report, workloads

ROOT = Path(__file__).resolve().parent.parent.parent
# The allocators that memory is held against, whichever version of them is there.
LEAN_FAMILIES = ("tcmalloc", "jemalloc", "mimalloc")
REASONS = (allocators.Missing, workloads.Failed, report.NoPlace)


def add_options(parser, name, threads, rounds, workloads_default):
    """The options of both programs."""
    parser.add_argument("--allocators", metavar="NAME[=LIBRARY[@VERSION]],...",
                        help="larder, glibc, tcmalloc, jemalloc, mimalloc, the references limit "
                        "and sbrk, or any name with a shared library (default: all that are there "
                        "but for the references)")
    parser.add_argument("--add", metavar="NAME=LIBRARY[@VERSION],...", default="",
                        help="more allocators, besides the default ones; NAME=larder+VARIABLE=VALUE "
                        "is Larder with an environment variable set")
    parser.add_argument("--references", action="store_true",
                        help="the references too; they run once, on a hundredth of the work, and "
                        "are shown in brackets: never the best, in no ratio")
    parser.add_argument("--workloads", metavar="NAME,...", default=workloads_default,
                        help=f"names, or all, or programs ({workloads_default})")
    parser.add_argument("--threads", metavar="N,...", default=threads,
                        help="thread counts; doubling means 1, 2, 4 and on to 64, or twice the "
                        f"processors if that is more ({threads})")
    parser.add_argument("--rounds", type=int, metavar="N", default=rounds,
                        help=f"runs of each combination ({rounds})")
    parser.add_argument("--budget", type=float, metavar="SECONDS",
                        help="begin no round that would not be over by then")
    parser.add_argument("--percent", type=int, metavar="N", default=100,
                        help="share of each workload's usual amount of work (100)")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release", metavar="DIR",
                        help="build directory (build/release)")
    parser.add_argument("--out", type=Path, metavar="DIR", default=ROOT / "build" / name,
                        help=f"where results go (build/{name})")
    parser.add_argument("--update", type=Path, metavar="FILE",
                        help="put the tables into this Markdown file too, between "
                        f"<!-- {name}:begin --> and <!-- {name}:end -->")
    parser.add_argument("--subject", default=allocators.LARDER, metavar="NAME",
                        help="the allocator that is held against the best other (larder)")
    parser.add_argument("--list", action="store_true", help="list workloads and allocators and end")


def check(options):
    """Refuses numbers that cannot be meant."""
    for name in ("rounds", "percent"):
        if getattr(options, name) < 1:
            raise workloads.Failed(f"--{name} takes a number from 1")


def choose_workloads(options):
    """The workload programs and, if asked for, the real programs."""
    known = workloads.discover(options.build)
    real = {}
    names = options.workloads.split(",")
    if programs.GROUP in names or not set(names) <= {"all", *known}:
        real, words = programs.discover()
        if programs.GROUP in names:
            print(*words, sep="\n", end="\n" if words else "", file=sys.stderr)
    chosen = {}
    for name in names:
        group = {"all": known, programs.GROUP: real}.get(name)
        both = {**known, **real}
        if group is None and name not in both:
            raise workloads.Failed(f"no workload is named {name}; there are {', '.join(both)}, "
                                   f"and the groups all and {programs.GROUP}")
        chosen.update(group if group is not None else {name: both[name]})
    return list(chosen.values())


def choose_allocators(options):
    """The allocators of this run, the references last."""
    if options.allocators:
        chosen = allocators.select(options.allocators, options.build)
    else:
        chosen, words = allocators.discover(options.build)
        print(*words, sep="\n", end="\n" if words else "", file=sys.stderr)
    chosen += allocators.select(options.add, options.build)
    if options.references:
        names = [allocator.name for allocator in chosen]
        chosen += [allocators.find(name, options.build) for name in allocators.REFERENCES
                   if name not in names]
    if len({allocator.name for allocator in chosen}) != len(chosen):
        raise allocators.Missing("two allocators have the same name")
    return sorted(chosen, key=lambda allocator: allocator.reference)


def thread_counts(text):
    """Sorted numbers from a list, or powers of two up to 64 and to twice the processors."""
    if text == "doubling":
        last = max(64, 2 * machine.processors())
        return [2**n for n in range(last.bit_length()) if 2**n <= last]
    items = text.split(",")
    if not all(item.isdigit() and int(item) > 0 for item in items):
        raise workloads.Failed(f"--threads takes numbers from 1, separated by commas, not {text}")
    return sorted(set(map(int, items)))


def lean_names(chosen):
    """The allocators that memory is held against; all where none of the families is there."""
    names = [allocator.name for allocator in chosen
             if any(allocator.is_kind_of(family) for family in LEAN_FAMILIES)]
    return names or [allocator.name for allocator in chosen]


def list_all(chosen_workloads, chosen):
    """What --list prints."""
    for workload in chosen_workloads:
        print(f"{workload.name:20} {workload.about}")
    for allocator in chosen:
        print(f"{allocator.name:20} {allocator.version}")


def measure_all(options, chosen_workloads, chosen, threads, extra_env=None):
    """(samples, lost), lost being sentences about combinations that failed. extra_env is the
    environment of the subject's runs, besides what all get."""
    if options.update:
        report.check_page(options.update, options.stem)
    if machine.load() > machine.processors() / 2:
        print(f"the machine is busy (load {machine.load():.1f}): these numbers will not be worth "
              "much", file=sys.stderr)
    runs, seconds = measure.estimate(chosen_workloads, threads, chosen, options.rounds,
                                     options.percent)
    if options.budget:
        seconds = min(seconds, options.budget)
    print(f"{runs} runs, about {seconds / 60:.0f} min" if seconds >= 90 else
          f"{runs} runs, about {seconds:.0f} s", file=sys.stderr)

    def run(workload, allocator, number):
        if not isinstance(workload, workloads.Workload):
            return workload.run(allocator, options.build, options.percent)
        return measure.run_workload(workload, allocator, number, options.percent,
                                    extra_env if allocator.name == options.subject else None)

    lost = {}
    samples = measure.interleaved(chosen_workloads, threads, chosen, options.rounds,
                                  options.budget, run, lost)
    if not samples:
        raise workloads.Failed("no run has succeeded: " + "; ".join(lost.values()))
    options.rounds = max(sample["round"] for sample in samples)
    return samples, lost


def results_of(samples, chosen):
    """The samples as medians."""
    return report.Results(samples, [allocator.name for allocator in chosen],
                          [allocator.name for allocator in chosen if allocator.reference],
                          lean_names(chosen))


def preamble(options, chosen, results, metric, lost, mark):
    """What the numbers are, in some lines. mark says how the best one is shown."""
    lines = [f"Machine: {machine.describe()}",
             f"{report.rounds_in_words(options.rounds)}; the best is {mark}."]
    if options.rounds > 1:
        lines.append("± is half of the distance between a cell's lowest and highest round; that "
                     f"distance is {100 * results.spread(metric):.0f} % (median over all cells). "
                     "Differences below it mean nothing.")
    if options.percent != 100:
        lines.append(f"Runs are shortened to {options.percent} % of the usual work.")
    lines += [f"{allocator.name}: {allocator.version}" for allocator in chosen]
    if results.references:
        lines.append("References stand in brackets and take part in no comparison. Each ran once, "
                     "with the workload programs on a share of the work, scaled up; no result "
                     f"within {measure.REFERENCE_LIMIT_S} s or no memory left is a dash.")
    lines += [f"no result: {sentence}" for sentence in lost.values()]
    return lines


def facts_of(options, chosen_workloads, chosen, samples, lost):
    """Everything that goes into the JSON file, every single sample included."""
    return {
        "machine": machine.describe(),
        "tuning": machine.tuning(),
        "rounds": options.rounds,
        "percent": options.percent,
        "allocators": {allocator.name: allocator.version for allocator in chosen},
        "references": [allocator.name for allocator in chosen if allocator.reference],
        "workloads": {workload.name: workload.about for workload in chosen_workloads},
        "lost": list(lost.values()),
        "samples": [{key: Path(value).name if key == "malloc" else value
                     for key, value in sample.items() if key != "words"} for sample in samples],
    }


def write_json(options, facts):
    """Writes the facts and returns the path."""
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.stem}.json"
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return path


def write_page(options, lines, tables, brief_tables=None):
    """Writes the Markdown page and, with --update, the brief tables into the page named there;
    returns the path."""
    def page(some):
        return "\n".join([*(f"- {line}" for line in lines), "",
                          *(table.markdown() for table in some)])

    path = options.out / f"{options.stem}.md"
    path.write_text(page(tables), encoding="utf-8")
    if options.update:
        report.update_page(options.update, options.stem, report.command_line(sys.argv),
                           page(brief_tables or tables))
    return path


def can_draw():
    """Whether there is gnuplot; says so if not."""
    if not plot.available():
        print("gnuplot is not installed, so nothing is drawn; `ci/install plot` does it",
              file=sys.stderr)
    return plot.available()


def run_as_program(name, main):
    """Ends the process with the status that main() returns."""
    # Whoever ends us with a signal ends the program under measurement too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        sys.exit(main())
    except REASONS as reason:
        sys.exit(f"{name}: {reason}")
    except KeyboardInterrupt:
        sys.exit(f"\n{name}: stopped")
