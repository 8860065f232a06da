"""Where the replicas of a new topic go: evenly over racks first, then over nodes.

Deterministic: the same nodes with the same load give the same placement.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence

from floodmark.errors import InvalidRequest

from node.metadata.state import MetadataState


def place(
    racks: dict[str, str], *, partitions: int, replication_factor: int, existing: Iterable[Sequence[str]] = ()
) -> list[list[str]]:
    """One list of nodes per partition, the preferred leader first.

    ``racks`` maps every node to its rack ("" is a rack too); ``existing`` are the placements that the nodes
    have already. Raises ``InvalidRequest`` when there are too few nodes.
    """
    if not 1 <= replication_factor <= len(racks):
        raise InvalidRequest(
            f"replication_factor {replication_factor} is not possible: the cluster has {len(racks)} nodes; "
            f"use 1 to {len(racks)}",
            nodes=len(racks),
        )
    load, leads = Counter[str](), Counter[str]()
    for replicas in existing:
        load.update(replicas)
        leads[replicas[0]] += 1
    placed: list[list[str]] = []
    for _ in range(partitions):
        chosen = _choose(racks, load, leads, replication_factor)
        # The node that leads least leads this one too; the others keep their order.
        leader = min(chosen, key=lambda node: (leads[node], node))
        chosen.remove(leader)
        chosen.insert(0, leader)
        load.update(chosen)
        leads[leader] += 1
        placed.append(chosen)
    while even_leaders(placed, leads, racks):
        pass
    return placed


def even_leaders(placed: list[list[str]], leads: Counter[str], nodes: Collection[str]) -> bool:
    """Pass one leadership from a node to one that leads at least two fewer; returns whether it was possible.

    They need not share a partition: the leadership of one partition after the other moves along a chain of
    nodes, found breadth first, so that the final spread is the smallest that the replicas allow.
    """
    lowest = min(leads[node] for node in nodes)
    led: dict[str, list[int]] = {}
    for number, replicas in enumerate(placed):
        led.setdefault(replicas[0], []).append(number)
    for start in sorted(nodes, key=lambda node: (-leads[node], node)):
        if leads[start] - lowest < 2:
            break  # nobody leads two fewer than this one or any that follows
        came_by: dict[str, tuple[str, int]] = {}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            if leads[node] <= leads[start] - 2:
                leads[start] -= 1
                leads[node] += 1
                while node != start:
                    giver, number = came_by[node]
                    replicas = placed[number]
                    replicas.remove(node)
                    replicas.insert(0, node)
                    node = giver
                return True
            for number in led.get(node, ()):
                for other in placed[number][1:]:
                    if other != start and other not in came_by:
                        came_by[other] = (node, number)
                        queue.append(other)
    return False


def _choose(racks: dict[str, str], load: Counter[str], leads: Counter[str], count: int) -> list[str]:
    """``count`` nodes, each the least loaded one of the rack least used so far."""
    chosen: list[str] = []
    used = Counter[str]()
    for _ in range(count):
        candidates = (node for node in racks if node not in chosen)
        best = min(candidates, key=lambda node: (used[racks[node]], load[node], leads[node], node))
        chosen.append(best)
        used[racks[best]] += 1
    return chosen


def place_in(
    state: MetadataState, racks: dict[str, str], *, partitions: int, replication_factor: int
) -> list[list[str]]:
    """``place``, given the topics that ``state`` has."""
    return place(
        racks,
        partitions=partitions,
        replication_factor=replication_factor,
        existing=[entry.replicas for topic in state.topics.values() for entry in topic.partitions],
    )
