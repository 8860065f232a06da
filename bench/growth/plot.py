"""The figures as a picture: ``python -m bench.growth.plot growth.json growth.png``, with a Python that has
matplotlib. A row for each axis, with throughput, latency, and what explains them (panels.py)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from bench.growth.figures import Results, load
from bench.growth.panels import COLUMNS, Panel, panels
from bench.growth.titles import place

_COLOURS: Final = ("#1f6f8b", "#d1495b", "#edae49", "#66a182", "#8d6a9f", "#555555")
_ONE_DECADE: Final = 12
"""Up to this ratio a logarithmic axis has more than its powers of ten."""
_LEGEND_SHARE: Final = 0.085
"""How much of a chart's height each line of a legend takes."""


def draw(results: Results, path: Path) -> None:
    """Medians as lines, from the lowest to the highest round as bars."""
    found = panels(results)
    rows = len(found) // COLUMNS
    figure, charts = plt.subplots(rows, COLUMNS, figsize=(4.7 * COLUMNS, 3.3 * rows), squeeze=False)
    for chart, panel in zip(charts.flat, found, strict=True):
        for line in panel.lines:
            _line(chart, line)
        _dress(chart, panel)
    figure.suptitle(f"{results.date}, {results.machine}", fontsize=9, y=0.002, va="bottom")
    figure.tight_layout(rect=(0, 0.012, 1, 1), h_pad=1.6)
    figure.savefig(path, dpi=90)
    with Image.open(path) as drawn:
        # A few dozen colours do; the picture is kept with every version of the document.
        fewer = drawn.convert("RGB").quantize(64)
    fewer.save(path, optimize=True)


def _line(chart: Any, line: Any) -> None:
    each = list(line.points.values())
    chart.errorbar(
        list(line.points),
        [spread.median for spread in each],
        yerr=[
            [spread.median - spread.low for spread in each],
            [spread.high - spread.median for spread in each],
        ],
        label=line.label or None,
        color=_COLOURS[line.number % len(_COLOURS)],
        linestyle="--" if line.is_dashed else "-",
        marker="o",
        markersize=3,
        linewidth=1.3,
        elinewidth=0.8,
        capsize=2,
    )


def _dress(chart: Any, panel: Panel) -> None:
    title = panel.title
    chart.set_title(f"{title.title}: {panel.head}", fontsize=9)
    chart.set_xlabel(title.label, fontsize=8)
    if title.is_logarithmic:
        chart.set_xscale("log")
    chart.set_xticks(panel.places, [place(title, x) for x in panel.places])
    if panel.is_logarithmic:
        chart.set_yscale("log")
    low, high = chart.get_ylim() if panel.is_logarithmic else (0.0, chart.get_ylim()[1])
    labels = len(chart.get_legend_handles_labels()[1])
    chart.set_ylim(low, _with_room(low, high, labels * _LEGEND_SHARE, is_logarithmic=panel.is_logarithmic))
    if panel.is_logarithmic:
        fine = high / low < _ONE_DECADE**2
        chart.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if fine else (1,)))
        chart.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
        chart.yaxis.set_minor_formatter(NullFormatter())
    chart.minorticks_off()
    chart.tick_params(labelsize=7)
    chart.tick_params(axis="x", rotation=35 if title.is_logarithmic else 0)
    chart.grid(visible=True, alpha=0.25, linewidth=0.6)
    chart.spines[["top", "right"]].set_visible(False)
    if labels:
        chart.legend(fontsize=7, frameon=False, loc="upper left", borderaxespad=0.1)


def _with_room(low: float, high: float, share: float, *, is_logarithmic: bool) -> float:
    """The upper bound that leaves a share of the height free for the legend."""
    if is_logarithmic:
        return float(low * (high / low) ** (1 / (1 - share)))
    return high / (1 - share)


def main(arguments: Sequence[str]) -> None:
    """JSON in, picture out."""
    draw(load(Path(arguments[0])), Path(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
