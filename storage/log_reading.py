"""The reading half of ``Log``: bounds, frames by index, bytes by offset, offsets by time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from floodmark.format.frame import Frame, FrameKind

from storage.errors import LogClosed, OutOfRange, StorageError
from storage.failures import failure_of
from storage.reader import Reader, Slice
from storage.scan import max_timestamp_in
from storage.segments import Segments
from storage.tail import Tail

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LogReading:
    """What ``Log`` answers from its memory and its files; ``Log`` fills the attributes."""

    failed: StorageError | None
    """After this nothing is accepted but ``close``."""
    base_index: int
    """Index of the first frame that this log may hold."""
    base_term: int
    """The term of the entry just before ``base_index``."""
    start_offset: int
    """The first offset held, or the next one in an empty log."""
    last_index: int
    last_term: int
    next_offset: int
    written_index: int
    """The last frame handed to the operating system."""
    durable_index: int
    """The last frame known fsynced."""

    _path: str
    _closed: bool
    _segments: Segments
    _lock: threading.RLock
    _reader: Reader
    _tail: Tail
    _written_next_offset: int

    def _note_base(self) -> None:
        """These are asked for many times in every commit, and change only with the first segment."""
        first = self._segments.first.header
        self.base_index, self.base_term = first.base_index, first.base_term
        self.start_offset = first.base_offset

    @property
    def size_bytes(self) -> int:
        """Bytes in segment files: what they take up, whatever compaction removed from them."""
        with self._lock:
            return self._segments.size_bytes

    @property
    def end_position(self) -> int:
        """Log position behind the last written frame: it only grows, but for what is cut."""
        return self._segments.active.end_position

    def frame(self, index: int) -> Frame:
        """The frame that holds an entry, from memory or verified from disk: a gap may begin before it. Raises
        ``OutOfRange`` or ``LogCorrupt``.
        """
        self._check_holds(index, index)
        frame = self._tail.get(index) or self._tail.gap_over(index)
        return frame if frame is not None else self._guarded("reading", self._one, index)

    def term_at(self, index: int) -> int:
        """The term of an entry, base_index - 1 to last_index."""
        if index == self.base_index - 1:
            return self.base_term
        self._check_holds(index, index)
        if index == self.last_index:
            # Heartbeats name it: with a thousand groups those would be the most of what is read from disks.
            return self.last_term
        frame = self._tail.get(index) or self._tail.gap_over(index)
        if frame is not None:
            return frame.term
        return self._guarded("reading", lambda: self._reader.header(index)[2].term)

    def frames(self, first: int, last: int) -> Iterator[Frame]:
        """The frames that hold entries first to last, read as they are asked for: bounded memory.

        The first may be a gap that begins before, the last one that ends behind.
        """
        if first > last:
            return
        self._check_holds(first, last)
        while first <= last:
            frame = self._tail.get(first) or self._tail.gap_over(first)
            if frame is not None:
                yield frame
                first = frame.last_index + 1
                continue
            # Whatever is not in memory was written before it was let go of: the disk has it.
            upto = max(first, min(last, self._tail.first - 1))
            advance = self._reader.frames(first, upto).__next__
            while first <= upto:
                frame = self._guarded("reading", advance)
                yield frame
                first = frame.last_index + 1

    def stored(self, first: int, last: int) -> Iterator[Frame]:
        """Like ``frames``, of written ones, and read from the disk though they may be in memory too."""
        if first > last:
            return
        self._check_holds(first, min(last, self.last_index))
        last = min(last, self.written_index)
        advance = self._reader.frames(first, last).__next__
        while first <= last:
            frame = self._guarded("reading", advance)
            yield frame
            first = frame.last_index + 1

    def forget_cached(self, index: int, length: int) -> None:
        """Have the next reading of about so many bytes from a written frame on ask the disk itself."""
        if self.base_index <= index <= self.written_index:
            self._guarded("reading", self._reader.forget_cached, index, length)

    def read(self, offset: int, *, end_offset: int, max_bytes: int) -> Slice:
        """Whole written frames as bytes, from the one that holds ``offset`` on, below ``end_offset``.

        At most ``max_bytes``, but at least one frame; empty when there is none yet. The first frame is one
        that takes up offsets: with records, or a gap. Headers are verified, payloads are not: their checksum
        is for the consumer. Raises ``OutOfRange`` outside of start_offset .. next_offset.
        """
        self._check_open()
        if not self.start_offset <= offset <= self.next_offset:
            raise OutOfRange(f"offset {offset}: this log holds {self.start_offset} to {self.next_offset}")
        end_offset = min(end_offset, self._written_next_offset)
        if offset >= end_offset:
            return Slice(b"", offset)
        return self._guarded(
            "reading", lambda: self._reader.read(offset, end_offset=end_offset, max_bytes=max_bytes)
        )

    def index_at_offset(self, offset: int) -> int:
        """The index of the frame that holds an offset: with records, or a gap. Raises ``OutOfRange``."""
        self._check_open()
        if not self.start_offset <= offset < self.next_offset:
            raise OutOfRange(f"offset {offset}: this log holds {self.start_offset} to {self.next_offset}")
        with self._lock:
            frame = self._tail.holding_offset(offset)
        if frame is not None:
            return frame.index
        return self._guarded("reading", lambda: self._reader.header_at_offset(offset).index)

    def offset_at_time(self, timestamp_ms: int) -> int:
        """First offset of the first batch that reaches a timestamp; ``next_offset`` when none does."""
        self._check_open()
        found = self._guarded("reading", lambda: self._reader.offset_at_time(timestamp_ms))
        if found is not None:
            return found
        for index in range(self.written_index + 1, self.last_index + 1):
            frame = self._tail.get(index)  # None within a gap, which has no time either.
            if frame is None or frame.kind is not FrameKind.RECORDS:
                continue
            if max_timestamp_in(frame.payload, 0, frame) >= timestamp_ms:
                return frame.first_offset
        return self.next_offset

    def _one(self, index: int) -> Frame:
        return next(self._reader.frames(index, index))

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed(f"the log in {self._path} is closed")
        if self.failed is not None:
            raise LogClosed(f"the log in {self._path} failed: {self.failed}")

    def _check_holds(self, first: int, last: int) -> None:
        if self._closed or self.failed is not None:
            self._check_open()
        if not self.base_index <= first <= last <= self.last_index:
            wanted = f"frame {first}" if first == last else f"frames {first} to {last}"
            raise OutOfRange(f"{wanted}: this log holds {self.base_index} to {self.last_index}")

    def _guarded(self, doing: str, action: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run something that uses the disk; an error of the operating system closes the log for good."""
        try:
            return action(*args, **kwargs)
        except OSError as error:
            self.failed = failure_of(error, f"{doing} the log in {self._path}")
            raise self.failed from error
