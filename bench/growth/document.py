"""What docs/PERFORMANCE.md has from here, between marks: a part for each axis, and the arithmetic."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.document import write_parts
from bench.growth import scaling, table
from bench.growth.figures import Results
from bench.paths import IMAGES

_PICTURE = IMAGES / "growth.png"
_SHOWN = (
    "![A row of small charts for each axis: throughput, latency, CPU time, and what explains them]"
    f"(images/{_PICTURE.name})"
)


def parts(results: Results) -> Iterator[tuple[str, str]]:
    """Name of the marks and what stands between them; axes that were not walked along keep theirs."""
    yield "growth", f"{table.head(results)}\n\n{_SHOWN}"
    for axis in results.axes:
        yield f"growth-{axis}", table.of_axis(results, axis)
    if scaling.inputs(results) is not None:
        yield "growth-scaling", scaling.markdown(results)


def update(results: Results, picture: Path) -> None:
    """Put the figures of a run into the document, and its plot beside it."""
    write_parts(dict(parts(results)))
    if picture.exists():
        shutil.copyfile(picture, _PICTURE)
