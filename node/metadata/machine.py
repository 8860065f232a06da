"""The metadata state as a consensus group drives it: frames in, outcomes for proposers, snapshots out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec
import structlog
from floodmark.errors import FloodmarkError, InvalidRequest
from floodmark.format.frame import Frame

from node.metadata import commands
from node.metadata.command import Command
from node.metadata.delta import WHOLE, MetadataDelta
from node.metadata.domains.features import RaiseLevel, level_refusal
from node.metadata.edit import Edit
from node.metadata.levels import Levels, TooNew, surplus
from node.metadata.state import Applied, MetadataState
from node.metadata.this_build import THIS_BUILD

Follower = Callable[[MetadataState, MetadataDelta], object]
OUTCOMES_KEPT = 1_000
SNAPSHOT_VERSION = 1

_log = structlog.get_logger(__name__)


class _Snapshot(msgspec.Struct, frozen=True):
    version: int
    state: MetadataState


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder()


def applied(state: MetadataState, command: Command, levels: Levels = THIS_BUILD) -> Applied:
    """Apply ``command`` to ``state``. Where it is refused, returns the error and changes nothing."""
    return levels.commands[command.kind].apply(Edit(state), command)


class MetadataMachine:
    """A ``StateMachine`` that applies each command by its kind, and tells its followers what changed.

    At what this build does not know it halts for good, with the state as it was up to there.
    """

    install_at_applied = True
    """A replica that is behind is sent the state alone: the commands that led to it add nothing."""

    def __init__(self, levels: Levels = THIS_BUILD) -> None:
        self.state = MetadataState()
        self.halted: str | None = None
        """Why nothing more is applied: what a newer build wrote. None while it runs."""
        self._followers: list[Follower] = []
        self.levels = levels
        """The feature levels that this build knows."""
        self._foreign: bytes | None = None
        """A snapshot that only a newer build can read: kept for that build, as it is."""
        self._outcomes: OrderedDict[int, Applied] = OrderedDict()

    def follow(self, follower: Follower) -> None:
        """Have ``follower`` called after each change, in the thread that steps the group, in their order.

        It gets the state and what has changed since it was last called. It must not raise.
        """
        self._followers.append(follower)

    def apply(self, frame: Frame) -> None:
        """Apply one committed command; those that the state already contains change nothing.

        Sets ``halted``, and applies nothing, at one that this build does not know.
        """
        if self.halted is not None or frame.index <= self.state.applied_index:
            return
        edit = Edit(self.state)
        try:
            outcome = self._apply(frame, edit)
        except TooNew as error:
            self._halt(f"metadata entry {frame.index} is {error}, which this build does not know")
            return
        self.state.applied_index = frame.index
        self._outcomes[frame.index] = outcome
        if len(self._outcomes) > OUTCOMES_KEPT:
            self._outcomes.popitem(last=False)
        if not isinstance(outcome, FloodmarkError):
            self._tell(edit.delta())

    def _tell(self, delta: MetadataDelta) -> None:
        if delta:
            for follower in self._followers:
                follower(self.state, delta)

    def _apply(self, frame: Frame, edit: Edit) -> Applied:
        try:
            command = commands.decode(frame.payload, self.levels)
        except InvalidRequest as error:
            # It is damaged: every node of every build skips it in the same way.
            _log.error("metadata command ignored", index=frame.index, reason=error.detail)
            return error
        if (
            isinstance(command, RaiseLevel)
            and not self.levels.knows(command.level)
            and level_refusal(self.state, command.level) is None
        ):
            raise TooNew(f"command 'raise_level' to level {command.level}")
        return self.levels.commands[command.kind].apply(edit, command)

    def outcome(self, index: int) -> Applied | None:
        """The result of the command at ``index``, if it was applied here recently."""
        return self._outcomes.get(index)

    def _halt(self, reason: str) -> None:
        self.halted = f"{reason}: start a newer Floodmark"
        _log.error("metadata_halted", reason=self.halted)

    def snapshot(self) -> bytes:
        """The whole state."""
        if self._foreign is not None:
            return self._foreign
        snapshot = _Snapshot(SNAPSHOT_VERSION, self.state)
        later = self.levels.later_settings(self.state.level)
        members = self.levels.later_members(self.state.level)
        if not later and not members:
            return _ENCODER.encode(snapshot)
        raw = msgspec.to_builtins(snapshot, builtin_types=(bytes,))
        for name in members:
            del raw["state"][name]
        for topic in raw["state"]["topics"].values():
            for name in later:
                topic["config"].pop(name, None)
        return _ENCODER.encode(raw)

    def restore(self, state: bytes) -> None:
        """Replace the state, unless the present one is newer: both are made of committed commands.

        Sets ``halted`` for a snapshot whose version or some part of it this build does not know: it is kept
        for a newer build. Raises ``ValueError`` for one that is damaged.
        """
        restored = MetadataState()
        if state:
            try:
                restored = _read(state, self.levels)
            except TooNew as error:
                self._foreign = state
                self._halt(f"the metadata snapshot has {error}")
                return
        if state and restored.applied_index < self.state.applied_index:
            return
        self._foreign = None
        self.state = restored
        self._outcomes.clear()
        self._tell(WHOLE)


def _read(snapshot: bytes, levels: Levels) -> MetadataState:
    try:
        raw = _DECODER.decode(snapshot)
        version = msgspec.convert(raw["version"], int)
        if version > SNAPSHOT_VERSION:
            raise TooNew(f"version {version}, and this build reads {SNAPSHOT_VERSION}")
        read = msgspec.convert(raw, _Snapshot)
        unknown = surplus(raw["state"], msgspec.to_builtins(read.state))
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"the metadata snapshot cannot be read: {error}") from error
    if not levels.knows(read.state.level):
        known = f"{levels.lowest} to {levels.highest}"
        raise TooNew(f"feature level {read.state.level}, and this build knows {known}")
    if unknown is not None:
        raise TooNew(f"{unknown[:80]!r}, which this build does not know")
    return read.state
