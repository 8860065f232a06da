"""What has been promised: which entry is committed at which index, and what every proposer was told.

The ledger believes nobody. It learns an entry from the first replica that reports it committed and holds
every other replica, every answer and every later report against it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from floodmark.format.frame import Frame, FrameKind

from consensus.types import Stored
from tests.simulation.violation import Violation, require

VIRTUAL_FIRST_INDEX = 1
"""Index 1 is a no-op that every replica has and nobody stores."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A proposal as the workload made it."""

    number: int
    record_count: int


class Ledger:
    """Committed entries and answers of the whole cluster, checked against each other as they come in."""

    def __init__(self) -> None:
        self.committed: dict[int, Frame] = {}
        self.highest = VIRTUAL_FIRST_INDEX
        self.stored: dict[bytes, Stored] = {}
        self.highest_stored = 0
        self.committed_in: dict[int, int] = {}
        """The term of whoever first held an entry as committed."""
        self.lost: list[Frame] = []
        """Entries that were committed, and that a recovery did without."""
        self._asked: dict[bytes, Asked] = {}
        self._where: dict[bytes, int] = {}
        self._not_stored: set[bytes] = set()

    def ask(self, payload: bytes, asked: Asked) -> None:
        """A proposal is about to be made. Payloads are unique, so that every entry has one origin."""
        assert payload not in self._asked, "the workload makes unique payloads"
        self._asked[payload] = asked

    def commit(self, node: str, frame: Frame, *, term: int = 0) -> bool:
        """``node``, in this term, holds ``frame`` as committed; returns whether that is news."""
        known = self.committed.get(frame.index)
        if known is not None:
            require(
                known == frame,
                "committed logs agree",
                lambda: f"{node} committed {brief(frame)} where {brief(known)} stands",
            )
            return False
        require(
            frame.index == self.highest + 1,
            "commits have no gap",
            lambda: f"{node} committed {brief(frame)} after index {self.highest}",
        )
        before = self.committed.get(self.highest)
        offset = before.next_offset if before is not None else 0
        require(
            frame.first_offset == offset,
            "offsets have no gap",
            lambda: f"{node} committed {brief(frame)}, the next offset is {offset}",
        )
        require(
            before is None or frame.term >= before.term,
            "terms rise along the log",
            lambda: f"{brief(frame)} after term {before.term if before else 0}",
        )
        if frame.kind in (FrameKind.RECORDS, FrameKind.COMMAND):
            self._commit_proposal(node, frame)
        self.committed[frame.index] = frame
        self.committed_in[frame.index] = term or frame.term
        self.highest = frame.index
        return True

    def go_on_from(self, index: int, others: Iterable[Frame]) -> None:
        """A recovery goes on from a log that is the committed one up to here, and has ``others`` behind: what
        was committed there is lost, and what was not may be by now.
        """
        for lost in range(index + 1, self.highest + 1):
            frame = self.committed.pop(lost)
            self.lost.append(frame)
            payload = frame.payload
            del self.committed_in[lost]
            self._where.pop(payload, None)
            self.stored.pop(payload, None)
        self.highest = min(self.highest, index)
        self.highest_stored = min(self.highest_stored, index)
        self._not_stored.difference_update(frame.payload for frame in others)

    def gap(self, node: str, frame: Frame, removed: Container[int]) -> None:
        """``node`` holds a gap, of entries that are committed, that were removed somewhere, of one term."""
        for index in range(frame.index, frame.last_index + 1):
            known = self.committed.get(index)
            require(
                known is not None and known.term == frame.term and index in removed,
                "a gap stands for what was removed",
                lambda index=index: f"{node} has {brief(frame)} over entry {index}",  # type: ignore[misc]
            )
        first, last = self.committed[frame.index], self.committed[frame.last_index]
        require(
            (frame.first_offset, frame.next_offset) == (first.first_offset, last.next_offset),
            "a gap takes up the offsets of what it stands for",
            lambda: f"{node} has {brief(frame)} over {brief(first)} to {brief(last)}",
        )

    def _commit_proposal(self, node: str, frame: Frame) -> None:
        asked = self._asked.get(frame.payload)
        require(asked is not None, "only what was proposed", lambda: f"{node} committed {brief(frame)}")
        assert asked is not None
        require(
            asked.record_count == frame.offset_count,
            "record counts are kept",
            lambda: f"#{asked.number} has {asked.record_count} records, not {frame.offset_count}",
        )
        require(
            frame.payload not in self._where,
            "exactly once",
            lambda: f"#{asked.number} is committed at {self._where[frame.payload]} and {frame.index}",
        )
        require(
            frame.payload not in self._not_stored,
            "not stored stays so",
            lambda: f"#{asked.number} was answered NotStored and is committed by {node} at {frame.index}",
        )
        self._where[frame.payload] = frame.index

    def where(self, payload: bytes) -> int | None:
        """The first offset of what is committed of a proposal."""
        index = self._where.get(payload)
        return None if index is None else self.committed[index].first_offset

    def answer_stored(self, payload: bytes, stored: Stored) -> None:
        """A proposer was told where its entry is."""
        number = self._asked[payload].number
        frame = self.committed.get(stored.index)
        if frame is None:
            raise Violation("acknowledged is committed", f"#{number} {stored}: nothing is committed there")
        require(
            frame.payload == payload,
            "acknowledged is committed",
            lambda: f"#{number} {stored} but {brief(frame)} stands there",
        )
        require(
            (frame.term, frame.first_offset) == (stored.term, stored.first_offset),
            "acknowledged as stored",
            lambda: f"#{number} {stored} but {brief(frame)}",
        )
        self.stored[payload] = stored
        self.highest_stored = max(self.highest_stored, stored.index)

    def answer_not_stored(self, payload: bytes) -> None:
        """A proposer was told that its entry is not and never will be in the log."""
        number = self._asked[payload].number
        require(
            payload not in self._where,
            "not stored stays so",
            lambda: f"#{number} is committed at {self._where[payload]} and was answered NotStored",
        )
        self._not_stored.add(payload)

    def answer_read_index(self, node: str, floor: int, index: int) -> None:
        """A read may be served at ``index``; ``floor`` was the highest acknowledged one when it was asked."""
        require(
            index >= floor,
            "reads are not stale",
            lambda: f"{node} answered a read index with {index}; {floor} was acknowledged before it",
        )

    def next_offset_after(self, index: int) -> int:
        """The offset that follows the committed entry ``index``."""
        frame = self.committed.get(index)
        return frame.next_offset if frame is not None else 0


def brief(frame: Frame) -> str:
    """One entry in a few words."""
    to = f" to {frame.last_index}" if frame.last_index > frame.index else ""
    return (
        f"entry {frame.index}{to} term {frame.term} {FrameKind(frame.kind).name.lower()} "
        f"offset {frame.first_offset}+{frame.offset_count} crc {frame.payload_crc:08x}"
    )
