"""A replica that lost data does not vote until it has everything that it may once have promised (H5).

*Recovering*: a part of its log was damaged and repaired. It votes again once it has applied all that a
leader, confirmed by a majority after the loss, had committed.

*Lost*: nothing is left, its votes included. Its acknowledgements do not count either, until it has applied so
far and the members list it as no voter; it votes again once they list it as one anew, and not in that term.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from consensus.safeguards import Safeguard
from consensus.types import Barrier

if TYPE_CHECKING:
    from consensus.acknowledge import Acknowledger
    from consensus.core import Core
    from consensus.reads import Reads


class Stage(enum.IntEnum):
    """How far a replica is on its way back. Stored in checkpoints."""

    SOUND = 0
    RECOVERING = 1
    LOST = 2
    REJOINING = 3


class Probation:
    """One replica's way back to voting."""

    def __init__(self, core: Core, stage: Stage, acks: Acknowledger, reads: Reads) -> None:
        self._core = core
        self._acks = acks
        self._reads = reads
        self._barrier: Barrier | None = None
        self.stage = stage if core.has(Safeguard.H5) else Stage.SOUND
        acks.trusted = self.stage is not Stage.LOST

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
            if self._barrier is None:
                self._barrier = self._reads.ask()
            if self._barrier.index is None:
                return
            if self.stage is Stage.RECOVERING:
                self._end()
                return
        counts = core.node_id in core.members.history[0][1].voters
        if self.stage is Stage.LOST and not counts:
            self.stage = Stage.REJOINING
            self._acks.trusted = True
        elif self.stage is Stage.REJOINING and counts:
            # It may have voted in this term before the loss, for whoever leads now or for another.
            core.engine.pin_vote()
            self._end()

    def _end(self) -> None:
        self.stage = Stage.SOUND
        vote = self._core.vote
        if vote.recover_until:
            vote.save(vote.term, vote.voted_for, 0)
