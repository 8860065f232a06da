"""The figures as a picture: ``python -m bench.peers.plot peers.json peers.png``, with the clients' Python."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from bench.peers.results import Figure, Results, load, title
from bench.statistics import spread

_OURS, _SYNCED, _WEAKER = "#1f6f8b", "#8d99ae", "#d9b28c"
_COLUMNS = 3


def draw(results: Results, path: Path) -> None:
    """One panel for each work: bars with the medians, whiskers from the lowest to the highest round."""
    works = results.measured()
    rows = -(-len(works) // _COLUMNS)
    most = max(len(results.of(*work)) for work in works)
    figure, axes = plt.subplots(
        rows, _COLUMNS, figsize=(5.6 * _COLUMNS, rows * (1.2 + 0.36 * most)), squeeze=False
    )
    for axis, (work, size) in zip(axes.flat, works, strict=False):
        _panel(axis, results, work, size)
    for axis in axes.flat[len(works) :]:
        axis.set_visible(False)
    handles = [Rectangle((0, 0), 1, 1, color=colour) for colour in (_OURS, _SYNCED, _WEAKER)]
    names = ["Floodmark (on two disks)", "acknowledged on two disks", "acknowledged before that"]
    figure.legend(handles, names, loc="upper center", ncols=3, frameon=False)
    figure.suptitle(f"{results.date}, {results.machine}", fontsize=8, y=0.005, va="bottom")
    figure.tight_layout(rect=(0, 0.02, 1, 0.97))
    figure.savefig(path, dpi=110)


def _panel(axis: Any, results: Results, work: str, size: int) -> None:
    found = results.of(work, size)
    is_latency = work in ("one", "paced")
    labels, medians, below, above, colours = [], [], [], [], []
    for (variant, way), figures in found.items():
        each = spread([_value(figure, work) for figure in figures])
        rate = figures[0].target_rate
        labels.append(
            ", ".join(part for part in (results.labels[variant], way, f"{rate:,}/s" if rate else "") if part)
        )
        medians.append(each.median)
        below.append(each.median - each.low)
        above.append(each.high - each.median)
        colours.append(_colour(results, variant))
    axis.barh(labels, medians, xerr=[below, above], color=colours, ecolor="#444444", capsize=2)
    axis.invert_yaxis()
    unit = {"one": "p50, ms (less is better)", "paced": "p99, ms (less is better)"}.get(work, "records/s")
    axis.set_title(f"{title(work, size)}\n{unit}", fontsize=9)
    axis.tick_params(labelsize=7)
    axis.bar_label(
        axis.containers[-1],
        [f"{value:,.2f}" if is_latency else f"{value:,.0f}" for value in medians],
        fontsize=7,
        padding=3,
    )
    axis.set_xlim(0, max(high + median for high, median in zip(above, medians, strict=True)) * 1.2)
    axis.spines[["top", "right"]].set_visible(False)


def _value(figure: Figure, work: str) -> float:
    if work == "one":
        return figure.p50_ms or 0.0
    return (figure.p99_ms or 0.0) if work == "paced" else figure.rate


def _colour(results: Results, variant: str) -> str:
    if variant == "floodmark":
        return _OURS
    return _SYNCED if variant in results.synced else _WEAKER


def main(arguments: Sequence[str]) -> None:
    """JSON in, picture out."""
    draw(load(Path(arguments[0])), Path(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
