"""A follower's answers: nothing is acknowledged before it is durable here (C4).

The engine answers an append at once. A success that covers entries which are not fsynced yet waits here;
a heartbeat is answered meanwhile with as much as is durable: a slow disk is not to look like a dead node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus.core.safeguards import Safeguard
from consensus.messages import AppendEntries, AppendEntriesResponse, InstallSnapshot

if TYPE_CHECKING:
    from consensus.core.core import Core


class Acknowledger:
    """Turns the engine's answers into messages."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._leader: str | None = None
        self._round = 0
        self._attempt = 0
        self._is_heartbeat = False
        self._waiting_for = 0
        self._waiting_term = -1
        self.trusted = True
        """Whether this replica's acknowledgements may count (H5)."""

    def begin(self, leader: str, message: AppendEntries | InstallSnapshot, *, is_heartbeat: bool) -> None:
        """A message of ``leader`` is about to be given to the engine, and will be answered."""
        self._leader = leader
        self._round, self._attempt = message.round, message.attempt
        self._is_heartbeat = is_heartbeat
        if message.term != self._waiting_term:
            self._waiting_for = 0
            self._waiting_term = message.term

    def engine_answers(self, *, next_index: int, success: bool, reset: bool) -> None:
        """The engine's answer to it."""
        core = self._core
        if reset:
            self._send(self._hint(next_index), success=False, reset=True)
        elif success:
            covered = next_index - 1
            if covered <= self._durable():
                self._send(next_index, success=True, reset=False)
                return
            self._waiting_for = max(self._waiting_for, covered)
            if self._is_heartbeat:
                self._send(self._durable() + 1, success=True, reset=False)
        else:
            assert core.log.failed is not None, "the engine answers with success or a position"

    def installed(self, index: int) -> None:
        """The log was replaced, durably, by what comes after ``index``: go on there."""
        self._waiting_for = 0
        self._send(index + 1, success=True, reset=True)

    def flushed(self) -> None:
        """More is durable: send what waited for it."""
        if not self._waiting_for:
            return
        core = self._core
        if core.engine.term != self._waiting_term or core.engine.is_leader:
            self._waiting_for = 0
            return
        durable = self._durable()
        self._send(min(self._waiting_for, durable) + 1, success=True, reset=False)
        if durable >= self._waiting_for:
            self._waiting_for = 0

    def stay_awake(self, leader: str) -> None:
        """Tell a leader that goes to sleep that this replica does not. It says nothing of what is here."""
        response = AppendEntriesResponse(
            term=self._core.engine.term,
            next_index=self._durable() + 1,
            success=False,
            reset=False,
            round=0,
            attempt=0,
            trusted=self.trusted,
        )
        self._core.emit(leader, response)

    def _durable(self) -> int:
        log = self._core.log
        return log.durable_index if self._core.has(Safeguard.C4) else log.last_index

    def _hint(self, next_index: int) -> int:
        """Where the leader is to continue: committed entries are the leader's too, so never before them.

        The engine alone answers a mismatch with one step back, and an append that is ahead with its log's
        end; with several in flight these alternate without end (C2).
        """
        core = self._core
        if not core.has(Safeguard.C2):
            return next_index
        commit = core.engine.commit_index
        hint = next_index
        if next_index <= core.log.last_index:
            # A mismatch: skip the whole term that differs, not one entry of it.
            differs = core.log.term_at(next_index)
            while hint > commit + 1 and core.log.term_at(hint - 1) == differs:
                hint -= 1
        return max(hint, commit + 1, core.log.base_index)

    def _send(self, next_index: int, *, success: bool, reset: bool) -> None:
        if self._leader is None:
            return
        response = AppendEntriesResponse(
            term=self._core.engine.term,
            next_index=next_index,
            success=success,
            reset=reset,
            round=self._round,
            attempt=self._attempt,
            trusted=self.trusted,
        )
        self._core.emit(self._leader, response)
