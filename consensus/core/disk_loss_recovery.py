"""A replica that lost data does not vote until it has everything that it may once have promised (H5).

*Recovering*: a part of its log was damaged and repaired. It votes again once it has applied all that a
leader, confirmed by a majority after the loss, had committed, and has regained what it may have acknowledged.
What no replica has any more never comes back; then a second read index, begun after the first ended,
does: with the connection of the first answer the leader has forgotten all earlier acknowledgements.

*Lost*: nothing is left, its votes included. Its acknowledgements do not count either, until it has applied so
far and the members list it as no voter. Whoever was elected by a vote of before has no majority among those
that committed these members, so only the term of now is left in which it could vote twice: there its vote is
pinned. It must not wait until it is a voter again: it may be one before it hears of it, and the only one that
can help another to lead. The vote file says so too: no replica becomes sound by losing its checkpoint.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from consensus.core.safeguards import Safeguard
from consensus.types import ReadIndex

if TYPE_CHECKING:
    from consensus.core.acknowledge import Acknowledger
    from consensus.core.core import Core
    from consensus.core.read_index import Reads


LOST_UNTIL: Final = 2**64 - 1
"""``recover_until`` of a replica that has lost everything: no index ends that."""


class Stage(enum.IntEnum):
    """How far a replica is on its way back. Stored in checkpoints."""

    SOUND = 0
    RECOVERING = 1
    LOST = 2
    REJOINING = 3
    """Stored by earlier builds: not lost any more, and waiting to be a voter."""


class DiskLossRecovery:
    """One replica's way back to voting."""

    def __init__(self, core: Core, stage: Stage, acks: Acknowledger, reads: Reads) -> None:
        self._core = core
        self._acks = acks
        self._reads = reads
        self._read_index: ReadIndex | None = None
        self._second: ReadIndex | None = None
        self.stage = stage if core.has(Safeguard.H5) else Stage.SOUND
        acks.trusted = self.stage is not Stage.LOST
        if self.stage is Stage.LOST:
            core.vote.save(core.vote.term, core.vote.voted_for, LOST_UNTIL)

    @property
    def may_vote(self) -> bool:
        """Whether votes and elections are allowed."""
        return self.stage is Stage.SOUND

    def look(self) -> None:
        """After every step, and whenever a membership was committed, in order."""
        if self.stage is Stage.SOUND:
            return
        core = self._core
        if self.stage in (Stage.RECOVERING, Stage.LOST):
            if self._read_index is None:
                self._read_index = self._ask()
            if self._read_index.index is None:
                return
            if self.stage is Stage.RECOVERING:
                if self._has_regained_all():
                    self._end()
                return
        if self.stage is Stage.REJOINING or core.node_id not in core.members.history[0][1].voters:
            # It may have voted in this term before the loss, for whoever leads now or for another.
            self._acks.trusted = True
            core.engine.pin_vote()
            self._end()

    def _has_regained_all(self) -> bool:
        """The first read index has ended: is what it may have acknowledged here, or known not to count?"""
        if self._core.log.durable_index >= self._core.vote.recover_until:
            return True
        if self._second is None:
            self._second = self._ask()
        return self._second.index is not None

    def _ask(self) -> ReadIndex:
        """Ask in this very step: the next one may put this replica to sleep."""
        read_index = self._reads.ask()
        self._reads.look()
        return read_index

    def _end(self) -> None:
        self.stage = Stage.SOUND
        vote = self._core.vote
        if vote.recover_until:
            vote.save(vote.term, vote.voted_for, 0)
