"""Which queued moves to start: a bounded number at once, in total and per target node, the oldest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

from node.metadata.state import MetadataState, Move

MOVES_AT_ONCE: Final = 64
MOVES_TO_NODE: Final = 32
"""The most replicas that move to one node at once."""


def moves_due(state: MetadataState, alive: Collection[str]) -> dict[int, int]:
    """Group id -> number of the moves whose turn it is and whose new nodes are all alive.

    A move that waits for a node that is away blocks no others: it goes on beside them once the node is back.
    """
    queued: list[tuple[int, int, list[str]]] = []
    busy = Counter[str]()
    under_way = 0
    if all(move.started for move in state.moves.values()):
        return {}
    for _, entry in state.partitions():
        move = state.moves.get(entry.raft_group)
        if move is None:
            continue
        adding = _adding(entry.replicas, move)
        if any(node not in alive for node in adding):
            continue
        if move.started:
            under_way += 1
            busy.update(adding)
        else:
            queued.append((move.number, entry.raft_group, adding))
    due: dict[int, int] = {}
    for number, group, adding in sorted(queued):
        if under_way + len(due) >= MOVES_AT_ONCE:
            break
        if all(busy[node] < MOVES_TO_NODE for node in adding):
            busy.update(adding)
            due[group] = number
    return due


def _adding(replicas: Collection[str], move: Move) -> list[str]:
    return [node for node in move.replicas if node not in replicas]
