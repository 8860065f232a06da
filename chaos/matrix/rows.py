"""The rows of the fault matrix: faults, with settings that have an effect even in a short run.

Toxics other than cuts are put on all links, the clients' too; a cut is between nodes, so that clients still
reach the node that is cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.faults.aim import Target

_EVERYWHERE: Final = {"links": "all"}
OF_METADATA: Final = {"of": "metadata"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault.

    kind, settings  of the fault, as in a scenario
    at              additional settings for some targets
    for_s           how long it is in force
    nodes           how many nodes the cluster has
    targets         on whom
    alone           no other topics are created or deleted, so that every partition is checked
    beside          a second fault, within the first one's time, without which the first has no effect
    """

    name: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    at: Mapping[Target, Mapping[str, Any]] = field(default_factory=dict)
    for_s: float = 4.0
    nodes: int = 3
    targets: tuple[Target, ...] = tuple(Target)
    alone: bool = False
    beside: str = ""

    def settings_at(self, target: Target) -> dict[str, Any]:
        """All settings of the fault on this target."""
        return {**self.settings, **self.at.get(target, {})}


def _toxic(kind: str, *, beside: str = "", **settings: Any) -> Row:
    return Row(
        name=kind.replace(" ", "-"), kind=kind, settings={**_EVERYWHERE, **settings}, beside=beside, for_s=5.0
    )


def _damage(name: str, kind: str, *, for_s: float = 2.0) -> Row:
    """For the leader of the metadata the damage is there, for all other targets in a partition."""
    return Row(name=name, kind=kind, at={Target.METADATA_LEADER: OF_METADATA}, for_s=for_s, alone=True)


_PROCESSES: Final = (
    Row(name="kill", kind="kill"),
    Row(name="stop", kind="restart", settings={"gently": True}),
    Row(name="kill-storm", kind="kill storm", for_s=6.0),
    Row(name="pause", kind="pause"),
    Row(name="pause-in-cut", kind="pause in a cut"),
)
_NETWORK: Final = (
    Row(name="cut", kind="cut"),
    Row(name="cut-out", kind="cut", settings={"direction": "out"}),
    Row(name="cut-in", kind="cut", settings={"direction": "in"}),
    Row(name="bridge", kind="bridge", nodes=5),
    _toxic("latency", latency_ms=150, jitter_ms=50),
    _toxic("bandwidth", kb_per_s=16),
    _toxic("reset", after_ms=50),
    _toxic("slow close", delay_ms=3_000, beside="restart"),
    _toxic("slicing", average_bytes=64, variation_bytes=32),
    _toxic("data limit", data_bytes=20_000),
)
_DISKS: Final = (
    Row(name="power-loss", kind="power loss", for_s=2.0),
    Row(name="disk-full", kind="disk full"),
    Row(name="write-error", kind="disk error", settings={"operation": "write"}),
    Row(name="sync-error", kind="disk error", settings={"operation": "sync"}),
    Row(name="read-error", kind="disk error", settings={"operation": "read"}),
    Row(name="slow-sync", kind="slow sync", settings={"delay_ms": 100}),
    Row(name="short-writes", kind="short writes"),
)
_FILES: Final = (
    _damage("flipped-bit", "flipped bit"),
    Row(
        name="flipped-metadata",
        kind="flipped bit",
        settings=OF_METADATA,
        for_s=2.0,
        targets=(Target.ONE, Target.MAJORITY),
    ),
    _damage("truncated-segment", "truncated segment"),
    _damage("old-copy", "old copy", for_s=3.0),
    Row(name="deleted-index", kind="deleted index", for_s=2.0),
    Row(name="wiped-folder", kind="wiped folder", for_s=2.0),
    Row(name="restored-copy", kind="restored copy", for_s=3.0),
)
_CLOCKS: Final = (
    Row(name="clock-forward", kind="clock jump", settings={"direction": "forward"}),
    Row(name="clock-back", kind="clock jump", settings={"direction": "back"}),
)


def _by_name(rows: Iterable[Row]) -> dict[str, Row]:
    return {row.name: row for row in rows}


ROWS: Final = _by_name((*_PROCESSES, *_NETWORK, *_DISKS, *_FILES, *_CLOCKS))
