"""The engine's journal, as it wants to see it, over the replica's log: one write per record.

Index 1 is a virtual entry that every log has before its first frame. The engine deletes everything behind an
append's predecessor, also what matches (C1): here a deletion happens only where an entry with another term
comes in, and never at or below the commit index.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from floodmark.format.frame import Frame, FrameKind, crc_of, part_of_gap
from floodmark.format.frame_records import IMPLIED, PayloadForm

from consensus.core.safeguards import Safeguard
from consensus.types import LogDiverged, Proposal
from storage.log import Log
from storage.vote import VoteFile

NO_OP: Final = b"\x01"
"""What the engine appends when it begins to lead."""

Term = tuple[None, int, int]
"""An entry as far as the engine looks at it: (nothing, index, term)."""


class ProposedEntry:
    """What a leader is to append, and the proposal that learns what became of it."""

    __slots__ = ("append_time", "form", "kind", "payload", "proposal", "record_count")

    def __init__(
        self,
        kind: FrameKind,
        payload: bytes,
        append_time: int,
        record_count: int,
        proposal: Proposal,
        form: PayloadForm = IMPLIED,
    ) -> None:
        self.kind = kind
        self.payload = payload
        self.append_time = append_time
        self.record_count = record_count
        self.proposal = proposal
        self.form = form


class Journal:
    """Entries, commit index, term and vote of one replica, for its engine."""

    def __init__(
        self,
        log: Log,
        vote: VoteFile,
        safeguards: frozenset[Safeguard],
        *,
        commit_index: int,
        on_append: Callable[[Frame], None],
        on_truncate: Callable[[int], None],
    ) -> None:
        self.log = log
        self._vote = vote
        self._term, self._voted_for = vote.term, vote.voted_for
        self.vote_is_unsaved = False
        """Term or vote changed and are not on disk: nothing may leave this replica, or be written (C4)."""
        self._safeguards = safeguards
        self._counts_durable = Safeguard.C4 in safeguards
        self._commit_index = commit_index
        self._on_append = on_append
        self._on_truncate = on_truncate
        self._last_append_time = 0

    # Entries.

    def __len__(self) -> int:
        return self.log.last_index - self.log.base_index + 2

    def __getitem__(self, position: int) -> tuple[bytes, int, int]:
        """The first and the last entry are all that the engine asks for by position."""
        assert position in (0, -1), "the engine looks at the ends of its journal only"
        if position == 0:
            return NO_OP, self.log.base_index - 1, self.log.base_term
        return NO_OP, self.log.last_index, self.log.last_term

    @property
    def countable_index(self) -> int:
        """How far this replica counts itself as having the log: as far as its own disk says (C4)."""
        if self._counts_durable:
            return min(self.log.durable_index, self.log.last_index)
        return self.log.last_index

    def terms_from(self, first: int | None, *, counting: bool) -> list[Term]:
        """The entry at ``first``, when the log holds it (the virtual one before its base included)."""
        log = self.log
        if first is None or not log.base_index - 1 <= first <= log.last_index:
            return []
        if counting:
            return [(None, first, log.term_at(first))] if first <= self.countable_index else []
        found: list[Term] = [(None, first, log.term_at(first))]
        if Safeguard.C1 not in self._safeguards and first < log.last_index:
            # With something behind the entry, the engine deletes it.
            found.append((None, first + 1, log.term_at(first + 1)))
        return found

    def propose(self, entry: ProposedEntry, term: int) -> None:
        """Append an entry of this leader: its proposal learns where it is."""
        frame = self._framed(entry, term)
        proposal = entry.proposal
        proposal.index, proposal.term, proposal.first_offset = frame.index, term, frame.first_offset
        self._append(frame, frame.index, term)

    def add(self, command: Frame | bytes, index: int, term: int) -> None:
        """What the engine appends by itself: a frame from the leader, or the no-op of this leader.

        ``index`` is the last one that it stands for.
        """
        if isinstance(command, Frame):
            news = self._news(command) if command.kind is FrameKind.GAP else command
            if news is None or (news is command and not self._is_news(command.index, term)):
                return
            frame = news
        else:
            assert command == NO_OP, "the engine appends nothing else by itself"
            no_op = ProposedEntry(FrameKind.NOOP, b"", self._last_append_time, 0, Proposal())
            frame = self._framed(no_op, term)
        self._append(frame, index, term)

    def _append(self, frame: Frame, index: int, term: int) -> None:
        assert index == frame.last_index, "an entry is appended under its own index"
        assert frame.index == self.log.last_index + 1, "entries are appended without a hole between them"
        assert frame.term == term >= self.log.last_term, "terms rise along the log"
        assert frame.first_offset == self.log.next_offset, "offsets go on where they ended"
        self._last_append_time = frame.append_time
        self.log.append(frame)
        if frame.kind is FrameKind.MEMBERSHIP:
            self._on_append(frame)

    def _framed(self, entry: ProposedEntry, term: int) -> Frame:
        return Frame(
            self.log.last_index + 1,
            term,
            self.log.next_offset,
            entry.append_time,
            entry.record_count,
            entry.kind,
            entry.payload,
            crc_of(entry.payload),
            *entry.form,
        )

    def _is_news(self, index: int, term: int) -> bool:
        """Whether an entry from the leader is not here yet; what conflicts with it is removed."""
        log = self.log
        if index > log.last_index:
            return True
        if log.term_at(index) == term:
            return False
        if index <= self._commit_index:
            raise LogDiverged(index, log.term_at(index), term)
        self._truncate(index)
        return True

    def _news(self, gap: Frame) -> Frame | None:
        """What a gap from the leader brings that is not here yet: the gap, a part of it, or nothing.

        It may begin before what this log lacks: what is here needs no gap. Its entries are of one term, so
        all that is here of them in that term matches; what is not is removed, as with any other entry.
        """
        log = self.log
        first, last = max(gap.index, log.base_index), min(gap.last_index, log.last_index)
        if first <= last and log.term_at(last) != gap.term:
            here = range(first, last + 1)
            self._is_news(here[bisect_left(here, 1, key=lambda i: int(log.term_at(i) != gap.term))], gap.term)
        index, offset = log.last_index + 1, log.next_offset
        if gap.last_index < index:
            return None
        assert gap.first_offset <= offset <= gap.next_offset, "a gap begins at or before what this log lacks"
        return gap if gap.index == index else part_of_gap(gap, index, gap.last_index, offset, gap.next_offset)

    def _truncate(self, index: int) -> None:
        self.log.truncate(index)
        self._on_truncate(index)

    def deleteEntriesFrom(self, position: int) -> None:  # noqa: N802 # the engine's name for it
        """Only ever called without safeguard C1."""
        self._truncate(self.log.base_index - 1 + position)

    # Commit index, term and vote.

    def setRaftCommitIndex(self, index: int) -> None:  # noqa: N802
        """Noted in memory: after a restart the last checkpoint's is used, and the leader tells the rest."""
        self._commit_index = index

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        """Never beyond the log (C3): else a leader would take new entries for committed ones."""
        if Safeguard.C3 in self._safeguards:
            return max(self.log.base_index - 1, min(self._commit_index, self.log.last_index))
        return self._commit_index

    def setCurrentTerm(self, term: int, voted_for: str | None) -> None:  # noqa: N802
        """Noted in memory; the group stands still until the host has had it saved (C4)."""
        self._term, self._voted_for = term, voted_for
        if Safeguard.C4 in self._safeguards:
            self.vote_is_unsaved = (term, voted_for) != (self._vote.term, self._vote.voted_for)

    def save_vote(self) -> None:
        """Durable on return. May run in a thread while the group stands still."""
        self._vote.save(self._term, self._voted_for, self._vote.recover_until)

    def getCurrentTerm(self) -> int:  # noqa: N802
        """The greatest term that this replica has seen."""
        return self._term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802
        """Whom this replica voted for in that term."""
        return self._voted_for

    def onOneSecondTimer(self) -> None:  # noqa: N802
        """Nothing is due by the second."""

    def _destroy(self) -> None:
        """The log is closed by who opened it."""
