"""Writing to the active segment: many frames with one call, rolling, cutting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from floodmark.format.frame import Frame, FrameKind
from msgspec.structs import replace

from storage.atomic_file import replace_file
from storage.cached_pages import CachedPages
from storage.discovery import create_segment
from storage.filesystem import write_all
from storage.scan import max_timestamp_in
from storage.segment_header import GAPS, HEADER_BYTES, SegmentHeader
from storage.segments import Segment, Segments
from storage.sparse_index import SparseIndex
from storage.zeros_ahead import ZerosAhead


class Writer:
    """Appends frames to segment files. Used by one thread at a time; raises ``OSError``."""

    def __init__(self, segments: Segments, last_term: int, on_written: Callable[[Frame], None]) -> None:
        self._segments = segments
        self._last_term = last_term
        self._on_written = on_written
        options = segments.options
        self._zeros = ZerosAhead(options.zeros_ahead_bytes, options.segment_bytes)
        self._cached = CachedPages(segments.active.size)
        self.synced_position = segments.active.end_position
        """Log position up to which all is known durable; goes into the header of every frame."""

    def write(self, frames: Sequence[Frame]) -> None:
        """Hand frames to the operating system; ``on_written(last)`` is called as they get there."""
        begin, room = 0, self._room()
        for number, frame in enumerate(frames):
            is_gap = frame.kind is FrameKind.GAP
            is_full = frame.size > room and (number > begin or self._segments.active.size > HEADER_BYTES)
            # Where gaps may stand the header says so, before the first one does.
            if is_full or (is_gap and not self._segments.active.header.may_hold_gaps):
                self._flush(frames[begin:number])
                self.roll(frame.index, frame.first_offset, flags=GAPS if is_gap else 0)
                begin, room = number, self._room()
            room -= frame.size
        self._flush(frames[begin:])

    def sync(self, *, is_read: bool = True) -> None:
        """Make all that was written durable; where it will not be read, it does not stay cached."""
        active = self._segments.active
        file = self._segments.file(active)
        file.sync()
        self.synced_position = active.end_position
        self._cached.synced(file, active.size, are_kept=is_read)

    def close(self) -> None:
        """Let the active segment end behind its last frame; nothing becomes durable by it."""
        active = self._segments.active
        self._zeros.cut(self._segments.file(active), active.size)

    def cut(self, segment: Segment, size: int, last_term: int) -> None:
        """Make the log end within ``segment``; durable on return. A crash leaves it longer, but valid."""
        segments, fs = self._segments, self._segments.fs
        while segments.active is not segment:
            # From the newest on, and the filesystem keeps the order: no crash may leave a gap.
            gone = segments.active
            segments.remove_index(gone)
            fs.unlink(gone.path)
            with segments.lock:
                segments.all.pop()
                segments.forget(gone)
                segments.count()
        index = segments.index(segment)
        # The stored index must not outlive what it describes: other frames will take their place.
        segments.remove_index(segment)
        fs.sync_folder(segments.folder)
        file = segments.file(segment)
        self._zeros.forget()
        self._cached.begin(size)
        file.truncate(size)
        file.sync()
        with segments.lock:
            segments.cut_index(segment, index, size)
            segment.size = size
        self._last_term = last_term
        self.synced_position = segment.end_position

    def _room(self) -> int:
        return self._segments.options.segment_bytes - self._segments.active.size

    def _flush(self, frames: Sequence[Frame]) -> None:
        if not frames:
            return
        active = self._segments.active
        buffers: list[bytes] = []
        for frame in frames:
            buffers.append(frame.pack_header(self.synced_position))
            if frame.payload:
                buffers.append(frame.payload)
        file = self._segments.file(active)
        end = write_all(file, buffers, active.size)
        self._zeros.wrote(file, active.size, end)
        index = active.index
        assert index is not None
        with self._segments.lock:
            for frame in frames:
                latest = max_timestamp_in(frame.payload, 0, frame)
                last_index = frame.last_index if frame.kind is FrameKind.GAP else None
                index.add(frame.index, frame.first_offset, frame.size, latest, frame.append_time, last_index)
            active.size = end
            self._last_term = frame.term
            self._on_written(frame)

    def roll(self, next_index: int, next_offset: int, *, flags: int = 0) -> None:
        """Seal the active segment, durably, and begin one whose first frame and record these are to be."""
        segments = self._segments
        sealed = segments.active
        assert sealed.index is not None
        if sealed.size == HEADER_BYTES:
            self._begin_anew(sealed, flags)
            return
        self._zeros.cut(segments.file(sealed), sealed.size)
        self.sync()
        segments.save_index(sealed, sealed.index)
        header = SegmentHeader(next_index, self._last_term, next_offset, sealed.end_position, flags=flags)
        path = create_segment(segments.fs, segments.folder, header)
        index = SparseIndex(next_index, segments.options.index_interval_bytes)
        with segments.lock:
            segments.seal(sealed)
            segments.all.append(Segment(header, path, HEADER_BYTES, index))
            segments.count()
        self._cached.begin(HEADER_BYTES)
        self.synced_position = segments.active.end_position

    def _begin_anew(self, empty: Segment, flags: int) -> None:
        """Give the active segment, which is empty, another header: at any moment one of both is there."""
        segments = self._segments
        header = replace(empty.header, flags=flags)
        name = empty.path.rpartition("/")[2]
        replace_file(segments.fs, segments.folder, name, header.encode(), durable=True)
        with segments.lock:
            if empty.file is not None:
                empty.file.close()
            segments.forget(empty)
            empty.file, empty.header = None, header
        self._zeros.forget()
