"""The axes and what is measured along them, in words for people.

It imports nothing: the plot is drawn by a Python of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Title:
    """One axis."""

    name: str
    """As ``--only``, figures and the document have it."""
    title: str
    label: str
    """Of what grows, with its unit."""
    series: Mapping[str, str]
    """The kinds of load, in words."""
    is_logarithmic: bool = True
    is_in_bytes: bool = False
    """Places are sizes, shown in KiB and MiB."""
    is_in_megabytes: bool = False
    """Throughput is drawn in MB/s, as records are not of one size; else in records/s."""


_ONE: Final = "1 connection, one 1 KiB record a request"
_MANY: Final = "64 connections, one 1 KiB record a request"
_BATCHES: Final = "8 connections, batches of 256 x 1 KiB"

TITLES: Final = (
    Title("partitions", "Partitions", "partitions", {"one": _ONE, "many": _MANY, "batches": _BATCHES}),
    Title(
        "record-size",
        "Record size",
        "size of a record",
        {
            "one": "1 connection, one record a request",
            "many": "16 connections, one record a request",
            "read": "reading it back, pages of 1 MiB",
        },
        is_in_bytes=True,
        is_in_megabytes=True,
    ),
    Title(
        "batch-size",
        "Batch size",
        "records of 1 KiB in a batch",
        {"one": "1 connection, one batch a request", "eight": "8 connections, one batch a request"},
    ),
    Title("connections", "Connections", "connections", {"many": "each with one 1 KiB record at a time"}),
    Title(
        "log-size",
        "Log size",
        "GB in the log (one node, one partition)",
        {
            "one": _ONE,
            "many": _MANY,
            "fill": "writing on: 4 connections, batches of 1,000 x 1 KiB",
            "read-start": "reading from the start, not in the page cache",
            "read-middle": "from the middle",
            "read-end": "the last 100 MB",
        },
        is_in_megabytes=True,
        is_logarithmic=False,
    ),
    Title(
        "replication",
        "Replication",
        "replicas, each on a node of its own",
        {"one": _ONE, "many": _MANY, "batches": _BATCHES},
        is_logarithmic=False,
    ),
    Title(
        "nodes",
        "Nodes",
        "nodes, three replicas of each partition",
        {"many": _MANY, "forwarded": "the same, each to a node that does not lead"},
        is_logarithmic=False,
    ),
    Title("metadata", "Metadata", "nodes, with 1,000 replicas on each", {}),
)


def title_of(name: str) -> Title:
    """Raises ``KeyError``."""
    return {each.name: each for each in TITLES}[name]


def place(title: Title, x: float) -> str:
    """A place on the axis, for people."""
    if title.is_in_bytes:
        for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
            if x >= size:
                return f"{x / size:.3g} {unit}"
        return f"{x:g} B"
    return f"{x:,g}" if x != round(x) else f"{x:,.0f}"
