# SPDX-License-Identifier: Apache-2.0
"""Pictures by gnuplot: lines over thread counts, and bars."""

import math
import shutil
import subprocess

# One colour an allocator in every picture; those that are given by path take the spare ones.
COLOURS = {
    "larder": "#d62728", "glibc": "#7f7f7f", "tcmalloc": "#1f77b4", "jemalloc": "#2ca02c",
    "mimalloc": "#9467bd",
}
SPARE_COLOURS = ["#ff7f0e", "#8c564b", "#e377c2", "#17becf", "#bcbd22"]
# All in pixels. Above the panels stand the title and the legend.
PANEL_WIDTH, PANEL_HEIGHT, HEAD_HEIGHT, GAP = 330, 260, 75, 75


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


def _prologue(path, title, panels):
    columns = min(panels, 4)
    rows = math.ceil(panels / columns)
    width, height = columns * PANEL_WIDTH, rows * PANEL_HEIGHT + HEAD_HEIGHT
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


def _legend(colours, height):
    """Names in their colours, in one row under the title."""
    step = min(0.16, 0.9 / len(colours))
    left = 0.5 - step * (len(colours) - 1) / 2
    return [
        f"set label {i + 1} {_quote('● ' + name)} at screen {left + i * step:.4f},"
        f"{1 - 40 / height:.4f} center textcolor rgb '{colour}'"
        for i, (name, colour) in enumerate(colours.items())
    ]


def lines(path, title, panels, series, x_values, y_format="%g"):
    """Draws one panel a workload. panels: {panel: {series: [y for each x]}}; x is a thread count.

    Counts double from point to point, so they are spaced evenly."""
    colours = _colours(series)
    script, height = _prologue(path, title, len(panels))
    script += _legend(colours, height)
    positions = range(len(x_values))
    ticks = ", ".join(f"'{x}' {i}" for i, x in zip(positions, x_values))
    script.append(f"set xtics ({ticks})")
    script.append(f"set xrange [-0.2:{len(x_values) - 0.8}]")
    script.append("set xlabel 'threads' offset 0,0.7")
    script.append(f"set format y '{y_format}'")
    for number, (panel, data) in enumerate(panels.items()):
        plots = []
        for name in series:
            block = f"$d{number}_{len(plots)}"
            points = [f"{i} {y}" for i, y in zip(positions, data[name])]
            script += [f"{block} << EOD", *points, "EOD"]
            plots.append(f"{block} with linespoints lw 2 pt 7 ps 0.6 lc rgb '{colours[name]}'")
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
