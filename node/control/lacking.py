"""The reasons why a node takes no replicas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from node.broker import NodeHealth

DISK_FULL_PERCENT: Final = 85
"""Nothing moves to a node that uses more than this of its disk."""


def lacks(own: NodeHealth | None, held: int, *, drained: bool) -> str:
    """The first reason why a node takes no replicas; "" where it takes some. ``held``: how many it has."""
    return next(_reasons(own, held, drained=drained), "")


def is_full(own: NodeHealth) -> bool:
    """Whether the node's disk is known to be too full for more replicas."""
    if not own.disk_total_bytes or own.disk_free_bytes is None:
        return False
    return 100 * own.disk_free_bytes < own.disk_total_bytes * (100 - DISK_FULL_PERCENT)


def _reasons(own: NodeHealth | None, held: int, *, drained: bool) -> Iterator[str]:
    if drained:
        yield "is being drained"
    if own is None:
        yield "does not answer"
        return
    if own.stopping:
        yield "is about to stop"
    if not own.takes_replicas:
        yield "is not ready yet"
    if not own.disk_total_bytes or own.disk_free_bytes is None:
        yield "cannot tell how full its disk is"
    elif is_full(own):
        used = 100 - 100 * own.disk_free_bytes // own.disk_total_bytes
        yield f"uses {used}% of its disk, and above {DISK_FULL_PERCENT}% nothing moves there"
    if own.partitions_max and held >= own.partitions_max:
        yield f"has {held} replicas, and takes no more (limits.partitions_per_node_max)"
