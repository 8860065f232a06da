"""Bringing in a follower that is too far behind, where the state is large: the leader's side.

The leader offers the file that its checkpoint names. The follower says how far it has that very file on its
disk, and gets the rest in chunks, each of them whole blocks of the file: a megabyte is under way at a time.
What is lost, by a link or by an end of either process, is offered again, and goes on from where the follower
is.

As long as the follower gets on, this replica writes no newer file. So the one that is being sent stays, and
what of the log follows it. A new leader offers a file of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from consensus.core.catch_up import Turns
from consensus.core.checkpoint_format import Reference
from consensus.messages import SnapshotChunk, SnapshotOffer, SnapshotPosition

if TYPE_CHECKING:
    from consensus.core.core import Core
    from consensus.core.large_checkpoints import LargeCheckpoints
    from consensus.core.state_files import StateFiles
    from consensus.core.state_incoming import Outgoing

RETRY_S: Final = 1.0
"""A follower of which nothing came for this long is offered the file once more."""
GIVE_UP_S: Final = 30.0
"""For one that does not get on for this long nothing is held back any more; it is still offered a file."""
STARTS_MAX: Final = 5
"""... and so for one that begins again and again: it cannot make use of this file."""


class StateSender:
    """In place of ``Installer``."""

    def __init__(self, core: Core, files: StateFiles, turns: Turns) -> None:
        self._core = core
        self._files = files
        self._turns = turns
        self._checkpoints: LargeCheckpoints
        self._term = -1
        self._sendings: dict[str, _Sending] = {}

    def attach(self, checkpoints: LargeCheckpoints) -> None:
        """Those of the same replica."""
        self._checkpoints = checkpoints
        checkpoints.is_held = self.is_in_use

    def begin(self) -> None:
        """A new leadership."""
        self._term = self._core.engine.term
        self._sendings.clear()

    def link_up(self, name: str) -> None:
        """What was sent over the old connection may be lost."""
        sending = self._sendings.get(name)
        if sending is not None:
            sending.ask_again()

    def done(self, name: str) -> None:
        """The follower has a log that this one continues."""
        if self._sendings:
            self._sendings.pop(name, None)

    def is_in_use(self) -> bool:
        """Whether a follower is getting the file that the checkpoint names."""
        core = self._core
        if not self._sendings or not self._leads():
            return False
        return any(
            core.now - sending.progress_at < GIVE_UP_S and sending.starts <= STARTS_MAX
            for name, sending in self._sendings.items()
            if name in core.members.others and sending.reference == self._checkpoints.stored.reference
        )

    def send(self, name: str, round_: int, attempt: int) -> bool:  # noqa: ARG002
        """Offer the file, again where nothing came of it. Heartbeats go on beside it: returns False."""
        core, stored = self._core, self._checkpoints.stored
        sending = self._sendings.get(name)
        if sending is None or sending.reference != stored.reference:
            assert stored.reference is not None, "what was trimmed stands in a file"
            sending = self._sendings[name] = _Sending(stored.reference, core.now)
        if core.now - sending.heard_at >= RETRY_S:
            sending.ask_again()
        if sending.acked is None and core.now - sending.offered_at >= RETRY_S:
            sending.offered_at = core.now
            reference, membership = sending.reference, stored.memberships[0][1]
            offer = SnapshotOffer(
                term=core.engine.term,
                index=reference.index,
                entry_term=core.log.term_at(reference.index),
                offset=stored.offset,
                voters=sorted(membership.voters),
                learners=sorted(membership.learners),
                id=reference.id,
                length=reference.length,
                crc=reference.crc,
            )
            core.emit(name, offer)
        self._pump(name, sending)  # It may have had to wait.
        return False

    def on_position(self, source: str, message: SnapshotPosition) -> None:
        """A follower tells how far it has the file on its disk."""
        core, sending = self._core, self._sendings.get(source)
        if sending is None or message.term != self._term or not self._leads():
            return
        position = message.position
        if message.id != sending.reference.id or position > sending.reference.length:
            return
        sending.heard(position, core.now, again=message.again)
        self._pump(source, sending)

    def _pump(self, name: str, sending: _Sending) -> None:
        """Read the next chunk, where one may be sent and none is being read."""
        if sending.reading or sending.acked is None or not self._leads():
            return
        start, length = sending.sent, sending.reference.length
        if start >= length or start - sending.acked >= self._core.options.state_window_bytes:
            return
        if name in self._core.members.current.learners and not self._turns.have_come(name):
            return
        sending.reading = True
        if sending.file is None:
            sending.file = self._files.outgoing(sending.reference, self._core.options.state_chunk_bytes)
        file = sending.file
        self._core.work(
            lambda: file.read(start),
            lambda raw: self._read(name, sending, start, raw),
            failed=lambda error: self._unreadable(name, sending, str(error)),
        )

    def _read(self, name: str, sending: _Sending, start: int, raw: bytes) -> None:
        core = self._core
        sending.reading = False
        if self._sendings.get(name) is not sending or not self._leads():
            return
        # The follower may have said meanwhile that it is elsewhere.
        if sending.acked is not None and sending.sent == start:
            core.emit(name, SnapshotChunk(core.engine.term, sending.reference.id, start, raw))
            self._turns.sent(name, len(raw))
            sending.sent = start + len(raw)
        self._pump(name, sending)

    def _unreadable(self, name: str, sending: _Sending, reason: str) -> None:
        """The file is of no use to anybody: another one is written, of what is in memory."""
        if self._sendings.get(name) is sending:
            del self._sendings[name]
        self._checkpoints.distrust(sending.reference, reason)

    def _leads(self) -> bool:
        """Whether this replica leads, and still in the same term."""
        engine = self._core.engine
        return engine.is_leader and engine.term == self._term


class _Sending:
    """One follower and one file."""

    def __init__(self, reference: Reference, now: float) -> None:
        self.reference = reference
        self.file: Outgoing | None = None
        self.reading = False
        self.acked: int | None = None
        """What the follower has on its disk; None where it has to say so (again)."""
        self.sent = 0
        self.offered_at = -math.inf
        self.heard_at = now
        self.progress_at = now
        self.starts = 0
        self._furthest = -1

    def ask_again(self) -> None:
        """Nothing that was sent counts any more."""
        self.acked = None

    def heard(self, position: int, now: float, *, again: bool) -> None:
        """The follower is at ``position``, and expects what comes next from there if ``again``."""
        self.heard_at = now
        # One that has all of it makes a state of it, which may take its time.
        if position != self._furthest or position == self.reference.length:
            self.starts += position < self._furthest
            self._furthest = position
            self.progress_at = now
        if again or self.acked is None:
            self.sent = position
        self.acked = position
        self.sent = max(self.sent, position)
