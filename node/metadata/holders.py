"""Which nodes have, or are to have, a replica of a partition, given the moves under way.

A *move* takes one partition from its present replicas to others. It is queued until it is started. From then
on the nodes of both have a replica, and the group's leader changes the members towards the target a step at
a time. Only when the members are exactly the target is the move finished: then the partition's entry names
them, and nodes that are no longer among them delete its data. Until then the move can be redirected or
undone without losing anything.
"""

from __future__ import annotations

from node.metadata.state import Move, PartitionEntry


def wanted(entry: PartitionEntry, move: Move | None) -> tuple[str, ...]:
    """The nodes that should be members of the partition's group, the preferred leader first."""
    return move.replicas if move is not None and move.started else entry.replicas


def targets_of(entry: PartitionEntry, move: Move | None) -> tuple[str, ...]:
    """The nodes that will have the replicas once its move is done, the preferred leader first."""
    return move.replicas if move is not None else entry.replicas


def holders(entry: PartitionEntry, move: Move | None) -> tuple[str, ...]:
    """The nodes that have, or are to have, a replica: no other node keeps data of the partition."""
    if move is None or not move.started:
        return entry.replicas
    return tuple(dict.fromkeys((*entry.replicas, *move.replicas, *move.leaving)))


def all_holders(entry: PartitionEntry, move: Move | None) -> tuple[str, ...]:
    """The holders now or once a queued move has begun, for counting the room that they need."""
    if move is None:
        return entry.replicas
    return tuple(dict.fromkeys((*entry.replicas, *move.replicas, *move.leaving)))
