"""Replicas that go to other nodes: moves are queued, started, finished and cancelled (see ``holders.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from floodmark.errors import Conflict, FloodmarkError, InvalidRequest

from node.metadata.command import Command, command_type
from node.metadata.edit import Edit
from node.metadata.levels import MEMBERSHIP
from node.metadata.state import Applied, MetadataState, Move, PartitionEntry, TopicEntry


class Reassignment(msgspec.Struct, frozen=True, rename={"raft_group": "group_id"}):
    """Where one partition's replicas are to be; valid only in the state that it names."""

    raft_group: int
    expected: list[str]
    """The replicas that it has."""
    replicas: list[str]
    """Those that it is to have, the preferred leader first."""
    move: int = 0
    """The number of the move that is under way; 0 for none."""


class MoveReplicas(Command, frozen=True, tag="move_replicas"):
    """Move replicas to other nodes: all of these, or none when the state has changed meanwhile."""

    moves: list[Reassignment]
    reason: str = ""


class StartMoves(Command, frozen=True, tag="start_moves"):
    """Start queued moves: group id -> number of the move."""

    moves: dict[int, int]


class FinishMoves(Command, frozen=True, tag="finish_moves"):
    """Finish moves whose groups have reached their target: group id -> number of the move."""

    moves: dict[int, int]


class CancelMoves(Command, frozen=True, tag="cancel_moves"):
    """Undo moves: group id -> number of the move."""

    moves: dict[int, int]
    reason: str = ""


def move_replicas(edit: Edit, command: MoveReplicas) -> Applied:
    """All of the reassignments, or none where one means another state. Returns how many changed anything."""
    state = edit.state
    if state.level < MEMBERSHIP:  # Below it, it could not be stored.
        return Conflict(f"moves of replicas need feature level {MEMBERSHIP}", level=state.level)
    for change in command.moves:
        refused = _refusal(state, change)
        if refused is not None:
            return refused
    if len({change.raft_group for change in command.moves}) < len(command.moves):
        return InvalidRequest("a partition is named twice")
    return sum(
        _redirect(edit, change.raft_group, tuple(change.replicas), command.reason) for change in command.moves
    )


def _refusal(state: MetadataState, change: Reassignment) -> FloodmarkError | None:
    found = state.partition(change.raft_group)
    if found is None:
        return Conflict(f"there is no partition of group {change.raft_group}, or no longer")
    topic, entry = found
    named = f"{topic.name}/{entry.number}"
    if not change.replicas or len(set(change.replicas)) < len(change.replicas):
        return InvalidRequest(f"{change.replicas} cannot be the replicas of {named}: each node is named once")
    if unknown := sorted(set(change.replicas) - state.nodes.keys()):
        return Conflict(f"{unknown[0]} is not a node of the cluster: {named} cannot move there")
    move = state.moves.get(change.raft_group)
    number = move.number if move is not None else 0
    if tuple(change.expected) != entry.replicas or change.move != number:
        return Conflict(f"{named} was moved meanwhile: look again", topic=topic.name, partition=entry.number)
    return None


def _redirect(edit: Edit, raft_group: int, replicas: tuple[str, ...], reason: str) -> bool:
    """Set an existing partition's target; returns whether that changed it."""
    state = edit.state
    found = state.partition(raft_group)
    assert found is not None, "its group is known"
    topic, entry = found
    move = state.moves.get(raft_group)
    if replicas == (move.replicas if move is not None else entry.replicas):
        return False
    if move is None or not move.started:
        if set(replicas) == set(entry.replicas):
            # No replica has to move: only the preferred leader changes.
            edit.remove_move(raft_group)
            _replace(edit, topic, {entry.number: replicas})
            return True
        edit.put_move(raft_group, Move(state.next_move, replicas, reason))
    else:
        gone = dict.fromkeys(
            node for node in (*move.replicas, *move.leaving) if node not in {*replicas, *entry.replicas}
        )
        changed = Move(state.next_move, replicas, reason, started=True, leaving=tuple(gone))
        edit.put_move(raft_group, changed)
    state.next_move += 1
    return True


def start_moves(edit: Edit, command: StartMoves) -> Applied:
    """Starts those that still have the given numbers; returns how many."""
    started = 0
    for group, number in command.moves.items():
        move = edit.state.moves.get(group)
        if move is not None and move.number == number and not move.started:
            edit.put_move(group, msgspec.structs.replace(move, started=True))
            started += 1
    return started


def cancel_moves(edit: Edit, command: CancelMoves) -> Applied:
    """Forgets queued ones, turns started ones back to where they came from; returns how many."""
    cancelled = 0
    for _, entry in _meant(edit.state, command.moves):
        if edit.state.moves[entry.raft_group].started:
            cancelled += _redirect(edit, entry.raft_group, entry.replicas, command.reason)
        else:
            edit.remove_move(entry.raft_group)
            cancelled += 1
    return cancelled


def finish_moves(edit: Edit, command: FinishMoves) -> Applied:
    """Finishes those that still have the given numbers; returns how many."""
    arrived: dict[str, dict[int, tuple[str, ...]]] = {}
    for topic, entry in _meant(edit.state, command.moves):
        move = edit.state.moves[entry.raft_group]
        if move.started:
            arrived.setdefault(topic.name, {})[entry.number] = move.replicas
            edit.remove_move(entry.raft_group)
    for name, replicas in arrived.items():
        _replace(edit, edit.state.topics[name], replicas)
    return sum(map(len, arrived.values()))


def _meant(state: MetadataState, moves: Mapping[int, int]) -> list[tuple[TopicEntry, PartitionEntry]]:
    """The partitions whose moves still have these numbers, in the order of their topics and numbers: the
    numbers of new moves follow from it, so it is the same on every build.
    """
    meant = []
    for group, number in moves.items():
        move, found = state.moves.get(group), state.partition(group)
        if found is not None and move is not None and move.number == number:
            meant.append(found)
    # The state has its topics in the order of their ids.
    return sorted(meant, key=lambda found: (found[0].topic_id, found[1].number))


def _replace(edit: Edit, topic: TopicEntry, replicas: Mapping[int, tuple[str, ...]]) -> None:
    """Replace the replicas of some partitions, by number.

    Newcomers have no incarnation there: what is incomplete on their disks when next opened was lost.
    """
    partitions = tuple(
        msgspec.structs.replace(
            entry,
            replicas=replicas[entry.number],
            incarnations=tuple(entry.incarnation_of(node) for node in replicas[entry.number]),
        )
        if entry.number in replicas
        else entry
        for entry in topic.partitions
    )
    edit.put_topic(msgspec.structs.replace(topic, partitions=partitions))


COMMANDS: Final = dict(
    [
        command_type(MoveReplicas, move_replicas, level=MEMBERSHIP),
        command_type(StartMoves, start_moves, level=MEMBERSHIP),
        command_type(FinishMoves, finish_moves, level=MEMBERSHIP),
        command_type(CancelMoves, cancel_moves, level=MEMBERSHIP),
    ]
)
