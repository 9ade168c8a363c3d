# SPDX-License-Identifier: Apache-2.0
"""Pictures by gnuplot: lines over thread counts, and bars."""

import math
import shutil
import subprocess

# One colour an allocator in every picture; those that are given by path take the spare ones.
COLOURS = {
    "larder": "#d62728", "glibc": "#7f7f7f", "tcmalloc": "#1f77b4", "jemalloc": "#2ca02c",
    "mimalloc": "#9467bd", "limit": "#000000", "sbrk": "#c49c94",
}
SPARE_COLOURS = ["#ff7f0e", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#393b79", "#e7ba52",
                 "#637939"]
# All in pixels. Above the panels stand the title and the legend.
PANEL_WIDTH, PANEL_HEIGHT, HEAD_HEIGHT, GAP = 330, 260, 75, 75
NAME_WIDTH = 105  # of the legend


def available():
    """Whether gnuplot is installed."""
    return shutil.which("gnuplot") is not None


def _gnuplot(script):
    done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"gnuplot: {done.stderr.strip()}")


def _quote(text):
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _colours(names):
    spare = iter(SPARE_COLOURS * (1 + len(names) // len(SPARE_COLOURS)))
    return {name: COLOURS.get(name) or next(spare) for name in names}


def _prologue(path, title, panels, names=0):
    columns = min(panels, 4)
    rows = math.ceil(panels / columns)
    width = max(columns * PANEL_WIDTH, names * NAME_WIDTH)
    height = rows * PANEL_HEIGHT + HEAD_HEIGHT
    return [
        f"set terminal svg noenhanced size {width},{height} font 'sans,12' background 'white'",
        f"set output {_quote(path)}",
        f"set label 1001 {_quote(title)} at screen 0.5,{1 - 18 / height:.4f} center font 'sans,15'",
        f"set multiplot layout {rows},{columns} "
        f"margins {60 / width:.4f},{1 - 15 / width:.4f},{50 / height:.4f},"
        f"{1 - HEAD_HEIGHT / height:.4f} spacing {60 / width:.4f},{GAP / height:.4f}",
        "set grid ytics lc rgb '#dddddd'",
        "set border 3",
        "set tics nomirror",
        "set yrange [0:*]",
        "unset key",
    ], height


def _legend(colours, height, top=40):
    """Names in their colours, in one row under the title, so many pixels from the top."""
    step = min(0.16, 0.9 / len(colours))
    left = 0.5 - step * (len(colours) - 1) / 2
    return [
        f"set label {i + 1} {_quote('● ' + name)} at screen {left + i * step:.4f},"
        f"{1 - top / height:.4f} center textcolor rgb '{colour}'"
        for i, (name, colour) in enumerate(colours.items())
    ]


def lines(path, title, panels, series, x_values, y_format="%g", x_title="threads", dashed=False):
    """Draws one panel a workload. panels: {panel: {series: [y for each x, None without one]}}; x is
    a thread count, or a number of processors. dashed is for what was not measured.

    Counts double from point to point, so they are spaced evenly."""
    colours = _colours(series)
    script, height = _prologue(path, title, len(panels), len(series))
    script += _legend(colours, height)
    positions = range(len(x_values))
    ticks = ", ".join(f"'{x}' {i}" for i, x in zip(positions, x_values))
    script.append(f"set xtics ({ticks})")
    script.append(f"set xrange [-0.2:{len(x_values) - 0.8}]")
    script.append(f"set xlabel {_quote(x_title)} offset 0,0.7")
    form = "with lines lw 2 dt 2" if dashed else "with linespoints lw 2 pt 7 ps 0.6"
    script.append(f"set format y '{y_format}'")
    for number, (panel, data) in enumerate(panels.items()):
        plots = []
        for name in series:
            block = f"$d{number}_{len(plots)}"
            points = [f"{i} {'NaN' if y is None else y}" for i, y in zip(positions, data[name])]
            script += [f"{block} << EOD", *points, "EOD"]
            plots.append(f"{block} {form} lc rgb '{colours[name]}'")
        script.append(f"set title {_quote(panel)} offset 0,-0.5")
        script.append("plot " + ", ".join(plots))
        if number == 0:
            # Labels on the screen would be drawn again with every panel.
            script.append("unset label")
    _gnuplot("\n".join(script + ["unset multiplot", ""]))


def bars(path, title, panels, form):
    """Draws one panel a figure: {panel: {bar: value}}; form(value) is written above the bar."""
    script, _ = _prologue(path, title, len(panels))
    names = list(dict.fromkeys(name for data in panels.values() for name in data))
    colours = _colours(names)
    script += ["set style fill solid 0.85 noborder", "set boxwidth 0.6",
               "set offsets 0,0,graph 0.1,0",
               "set format y '%.0s%c'"]
    for number, (panel, data) in enumerate(panels.items()):
        plots = []
        for i, (name, value) in enumerate(data.items()):
            block = f"$d{number}_{i}"
            script += [f"{block} << EOD", f"{i} {value} {_quote(form(value))}", "EOD"]
            plots.append(f"{block} using 1:2 with boxes lc rgb '{colours[name]}'")
            plots.append(f"{block} using 1:2:3 with labels offset 0,0.6")
        script.append("set xtics (" + ", ".join(
            f"{_quote(name)} {i}" for i, name in enumerate(data)) + ")")
        script.append(f"set xrange [-0.6:{len(data) - 0.4}]")
        script.append(f"set title {_quote(panel)} offset 0,-0.5")
        script.append("plot " + ", ".join(plots))
        if number == 0:
            script.append("unset label")
    _gnuplot("\n".join(script + ["unset multiplot", ""]))


BAR_WIDTH, GROUP_GAP, BARS_HEIGHT = 9, 14, 330


def grouped_bars(path, panels, series):
    """Draws panels one above the other, each with a group of bars a workload and a line at 1.
    panels: {title: {workload: {series: ratio}}}. A bar that would leave the picture is cut off and
    has its figure written on it."""
    colours = _colours(series)
    groups = max(len(data) for data in panels.values())
    group = len(series) * BAR_WIDTH + GROUP_GAP
    width = max(700, groups * group + 100, len(series) * NAME_WIDTH)
    height = len(panels) * BARS_HEIGHT + HEAD_HEIGHT
    script = [
        f"set terminal svg noenhanced size {width},{height} font 'sans,12' background 'white'",
        f"set output {_quote(path)}",
        f"set multiplot layout {len(panels)},1 margins {60 / width:.4f},{1 - 15 / width:.4f},"
        f"{110 / height:.4f},{1 - HEAD_HEIGHT / height:.4f} spacing 0,{140 / height:.4f}",
        "set grid ytics lc rgb '#dddddd'", "set border 3", "set tics nomirror", "unset key",
        "set style fill solid 0.85 noborder", "set boxwidth 0.9 absolute", "set format y '%g'",
        *_legend(colours, height, 20),
    ]
    step = len(series) + GROUP_GAP / BAR_WIDTH
    for number, (title, data) in enumerate(panels.items()):
        top = 1.15 * min(3.0, max(max(values.values()) for values in data.values()))
        ticks = ", ".join(f"{_quote(name)} {i * step + (len(series) - 1) / 2:.3f}"
                          for i, name in enumerate(data))
        plots, labels = [], []
        for j, name in enumerate(series):
            points = [(i * step + j, values[name]) for i, values in enumerate(data.values())
                      if name in values]
            if not points:
                continue
            block = f"$d{number}_{j}"
            script += [f"{block} << EOD", *(f"{x:.3f} {min(y, top):.4f}" for x, y in points), "EOD"]
            plots.append(f"{block} with boxes lc rgb '{colours[name]}'")
            labels += [f"{x:.3f} {0.97 * top:.4f} {y:.1f}" for x, y in points if y > top]
        if labels:
            script += [f"$l{number} << EOD", *labels, "EOD"]
            plots.append(f"$l{number} using 1:2:3 with labels font 'sans,9' rotate by 90 right")
        script += [f"set xtics ({ticks}) rotate by -35",
                   f"set xrange [-1:{len(data) * step:.3f}]", f"set yrange [0:{top:.4f}]",
                   f"set title {_quote(title)}",
                   "plot " + ", ".join([*plots, "1 with lines lc rgb '#555555' dt 3"]),
                   "unset label"]
    _gnuplot("\n".join(script + ["unset multiplot", ""]))
