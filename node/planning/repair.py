"""Mends misplaced, missing and surplus replicas: drains, dead nodes, changed replication factors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from node.planning.layout import Layout, Part


def repair(
    layout: Layout,
    racks: Mapping[str, str],
    *,
    leave: Collection[str],
    heirs: Mapping[str, str],
    all_racks: Mapping[str, str],
    limit: int,
) -> None:
    """Plan for partitions that have replicas on nodes of ``leave``, or not as many as their topic wants.

    ``racks``: the nodes that take replicas, and their racks; ``all_racks`` of all nodes. At most ``limit``
    partitions. Where no node takes a replica, it stays where it is. ``heirs``: node of ``leave`` -> the node
    that takes its place; where that is "", replicas that find no place are dropped.
    """
    for part in layout.parts:
        if limit <= 0:
            return
        target = _repaired(layout, part, racks, leave, heirs, all_racks)
        if target != part.target:
            layout.put(part, target)
            limit -= 1


def _repaired(
    layout: Layout,
    part: Part,
    racks: Mapping[str, str],
    leave: Collection[str],
    heirs: Mapping[str, str],
    all_racks: Mapping[str, str],
) -> tuple[str, ...]:
    factor = part.topic.replication_factor
    stay = [node for node in part.target if node not in leave]
    if len(stay) == len(part.target) == factor:
        return part.target
    used = Counter(all_racks.get(node, "") for node in stay)
    while len(stay) > factor:
        worst = max(
            stay,
            key=lambda node: (
                node not in part.entry.replicas,
                used[all_racks.get(node, "")],
                layout.load[node],
                node != stay[0],
                node,
            ),
        )
        stay.remove(worst)
        used[all_racks.get(worst, "")] -= 1
    coming, waiting = _inherited(part, stay, racks, leave, heirs)
    used.update(racks[node] for node in coming)
    while len(stay) + len(coming) + len(waiting) < factor:
        free = [node for node in racks if node not in stay and node not in coming]
        if not free:
            break
        # A node that still holds data from a move that is being changed has to fetch nothing.
        best = min(
            free,
            key=lambda node: (
                used[racks[node]],
                node not in part.entry.replicas,
                layout.load[node],
                layout.leads[node],
                node,
            ),
        )
        coming.append(best)
        used[racks[best]] += 1
    # A replica that finds no other place stays where it is, unless it may be dropped.
    others = [node for node in part.target if node in leave and node not in waiting]
    others = [node for node in others if heirs.get(node) != "" or not (stay or coming)]
    kept = [*waiting, *others][: factor - len(stay) - len(coming)]
    if part.target[0] in stay:
        new = (*stay, *coming, *kept)
        return part.target if set(new) == set(part.target) else new
    chosen = [*stay, *coming] or kept
    leader = min(chosen, key=lambda node: (layout.leads[node], node))
    return (leader, *(node for node in (*stay, *coming, *kept) if node != leader))


def _inherited(
    part: Part,
    stay: Collection[str],
    racks: Mapping[str, str],
    leave: Collection[str],
    heirs: Mapping[str, str],
) -> tuple[list[str], list[str]]:
    """The heirs that take the place of leaving nodes, and the leaving nodes whose heirs cannot take any now.

    An heir that already has a replica cannot take another one: that goes wherever there is a place.
    """
    coming: list[str] = []
    waiting: list[str] = []
    for node in part.target:
        heir = heirs.get(node, "") if node in leave else ""
        if not heir or heir in stay or heir in coming:
            continue
        if heir in racks:
            coming.append(heir)
        else:
            waiting.append(node)
    room = max(0, part.topic.replication_factor - len(stay))
    return coming[:room], waiting[: max(0, room - len(coming))]
