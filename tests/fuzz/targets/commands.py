"""The metadata's log and its snapshots."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
from floodmark.errors import FloodmarkError, InvalidRequest
from floodmark.format.frame import Frame, FrameKind, crc_of

from node.metadata import commands
from node.metadata.levels import TooNew
from node.metadata.machine import MetadataMachine
from tests.fuzz.target import Target
from tests.support.metadata_commands import RandomCommands


def _machine(count: int = 60) -> MetadataMachine:
    """A cluster that has lived a little: the same each time."""
    machine, drawn = MetadataMachine(), RandomCommands(random.Random(7))
    for _ in range(count):
        _apply(machine, commands.encode(drawn.next(machine.state)))
    return machine


def _apply(machine: MetadataMachine, payload: bytes) -> object:
    index = machine.state.applied_index + 1
    machine.apply(Frame(index, 1, 0, 0, 0, FrameKind.COMMAND, payload, crc_of(payload)))
    return machine.outcome(index)


_STATE = _machine().snapshot()


def command(data: bytes) -> None:
    """A command is InvalidRequest or TooNew, or it can be packed again as the same. Applied, it changes the
    state or is refused, and the state can be written and read; a refused one changes nothing.
    """
    try:
        found = commands.decode(data)
    except TooNew:
        return
    except InvalidRequest:
        found = None
    if found is not None:
        assert commands.decode(commands.encode(found)) == found or _is_odd(found)
    machine = MetadataMachine()
    machine.restore(_STATE)
    before = msgspec.msgpack.encode(machine.state)
    outcome = _apply(machine, data)
    if machine.halted is not None:
        return
    if isinstance(outcome, FloodmarkError):
        machine.state.applied_index -= 1
        assert msgspec.msgpack.encode(machine.state) == before, "refused, and yet something changed"
        return
    again = MetadataMachine()
    again.restore(machine.snapshot())
    assert again.halted is None
    assert msgspec.msgpack.encode(again.state) == msgspec.msgpack.encode(machine.state) or _is_odd(found)


def _is_odd(value: object) -> bool:
    """Whether it holds a number that is unlike itself."""
    return value != value  # noqa: PLR0124


def snapshot(data: bytes) -> None:
    """A snapshot is read, halts the replica, or is ValueError; what is read is written as the same state."""
    machine = MetadataMachine()
    try:
        machine.restore(data)
    except ValueError:
        return
    if machine.halted is None:
        again = MetadataMachine()
        again.restore(machine.snapshot())
        assert again.halted is None
        assert again.state == machine.state or _is_odd(machine.state)
    else:
        assert machine.snapshot() == data, "what a newer build wrote is not kept as it was"


def _command_seeds() -> Iterator[bytes]:
    machine = _machine(40)
    kinds, drawn = set(), RandomCommands(random.Random(3))
    for _ in range(2000):
        made = drawn.next(machine.state)
        if made.kind not in kinds:
            kinds.add(made.kind)
            yield commands.encode(made)


def _snapshot_seeds() -> Iterator[bytes]:
    yield _STATE
    yield _machine(10).snapshot()
    yield MetadataMachine().snapshot()


TARGETS = (Target("command", command, _command_seeds), Target("snapshot", snapshot, _snapshot_seeds))
