"""Replicas that go to other nodes: what the description of the cluster says of them, and how that changes.

A *move* takes one partition from the replicas that it has to others. It is queued until it is started; from
then on the nodes of both have a replica, the group's leader brings its members to the target a step at a
time, and only when the members are those, and nobody else, is the move finished: then the partition's entry
says so, and who has no part in it any more deletes its data. Until then nothing is lost by a change of mind,
which is a move to somewhere else, or back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec
from floodmark.errors import Conflict, FloodmarkError, InvalidRequest

from node.metadata.commands import CancelMoves, FinishMoves, MoveReplicas, Reassignment, StartMoves
from node.metadata.levels import MEMBERSHIP

if TYPE_CHECKING:
    from node.metadata.state import MetadataState, PartitionEntry, TopicEntry


class Move(msgspec.Struct, frozen=True):
    """One partition on its way. ``replicas`` is where to, the preferred leader first."""

    number: int
    """It rises with every change and is given once: whoever means another move is refused."""
    replicas: tuple[str, ...]
    reason: str = ""
    started: bool = False
    leaving: tuple[str, ...] = ()
    """Nodes that an earlier target of the same move had, which may have a replica by now."""


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


def partitions_of(state: MetadataState) -> Iterator[tuple[TopicEntry, PartitionEntry]]:
    """All of them, each with its topic."""
    for topic in state.topics.values():
        for entry in topic.partitions:
            yield topic, entry


def without_moves(state: MetadataState, groups: Iterable[int]) -> None:
    """The partitions are deleted, and what was under way with them."""
    for group in groups:
        state.moves.pop(group, None)


def move_replicas(state: MetadataState, command: MoveReplicas) -> int | FloodmarkError:
    """All of the reassignments, or none where one of them means another state. How many changed anything."""
    if state.level < MEMBERSHIP:  # It could not be written down.
        return Conflict(f"moves of replicas need feature level {MEMBERSHIP}", level=state.level)
    known = {entry.raft_group: (topic, entry) for topic, entry in partitions_of(state)}
    for change in command.moves:
        refused = _refusal(state, known, change)
        if refused is not None:
            return refused
    if len({change.raft_group for change in command.moves}) < len(command.moves):
        return InvalidRequest("a partition is named twice")
    changed = 0
    for change in command.moves:
        topic, entry = known[change.raft_group]
        changed += _redirect(state, topic, entry, tuple(change.replicas), command.reason)
    return changed


def _refusal(
    state: MetadataState, known: Mapping[int, tuple[TopicEntry, PartitionEntry]], change: Reassignment
) -> FloodmarkError | None:
    if change.raft_group not in known:
        return Conflict(f"there is no partition of group {change.raft_group} (any more)")
    topic, entry = known[change.raft_group]
    named = f"{topic.name}/{entry.number}"
    if not change.replicas or len(set(change.replicas)) < len(change.replicas):
        return InvalidRequest(f"{change.replicas} are no replicas of {named}: each node is named once")
    if unknown := sorted(set(change.replicas) - state.nodes.keys()):
        return Conflict(f"{unknown[0]} is no node of the cluster: {named} cannot move there")
    move = state.moves.get(change.raft_group)
    number = move.number if move is not None else 0
    if tuple(change.expected) != entry.replicas or change.move != number:
        return Conflict(f"{named} was moved meanwhile: look again", topic=topic.name, partition=entry.number)
    return None


def _redirect(
    state: MetadataState, topic: TopicEntry, entry: PartitionEntry, replicas: tuple[str, ...], reason: str
) -> bool:
    """Another target for a partition; whether it was another one."""
    move = state.moves.get(entry.raft_group)
    if replicas == (move.replicas if move is not None else entry.replicas):
        return False
    if move is None or not move.started:
        if set(replicas) == set(entry.replicas):
            # Nothing has to go anywhere: only who leads best is another one.
            state.moves.pop(entry.raft_group, None)
            _replace(state, topic, {entry.number: replicas})
            return True
        state.moves[entry.raft_group] = Move(state.next_move, replicas, reason)
    else:
        gone = dict.fromkeys(
            node for node in (*move.replicas, *move.leaving) if node not in {*replicas, *entry.replicas}
        )
        state.moves[entry.raft_group] = Move(
            state.next_move, replicas, reason, started=True, leaving=tuple(gone)
        )
    state.next_move += 1
    return True


def start_moves(state: MetadataState, command: StartMoves) -> int:
    """Those of the moves that are still the ones meant; how many."""
    started = 0
    for group, number in command.moves.items():
        move = state.moves.get(group)
        if move is not None and move.number == number and not move.started:
            state.moves[group] = msgspec.structs.replace(move, started=True)
            started += 1
    return started


def cancel_moves(state: MetadataState, command: CancelMoves) -> int:
    """Queued ones are forgotten, started ones go back to where they came from. How many."""
    cancelled = 0
    for topic, entry in partitions_of(state):
        move = state.moves.get(entry.raft_group)
        if move is None or move.number != command.moves.get(entry.raft_group):
            continue
        if move.started:
            cancelled += _redirect(state, topic, entry, entry.replicas, command.reason)
        else:
            del state.moves[entry.raft_group]
            cancelled += 1
    return cancelled


def finish_moves(state: MetadataState, command: FinishMoves) -> int:
    """Those whose groups have come to their target, if they are still the ones meant. How many."""
    finished = 0
    for topic in list(state.topics.values()):
        arrived: dict[int, tuple[str, ...]] = {}
        for entry in topic.partitions:
            move = state.moves.get(entry.raft_group)
            if move is not None and move.started and command.moves.get(entry.raft_group) == move.number:
                arrived[entry.number] = move.replicas
                del state.moves[entry.raft_group]
        if arrived:
            _replace(state, topic, arrived)
            finished += len(arrived)
    return finished


def _replace(state: MetadataState, topic: TopicEntry, replicas: Mapping[int, tuple[str, ...]]) -> None:
    """Other replicas for some partitions, by number.

    Whoever came has no incarnation there: what is not whole on its disk when it opens next was lost.
    """
    now = state.topics[topic.name]
    partitions = tuple(
        msgspec.structs.replace(
            entry,
            replicas=replicas[entry.number],
            incarnations=tuple(entry.incarnation_of(node) for node in replicas[entry.number]),
        )
        if entry.number in replicas
        else entry
        for entry in now.partitions
    )
    state.topics[topic.name] = msgspec.structs.replace(now, partitions=partitions)
