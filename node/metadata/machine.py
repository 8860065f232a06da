"""The metadata state as a consensus group drives it: frames in, outcomes for proposers, snapshots out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec
import structlog
from floodmark.errors import FloodmarkError, InvalidRequest
from floodmark.frame import Frame

from node.metadata import commands, state
from node.metadata.state import Applied, MetadataState

OUTCOMES_KEPT = 1_000
SNAPSHOT_VERSION = 1

_log = structlog.get_logger(__name__)


class _Snapshot(msgspec.Struct, frozen=True):
    version: int
    state: MetadataState


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Snapshot)


class MetadataMachine:
    """A ``StateMachine``. ``on_change`` is called after each change, in the thread that steps the group."""

    install_at_applied = True
    """A replica that is behind is given the state alone: the commands that led to it say nothing more."""

    def __init__(self) -> None:
        self.state = MetadataState()
        self.on_change: Callable[[], None] = lambda: None
        self._outcomes: OrderedDict[int, Applied] = OrderedDict()

    def apply(self, frame: Frame) -> None:
        """Take in one committed command; those that the state contains already change nothing."""
        if frame.index <= self.state.applied_index:
            return
        outcome = self._apply(frame)
        self.state.applied_index = frame.index
        self._outcomes[frame.index] = outcome
        if len(self._outcomes) > OUTCOMES_KEPT:
            self._outcomes.popitem(last=False)
        if not isinstance(outcome, FloodmarkError):
            self.on_change()

    def _apply(self, frame: Frame) -> Applied:
        try:
            command = commands.decode(frame.payload)
        except InvalidRequest as error:
            # Every node of this version skips it in the same way.
            _log.error("metadata command ignored", index=frame.index, reason=error.detail)
            return error
        return state.apply(self.state, command)

    def outcome(self, index: int) -> Applied | None:
        """What the command at ``index`` came to, if it was applied here not long ago."""
        return self._outcomes.get(index)

    def snapshot(self) -> bytes:
        """The whole state."""
        return _ENCODER.encode(_Snapshot(SNAPSHOT_VERSION, self.state))

    def restore(self, state: bytes) -> None:
        """Replace the state, unless it is newer: both are made of what is committed.

        Raises ``ValueError`` for a snapshot of a version that is not known here.
        """
        restored = MetadataState()
        if state:
            try:
                snapshot = _DECODER.decode(state)
            except msgspec.DecodeError as error:
                raise ValueError(f"the metadata snapshot can not be read: {error}") from error
            if snapshot.version != SNAPSHOT_VERSION:
                raise ValueError(f"the metadata snapshot has version {snapshot.version}: upgrade this node")
            restored = snapshot.state
        if state and restored.applied_index < self.state.applied_index:
            return
        self.state = restored
        self._outcomes.clear()
        self.on_change()
