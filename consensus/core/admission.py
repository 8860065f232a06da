"""The one place where messages of other replicas are checked, before the engine believes them.

Requests are taken from any node of the cluster, for a replica that lags may not know the newest members yet;
answers count only from members. Whatever fails a check is dropped: messages may always get lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from floodmark.format.frame import Frame, FrameKind

from consensus.core.safeguards import Safeguard
from consensus.messages import (
    AppendEntries,
    AppendEntriesResponse,
    InstallSnapshot,
    Message,
    RequestVoteResponse,
    StaleTerm,
)
from consensus.throttle import ThrottledLog

if TYPE_CHECKING:
    from consensus.core.core import Core


TERM_RISE_MAX: Final = 1 << 20
"""By how much a message may raise the term. A replica that was away while others elected more often than this
(that is some a second, for days) has to be repaired (docs/OPERATIONS.md)."""


class Admitted(NamedTuple):
    """An ``AppendEntries`` that the engine may believe."""

    commit: int
    """What of this replica's log is committed once the entries are in it."""
    entries: list[tuple[Frame, int, int]]
    """(frame, last index, term) of each."""


class Admission:
    """Checks that need memory, and those that need none."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._log = ThrottledLog("consensus.core.admission")
        self._votes: set[str] = set()
        self._votes_term = -1

    def term(self, source: str, message: Message) -> bool:
        """Whether a message may be taken in: it would not move the term further than elections do."""
        found = message.claimed_term
        term = self._core.engine.term
        if found - term <= TERM_RISE_MAX:
            return True
        self._core.terms_refused += 1
        self._log.error("term_refused", peer=source, term=found, own_term=term, rise_max=TERM_RISE_MAX)
        return False

    def append(self, source: str, message: AppendEntries) -> Admitted | None:
        """What the engine gets, or None. An older term is answered: its leader is deposed and has to know."""
        if not self._is_of_leader(source, message.term) or (sound := _sound(message)) is None:
            return None
        last_index, proved, entries = sound
        commit = message.commit
        if self._core.has(Safeguard.C1B):
            # Beyond what this append vouches for, the log may hold another leader's entries.
            commit = min(commit, last_index)
        # A leader that has just begun may not know yet what else its gaps prove.
        return Admitted(max(commit, proved), entries)

    def install(self, source: str, message: InstallSnapshot) -> bool:
        """Whether it is of a leader and names members that can be."""
        return (
            self._is_of_leader(source, message.term)
            and bool(message.voters)
            and set(message.voters).isdisjoint(message.learners)
        )

    def ack(self, source: str, message: AppendEntriesResponse) -> bool:
        """Whether an acknowledgement answers this leadership (H1)."""
        core = self._core
        if not core.engine.is_leader or source not in core.members.others or message.next_index < 1:
            return False
        if not core.has(Safeguard.H1):
            return True
        return message.term == core.engine.term and message.next_index <= core.log.last_index + 1

    def vote(self, source: str, message: RequestVoteResponse) -> bool:
        """Whether a vote counts: one for each voter and term (H2)."""
        core = self._core
        if message.term != core.engine.term or source not in core.members.other_voters:
            return False
        if message.term != self._votes_term:
            self._votes_term = message.term
            self._votes.clear()
        if source in self._votes and core.has(Safeguard.H2):
            return False
        self._votes.add(source)
        return True

    def _is_of_leader(self, source: str, leaders_term: int) -> bool:
        core = self._core
        term = core.engine.term
        if leaders_term < term:
            core.emit(source, StaleTerm(term))
            return False
        return True


def _sound(message: AppendEntries) -> tuple[int, int, list[tuple[Frame, int, int]]] | None:
    """None unless entries follow each other, from the predecessor on, in terms up to the leader's.

    The first may be a gap that stands for the predecessor too: a leader sends it whole. Returns the last
    index that the message vouches for; up to which index all is committed if its gaps are in the log, since
    only such entries are ever removed; and the entries for the engine: (frame, last index, term).
    """
    index, term, leaders_term = message.prev_index, message.prev_term, message.term
    if index < 1 or term > leaders_term:
        return None
    offset: int | None = None
    proved, entries = 0, []
    for frame in message.frames:
        is_gap = frame.kind is FrameKind.GAP
        last = frame.last_index if is_gap else frame.index
        if is_gap and offset is None and frame.index <= index < last:
            if frame.term != term:
                return None
        elif frame.index != index + 1 or not term <= frame.term <= leaders_term:
            return None
        if offset is not None and frame.first_offset != offset:
            return None
        if is_gap:
            proved = last
        index, term, offset = last, frame.term, frame.next_offset
        entries.append((frame, index, term))
    return index, proved, entries
