"""Plans to even out replicas and leaders over the nodes while moving as few bytes as possible."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from node.metadata.placement import even_leaders
from node.planning.layout import Layout, Part

SPREAD: tuple[int, int] = (1, 10)
"""Counts that differ by at most one, or by less than this fraction of the lowest, are even."""


def even_replicas(layout: Layout, racks: Mapping[str, str], sizes: Mapping[int, int], *, limit: int) -> int:
    """Plan at most ``limit`` moves from the fullest nodes to the emptiest; returns how many.

    ``racks``: the nodes that take part, and their racks; ``sizes``: bytes by group id. No partition spans
    fewer racks afterwards, and partitions that already move are left alone.
    """
    planned = 0
    hopeless: set[tuple[str, str]] = set()
    on: dict[str, list[Part]] = {node: [] for node in racks}
    for part in sorted(layout.parts, key=lambda part: sizes.get(part.entry.raft_group, 0)):
        if part.move is None and part.target == part.before:
            for node in part.target:
                if node in on:
                    on[node].append(part)
    while planned < limit:
        order = sorted(racks, key=lambda node: (layout.load[node], node))
        if not order or layout.load[order[-1]] - layout.load[order[0]] <= _slack(layout.load[order[0]]):
            return planned
        if not _move_one(layout, racks, on, order, hopeless):
            return planned
        planned += 1
    return planned


def _move_one(
    layout: Layout,
    racks: Mapping[str, str],
    on: dict[str, list[Part]],
    order: list[str],
    hopeless: set[tuple[str, str]],
) -> bool:
    """Move the smallest partition of the fullest node that an emptier node can take; whether there was one.

    ``hopeless``: pairs of nodes between which nothing can move in this plan.
    """
    for full in reversed(order):
        for empty in order:
            if layout.load[full] - layout.load[empty] < 2:
                break
            if (full, empty) in hopeless:
                continue
            for part in on[full]:
                if empty not in part.target and _keeps_racks(part, racks, full, empty):
                    layout.put(part, _swapped(layout, part, full, empty))
                    for node in part.before:
                        if node in on:
                            on[node].remove(part)
                    return True
            hopeless.add((full, empty))
    return False


def _swapped(layout: Layout, part: Part, full: str, empty: str) -> tuple[str, ...]:
    target = tuple(empty if node == full else node for node in part.target)
    if target[0] != empty:
        return target
    leader = min(target, key=lambda node: (layout.leads[node], node))
    return (leader, *(node for node in target if node != leader))


def _keeps_racks(part: Part, racks: Mapping[str, str], full: str, empty: str) -> bool:
    before = {racks.get(node, "") for node in part.target}
    after = {racks.get(node, "") for node in part.target if node != full} | {racks[empty]}
    return len(after) >= len(before)


def even_preferred(layout: Layout, nodes: Collection[str]) -> None:
    """Plan other preferred leaders until the counts are as even as the replicas allow; moves no data.

    Partitions that already move keep theirs.
    """
    resting = [part for part in layout.parts if part.move is None]
    moved = True
    while moved:
        moved = False
        for part in resting:
            best = min(part.target, key=lambda node: (layout.leads[node], node))
            if best in nodes and layout.leads[part.target[0]] - layout.leads[best] >= 2:
                layout.put(part, (best, *(node for node in part.target if node != best)))
                moved = True
    placed = [list(part.target) for part in resting]
    leads = layout.leads.copy()
    while even_leaders(placed, leads, nodes):
        pass
    for part, replicas in zip(resting, placed, strict=True):
        if part.target != tuple(replicas):
            layout.put(part, tuple(replicas))


def is_even(counts: Sequence[int]) -> bool:
    """Whether the counts are close enough to leave them as they are."""
    return max(counts) - min(counts) <= _slack(min(counts))


def _slack(lowest: int) -> int:
    return max(1, lowest * SPREAD[0] // SPREAD[1])
