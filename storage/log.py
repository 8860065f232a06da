"""The log of one replica: its door to the layers above. docs/FORMAT.md tells how its bytes lie.

Raft index 1 is a virtual no-op of term 0 that every replica has and none stores: the first frame has
index 2. ``base_index`` is the index of the first frame that a log may hold, ``base_term`` the term of the
entry just before it: (2, 0) in a new log. An empty log has ``last_index == base_index - 1``. Offsets held are
``start_offset <= offset < next_offset``.

Frames that are only buffered can be read by index, from memory; ``read`` returns written frames alone. What
holds an index or an offset may be a gap that begins before it and ends behind what was asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from floodmark.format.frame import Frame

from storage import checkpoint as checkpoints
from storage import retention
from storage.checkpoint import Checkpoint
from storage.discovery import finish_reset, is_without_state
from storage.errors import OutOfRange
from storage.failures import failure_of
from storage.filesystem import FileSystem
from storage.log_compacting import LogCompacting
from storage.options import LogOptions
from storage.quarantine import check, set_aside
from storage.reader import Reader
from storage.recovery import Recovered, recover
from storage.synced_mark import Mark, SyncedMark
from storage.tail import Tail
from storage.writer import Writer


class Log(LogCompacting):
    """Frames by Raft index and records by offset, in segment files.

    ``append`` and ``truncate`` belong to one thread. ``write``, ``sync``, ``checkpoint`` and reads may run
    in others: ``_io`` makes those that change files wait for each other, ``_lock`` guards what is in memory
    and is never held over a write or an fsync, so that ``append`` and reads of recent frames never wait for
    the disk. ``truncate``, ``reset``, ``truncate_head`` and ``checkpoint`` wait for it themselves.

    After a failed write, sync or read (``LogFailed``, ``DiskFull``) every call but ``close`` raises
    ``LogClosed``; ``LogCorrupt`` from a read leaves the log open. Checkpoint only what is committed: a
    ``truncate`` below the checkpoint drops it, and a log whose head was truncated refuses that
    (``OutOfRange``), since it could not be opened without its checkpoint.
    """

    def __init__(self, fs: FileSystem, path: str, options: LogOptions, recovered: Recovered) -> None:
        """Not for use from outside: see ``open``."""
        self._fs = fs
        self._path = path
        self._options = options
        self._io = threading.RLock()
        self.failed = None
        self._closed = False
        self._checkpoint_position = 0
        self.is_read = True
        """Whether what is written will be read soon, as at a leader: else it does not stay cached."""
        self._take_over(recovered)

    def _take_over(self, recovered: Recovered) -> None:
        self._segments = recovered.segments
        self._note_base()
        self._lock = self._segments.lock
        self._reader = Reader(self._segments)
        self._mark = SyncedMark(self._fs, self._path)
        self._writer = Writer(self._segments, recovered.last_term, self._on_written)
        self._tail = Tail(recovered.last_index, self._options.tail_bytes_max)
        self.last_index = self.written_index = self.durable_index = recovered.last_index
        self.last_term = recovered.last_term
        self.next_offset = self._written_next_offset = recovered.next_offset
        checkpoint = recovered.checkpoint
        self._mark.note(Mark(self._writer.synced_position, self.last_index))
        self.checkpoint_state = checkpoint.state if checkpoint else b""
        self.checkpoint_index = checkpoint.index if checkpoint else self.base_index - 1
        """The last frame that ``checkpoint_state`` covers; base_index - 1 when there is no checkpoint."""
        self._stored = checkpoint
        """The last one; None where there is none."""
        first = self._segments.first.header.base_position
        self._checkpoint_position = checkpoint.position if checkpoint else first

    @classmethod
    def open(
        cls,
        fs: FileSystem,
        path: str,
        options: LogOptions,
        *,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> Log:
        """Open the log in a folder, creating it when missing; ``on_frame`` sees each frame after the
        checkpoint. Raises ``LogCorrupt`` or ``LogTooNew`` (every byte stays as it is), or ``LogFailed``.
        """
        try:
            return cls(fs, path, options, recover(fs, path, options, on_frame))
        except OSError as error:
            raise failure_of(error, f"opening the log in {path}") from error

    @classmethod
    def check_repairable(cls, fs: FileSystem, path: str, options: LogOptions, *, keep_before: int) -> None:
        """Before anything is done for a ``repair``: raises ``LogTooNew`` where it would move what only a
        newer build can read, ``LogFailed``.
        """
        try:
            check(fs, path, options, keep_before=keep_before)
        except OSError as error:
            raise failure_of(error, f"repairing the log in {path}") from error

    @classmethod
    def repair(
        cls,
        fs: FileSystem,
        path: str,
        options: LogOptions,
        *,
        keep_before: int,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> Log:
        """After ``LogCorrupt``: move what stands from frame ``keep_before`` on, and anything bad before
        it, into ``quarantine/``, then open. The bytes are kept there, ``quarantine_files_max`` files at most.
        Raises as ``check_repairable`` and ``open`` do.
        """
        try:
            set_aside(fs, path, options, keep_before=keep_before)
        except OSError as error:
            raise failure_of(error, f"repairing the log in {path}") from error
        return cls.open(fs, path, options, on_frame=on_frame)

    def append(self, frame: Frame) -> None:
        """Buffer the next frame. Raises ``LogClosed``."""
        self._check_open()
        assert frame.index == self.last_index + 1, f"{frame.index} behind {self.last_index}"
        assert frame.first_offset == self.next_offset, f"{frame.first_offset} at {self.next_offset}"
        assert frame.term >= self.last_term, f"term {frame.term} behind {self.last_term}"
        with self._lock:
            tail = self._tail
            tail.append(frame)
            self.last_index, self.last_term, self.next_offset = tail.last, frame.term, frame.next_offset

    def write(self) -> int:
        """Hand the buffered frames to the operating system; returns ``written_index``.

        Raises ``LogFailed`` or ``DiskFull``, after which the log only closes.
        """
        with self._io:
            self._check_open()
            if self.written_index < self.last_index:
                with self._lock:
                    frames = self._tail.slice(self.written_index + 1, self.last_index)
                self._guarded("writing", self._writer.write, frames)
            return self.written_index

    def fits_in_segment(self, limit: int) -> bool:
        """Whether ``write`` would hand over at most ``limit`` bytes, all to the active segment: no fsync."""
        with self._lock:
            if self._tail.has_gaps:
                return False  # The first one begins a segment.
            size = self._tail.bytes_from(self.written_index + 1, limit)
        return size <= limit and self._segments.active.size + size <= self._options.segment_bytes

    def sync(self, *, mark: bool = True) -> int:
        """fdatasync all that was written before the call; returns ``durable_index``.

        Raises ``LogFailed`` or ``DiskFull``; a failed fsync is never tried again. Without ``mark``, the
        caller calls ``mark_synced`` soon.
        """
        with self._io:
            self._check_open()
            if self.durable_index < self.written_index:
                self._guarded("syncing", self._writer.sync, is_read=self.is_read)
                self.durable_index = self.written_index
                if mark:
                    self.mark_synced()
            return self.durable_index

    def mark_synced(self) -> None:
        """Note how far the log is durable: one small write to the page cache, not synced."""
        if not self._closed and self.failed is None:
            self._mark.note(Mark(self._writer.synced_position, self.durable_index))

    def truncate(self, from_index: int) -> None:
        """Remove ``from_index`` and all frames after it; durable on return. Waits for a running write.

        Raises ``OutOfRange`` below the first frame, below the checkpoint of a log that was trimmed, and where
        it would cut a gap in two, or a segment that was compacted: what is removed had been committed.
        """
        if from_index < self.base_index:
            raise OutOfRange(f"frame {from_index} is before the first one, {self.base_index}")
        if from_index <= self.checkpoint_index and is_without_state(self.base_index, None):
            raise OutOfRange(
                f"frame {from_index} is covered by the checkpoint, which a trimmed log cannot miss"
            )
        with self._io:
            self._check_open()
            if from_index > self.last_index:
                return
            frame = self.frame(from_index)
            if frame.index != from_index or self._segments.holding_index(from_index).header.is_compacted:
                raise OutOfRange(f"frame {from_index} was compacted: it is committed")
            offset, term = frame.first_offset, self.term_at(from_index - 1)
            if from_index <= self.written_index:
                self._guarded("truncating", self._cut, from_index, term)
            with self._lock:
                self._tail.cut(from_index)
                self.last_index, self.last_term, self.next_offset = from_index - 1, term, offset
                if from_index <= self.written_index:
                    self.written_index = self.durable_index = from_index - 1
                    self._written_next_offset = offset

    def _cut(self, from_index: int, last_term: int) -> None:
        segment, position, _header = self._reader.header(from_index)
        if self.checkpoint_index >= from_index:
            # What it covers is about to go. Its owner should only checkpoint what is committed.
            checkpoints.remove(self._fs, self._path)
            self.checkpoint_state, self.checkpoint_index = b"", self.base_index - 1
            self._stored = None
        # Lowered first: it must never claim what the log does not have; nor what is only written so far.
        end = segment.header.base_position + position
        if self.durable_index < from_index:
            end = min(end, self._writer.synced_position)
        self._mark.lower(Mark(end, min(self.durable_index, from_index - 1)))
        self._writer.cut(segment, position, last_term)
        self._reader.forget_hints()

    def truncate_head(self, *, before_index: int) -> int:
        """Drop whole sealed segments whose frames are all below ``before_index``; returns the new
        ``base_index``. What the checkpoint does not cover yet stays: nothing else tells what it led to.
        """
        with self._io:
            self._check_open()
            covered = min(before_index, self.checkpoint_index + 1)
            with self._lock:
                dropped = retention.take_oldest(self._segments, covered)
                self._note_base()
            self._guarded("trimming", retention.remove, self._segments, dropped)
            return self.base_index

    def expired_before(self, *, now_ms: int, retention_ms: int | None, retention_bytes: int | None) -> int:
        """The index before which retention wants whole segments gone; ``base_index`` when none."""
        self._check_open()
        return retention.expired_before(
            self._segments, now_ms=now_ms, retention_ms=retention_ms, retention_bytes=retention_bytes
        )

    def roll(self, *, now_ms: int, roll_ms: int) -> bool:
        """Begin a new segment when the active one began longer ago than ``roll_ms``, so that retention can
        have it; whether there is a new one. Not while something is not durable: a later call will do.

        Raises ``LogFailed`` or ``DiskFull``.
        """
        with self._io:
            self._check_open()
            if self.durable_index != self.written_index:
                return False
            before = self._segments.active
            self._guarded("rolling", self._roll, now_ms, roll_ms)
            return self._segments.active is not before

    def _roll(self, now_ms: int, roll_ms: int) -> None:
        if retention.is_to_roll(self._segments, now_ms=now_ms, roll_ms=roll_ms):
            self._writer.roll(self.written_index + 1, self._written_next_offset)

    def reset(self, *, index: int, term: int, offset: int, state: bytes) -> None:
        """Drop everything; the log is empty after entry ``index``. Atomic, and durable on return."""
        with self._io:
            self._check_open()
            position = self._segments.active.end_position
            decided = Checkpoint(position, index, term, offset, state, resetting=True)

            def replace() -> None:
                checkpoints.save(self._fs, self._path, decided)
                self._segments.close()
                self._mark.close()
                finish_reset(self._fs, self._path, decided)
                self._take_over(recover(self._fs, self._path, self._options, None))

            self._guarded("resetting", replace)

    def checkpoint(self, state: bytes, *, index: int | None = None) -> None:
        """Durable on return: the next scan starts behind frame ``index``, the last one that ``state``
        covers (``durable_index`` when not given, and never beyond it).
        """
        with self._io:
            self._check_open()
            index = self.durable_index if index is None else index
            if not self.base_index - 1 <= index <= self.durable_index:
                raise OutOfRange(
                    f"a checkpoint at {index}: durable are {self.base_index} to {self.durable_index}"
                )
            saved = self._guarded("saving a checkpoint", self._save, index, state)
            self._checkpoint_position, self.checkpoint_index = saved.position, saved.index
            self._stored = saved
            self.checkpoint_state = state

    def _checkpoint_at(self, index: int, state: bytes) -> Checkpoint:
        if index < self.base_index:
            header = self._segments.first.header
            return Checkpoint(
                header.base_position, header.base_index - 1, header.base_term, header.base_offset, state
            )
        stored = self._stored
        if stored is not None and stored.index == index:
            # Another state at the same place: a start that stores what it found must not need the frame
            # there, which may have gone bad since.
            return Checkpoint(stored.position, index, stored.term, stored.offset, state)
        segment, position, frame = self._reader.header(index)
        end = segment.log_position(position + frame.size)
        return Checkpoint(end, frame.last_index, frame.term, frame.next_offset, state)

    def _save(self, index: int, state: bytes) -> Checkpoint:
        checkpoint = self._checkpoint_at(index, state)
        active = self._segments.active
        assert active.index is not None
        self._segments.save_index(active, active.index)
        checkpoints.save(self._fs, self._path, checkpoint)
        return checkpoint

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of the checkpoint's file; 0 where there is none."""
        return checkpoints.file_bytes(self.checkpoint_state) if self.checkpoint_state else 0

    @property
    def bytes_since_checkpoint(self) -> int:
        """Bytes of the log behind the last frame that the checkpoint covers."""
        return self._segments.active.end_position - self._checkpoint_position

    def verify_checkpoint(self) -> bool:
        """Whether both copies of the stored checkpoint are whole; else it is written again. Raises as
        ``checkpoint`` does."""
        with self._io:
            self._check_open()
            stored = self._guarded("reading the checkpoint", checkpoints.load, self._fs, self._path)
            if stored.is_whole:
                return True
            self._guarded("saving a checkpoint", self._save, self.checkpoint_index, self.checkpoint_state)
            return False

    def _on_written(self, last: Frame) -> None:
        """Called by the writer, with the lock held."""
        self.written_index, self._written_next_offset = last.last_index, last.next_offset
        self._tail.evict(self.written_index)

    def close(self) -> None:
        """Let go of all files. What was not written and synced is not saved by this."""
        with self._io:
            if not self._closed and self.failed is None:
                with suppress(OSError):
                    self._writer.close()
            self._closed = True
            self._segments.close()
            self._mark.close()
