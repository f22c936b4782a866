"""Draws the dashboard's main panels from a real Prometheus, after some minutes of load, for the README.

    python3 scripts/dashboard/picture.py docs/dashboard.png

Needs `cargo build --release`, redis-server, prometheus, and what requirements.txt names.
"""

import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from panels import ROWS, Panel
from scene import Load, Prometheus, scene

TARGET_DIR = Path(__file__).parents[1] / "target-dir.sh"
BINARY = Path(subprocess.run([TARGET_DIR], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()) / "release" / "kvstore"

SECONDS = 180
"""How long the load lasts."""

SHOWN = [
    "Requests by endpoint",
    "Answers by status",
    "Latency, 99th percentile",
    "Latency, median",
    "In flight",
    "Connections",
    "Index by part",
    "Engine latency, 99th percentile",
    "Engine requests",
]

VARIABLES = {"$namespace": "kv", "$pod": ".*", "$__rate_interval": "10s"}

COLORS = ["#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, scene(BINARY, Path(folder), []) as (prometheus, urls), Load(urls) as load:
        start_s = time.time()
        # The load swells and ebbs, so that curves have something to show.
        while (passed_s := time.time() - start_s) < SECONDS:
            load.pace_s = 0.06 + 0.05 * math.cos(passed_s / SECONDS * 4 * math.pi)
            time.sleep(1)
        draw(prometheus, start_s + 15, start_s + SECONDS)


def draw(prometheus: Prometheus, start_s: float, end_s: float) -> None:
    mpl.rcParams.update({
        "font.size": 8, "axes.titlesize": 9, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "text.color": "#ccccdc", "axes.labelcolor": "#9fa7b3", "xtick.color": "#9fa7b3", "ytick.color": "#9fa7b3",
        "figure.facecolor": "#111217", "axes.facecolor": "#181b1f", "axes.edgecolor": "#2c3235", "grid.color": "#2c3235",
        "axes.prop_cycle": mpl.cycler(color=COLORS),
    })  # fmt: skip
    panels = {panel.title: panel for row in ROWS.values() for panel in row if panel.kind == "timeseries"}
    figure, axes = pyplot.subplots(3, 3, figsize=(14, 9), layout="constrained")
    for place, title in zip(axes.flat, SHOWN, strict=True):
        show(place, panels[title], prometheus, (start_s, end_s))
    figure.savefig(sys.argv[1], dpi=80)


def show(place: Axes, panel: Panel, prometheus: Prometheus, times_s: tuple[float, float]) -> None:
    start_s, end_s = times_s
    series: list[tuple[str, list[float], list[float]]] = []
    for legend, expression in panel.queries.items():
        for variable, value in VARIABLES.items():
            expression = expression.replace(variable, value)
        for found in prometheus.between(expression, start_s, end_s, 1):
            name = legend
            for label, value in found["metric"].items():
                name = name.replace("{{" + label + "}}", value)
            moments = [moment - start_s for moment, _ in found["values"]]
            values = [float(value) for _, value in found["values"]]
            if any(values):
                series.append((name, moments, values))
    if panel.stacked:
        # Parts come and go, and have different moments.
        moments = sorted({moment for _, some, _ in series for moment in some})
        by_name = {name: dict(zip(some, values, strict=True)) for name, some, values in series}
        rows = [[values.get(moment, 0) for moment in moments] for values in by_name.values()]
        place.stackplot(moments, rows, labels=list(by_name), alpha=0.7)
    else:
        for name, moments, values in series:
            place.plot(moments, values, label=name, linewidth=1.2)
    place.set_title(panel.title)
    place.set_ylim(bottom=0)
    place.set_xlim(0, end_s - start_s)
    place.grid(linewidth=0.5)
    place.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value, panel.unit)))
    place.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02}"))
    for side in ("top", "right"):
        place.spines[side].set_visible(False)
    place.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=3, frameon=False, fontsize=7, labelcolor="#9fa7b3")


def amount(value: float, unit: str) -> str:
    if unit == "s":
        scale = 1e6 if value < 1e-3 else 1e3 if value < 1 else 1
        return f"{value * scale:.3g} {({1e6: 'µs', 1e3: 'ms', 1: 's'})[scale]}" if value else "0"
    if unit == "bytes":
        return f"{value / 1024:.0f} KiB" if value < 1 << 20 else f"{value / (1 << 20):.1f} MiB"
    return f"{value:g}" + ("/s" if unit == "reqps" else "")


if __name__ == "__main__":
    main()
