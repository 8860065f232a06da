"""Who has, or is to have, a replica of a partition, as moves under way say.

A *move* takes one partition from the replicas that it has to others. It is queued until it is started; from
then on the nodes of both have a replica, the group's leader brings its members to the target a step at a
time, and only when the members are exactly those is the move finished: then the partition's entry says so,
and a node that has no part in it any more deletes its data. Until then nothing is lost by a change of mind,
which is a move to somewhere else, or back.
"""

from __future__ import annotations

from node.metadata.state import Move, PartitionEntry


def wanted(entry: PartitionEntry, move: Move | None) -> tuple[str, ...]:
    """Who should be the members of the partition's group, the preferred leader first."""
    return move.replicas if move is not None and move.started else entry.replicas


def targets_of(entry: PartitionEntry, move: Move | None) -> tuple[str, ...]:
    """Where the replicas will be once all that is queued is done, the preferred leader first."""
    return move.replicas if move is not None else entry.replicas


def holders(entry: PartitionEntry, move: Move | None) -> tuple[str, ...]:
    """The nodes that have, or are to have, a replica: nobody else keeps any data of the partition."""
    if move is None or not move.started:
        return entry.replicas
    return tuple(dict.fromkeys((*entry.replicas, *move.replicas, *move.leaving)))


def all_holders(entry: PartitionEntry, move: Move | None) -> tuple[str, ...]:
    """The holders, now or once a queued move has begun: what room they need."""
    if move is None:
        return entry.replicas
    return tuple(dict.fromkeys((*entry.replicas, *move.replicas, *move.leaving)))
