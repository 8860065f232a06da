"""The segments of one log: their order, their open files and their sparse indexes, all bounded."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress

from floodmark.format.frame import FrameHeader

from storage.atomic_file import read_file, replace_file
from storage.errors import LogCorrupt
from storage.filesystem import File, FileSystem
from storage.holes import resume
from storage.options import LogOptions
from storage.scan import is_zero, walk_headers
from storage.segment_header import SegmentHeader, file_name
from storage.sparse_index import SparseIndex


class Segment:
    """One segment file. ``size`` counts the bytes of its header and of whole, written frames.

    The last segment of a log is the active one; it alone has a resident ``index``, and its ``file`` is kept
    open once it was used.
    """

    __slots__ = ("base_index", "file", "header", "index", "latest", "path", "size", "swaps")

    def __init__(self, header: SegmentHeader, path: str, size: int, index: SparseIndex | None = None) -> None:
        self.header = header
        self.base_index = header.base_index
        """Raft index of the first frame."""
        self.path = path
        self.size = size
        self.index = index
        self.file: File | None = None
        self.latest: tuple[int, int] | None = None
        """Greatest (record timestamp, append time) of a sealed segment, once its index was loaded."""
        self.swaps = 0
        """How often another file took its place: what was found before in it may stand elsewhere now."""

    @property
    def index_path(self) -> str:
        """The sparse index beside it."""
        return self.path.removesuffix(".log") + ".idx"

    @property
    def end_position(self) -> int:
        """Log position behind the last frame."""
        return self.header.base_position + (self.header.logical_bytes or self.size)

    def log_position(self, position: int) -> int:
        """Of what stands at a position of the file. In a compacted segment it only says: within."""
        if position == self.size:
            return self.end_position
        return min(self.header.base_position + position, self.end_position)


class Segments:
    """The segments in order. ``lock`` guards the list, the caches and the active index, never held over I/O
    that is not a read.
    """

    def __init__(self, fs: FileSystem, folder: str, options: LogOptions) -> None:
        self.fs = fs
        self.folder = folder
        self.options = options
        self.lock = threading.RLock()
        self.all: list[Segment] = []
        self.damage: LogCorrupt | None = None
        """The first bad frame that an index had to pass over."""
        self.sealed_bytes = 0
        """Of the files of all segments but the active one."""
        self._files: OrderedDict[str, File] = OrderedDict()
        self._indexes: OrderedDict[str, SparseIndex] = OrderedDict()

    @property
    def first(self) -> Segment:
        """The oldest segment."""
        return self.all[0]

    @property
    def active(self) -> Segment:
        """The segment that is written to."""
        return self.all[-1]

    @property
    def size_bytes(self) -> int:
        """Of all files: what the log takes up, whatever was removed from it."""
        return self.sealed_bytes + self.all[-1].size

    def count(self) -> None:
        """Count the bytes of sealed segments again: there are others now, or other files."""
        with self.lock:
            self.sealed_bytes = sum(segment.size for segment in self.all[:-1])

    def path_of(self, base_index: int) -> str:
        """The path of a segment file."""
        return f"{self.folder}/{file_name(base_index)}"

    def holding_index(self, index: int) -> Segment:
        """The segment that holds, or would hold, a frame."""
        with self.lock:
            return self.all[max(0, bisect_right(self.all, index, key=lambda s: s.header.base_index) - 1)]

    def holding_offset(self, offset: int) -> Segment:
        """The segment that holds, or would hold, the frame with a record."""
        with self.lock:
            return self.all[max(0, bisect_right(self.all, offset, key=lambda s: s.header.base_offset) - 1)]

    def file(self, segment: Segment) -> File:
        """The open file of a segment. Files that fall out of the cache close once they are not in use."""
        file = segment.file
        if file is not None:
            return file
        with self.lock:
            file = self._files.pop(segment.path, None)
            if file is None:
                file = self.fs.open(segment.path)
            if segment.index is not None:
                segment.file = file
                return file
            self._files[segment.path] = file
            while len(self._files) > self.options.open_files_max:
                self._files.popitem(last=False)
            return file

    def view(self, segment: Segment) -> tuple[File, int]:
        """The file of a segment and its size, of one moment: another file may take its place meanwhile."""
        if segment.index is not None:
            return self.file(segment), segment.size
        with self.lock:
            return self.file(segment), segment.size

    def swap(self, segment: Segment, header: SegmentHeader, size: int) -> None:
        """Another file has taken the place of a sealed segment's."""
        with self.lock:
            self.forget(segment)
            segment.header, segment.size, segment.latest = header, size, None
            segment.swaps += 1
            self.count()

    def index(self, segment: Segment) -> SparseIndex:
        """The sparse index of a segment, loaded or rebuilt when it is not in memory."""
        with self.lock:
            index = segment.index or self._indexes.get(segment.path)
            if index is not None:
                return index
            swaps = segment.swaps
        # Without the lock, for this may read a whole segment; two threads at once do no harm.
        index = self._load_index(segment) or self._rebuild_index(segment)
        self._keep_index(segment, index, swaps)
        return index

    def _keep_index(self, segment: Segment, index: SparseIndex, swaps: int) -> None:
        with self.lock:
            if segment.swaps != swaps:
                return
            segment.latest = (index.max_timestamp, index.max_append_time)
            self._indexes[segment.path] = index
            while len(self._indexes) > self.options.loaded_indexes_max:
                self._indexes.popitem(last=False)

    def latest(self, segment: Segment) -> tuple[int, int]:
        """Greatest (record timestamp, append time) in a segment; its index is read once at most."""
        if segment.index is None and segment.latest is not None:
            return segment.latest
        index = self.index(segment)
        return index.max_timestamp, index.max_append_time

    def first_seen(self, segment: Segment, now_ms: int) -> int:
        """Since when a segment is known to hold a time in the future: ``now_ms`` when that was not noted.

        Beside a sealed segment the note outlives the process; an index that is rebuilt begins it again.
        """
        index = self.index(segment)
        if not 0 < index.first_seen <= now_ms:
            index.first_seen = now_ms
            if segment.index is None:
                self.save_index(segment, index)
        return index.first_seen

    def seal(self, segment: Segment) -> None:
        """Nothing is written to the active segment any more; another one takes its place."""
        with self.lock:
            assert segment.index is not None, "the active segment's index is in memory"
            segment.latest = (segment.index.max_timestamp, segment.index.max_append_time)
            segment.index = segment.file = None

    def forget(self, segment: Segment) -> None:
        """Drop what is cached of a segment that is removed."""
        with self.lock:
            self._indexes.pop(segment.path, None)
            self._files.pop(segment.path, None)

    def save_index(self, segment: Segment, index: SparseIndex) -> None:
        """Store an index. Not synced, and no failure of it matters: it can be rebuilt."""
        with self.lock:
            content = index.encode()
        name = segment.index_path.rpartition("/")[2]
        with suppress(OSError):
            replace_file(self.fs, self.folder, name, content, durable=False)

    def remove_index(self, segment: Segment) -> None:
        """Remove the stored index; fine when there is none."""
        if self.fs.exists(segment.index_path):
            self.fs.unlink(segment.index_path)

    def load_active_index(self, segment: Segment, upto: int, next_index: int) -> SparseIndex:
        """The index of the last segment for its first ``upto`` bytes, of which it alone may lack some.

        That frames stand there up to ``upto``, where ``next_index`` is to follow, is seen in the segment: its
        size, with zeros ahead, does not tell. Raises ``LogCorrupt``.
        """
        index = self._decode_index(segment, upto)
        if index is not None:
            index.cut(upto)
            try:
                self._take_in(segment, index, upto, next_index)
            except LogCorrupt:
                index = None  # Perhaps only the index is wrong: the segment itself decides.
        if index is None:
            index = self._new_index(segment)
            self._take_in(segment, index, upto, next_index)
        return index

    def cut_index(self, segment: Segment, index: SparseIndex, size: int) -> None:
        """Make a segment the active one, with an index that ends at ``size``, where a frame begins."""
        index.cut(size)
        self._take_in(segment, index, size)
        self._indexes.pop(segment.path, None)
        segment.index, segment.latest = index, None

    def rebuild_index(self, segment: Segment) -> None:
        """Replace the index of a sealed segment. Raises ``LogCorrupt`` when the segment itself is bad."""
        swaps = segment.swaps
        self._keep_index(segment, self._rebuild_index(segment), swaps)

    def close(self) -> None:
        """Close all files."""
        with self.lock:
            for segment in self.all:
                if segment.file is not None:
                    segment.file.close()
                    segment.file = None
            for file in self._files.values():
                file.close()
            self._files.clear()
            self._indexes.clear()

    def headers(
        self, segment: Segment, position: int, *, chunk_bytes: int
    ) -> Iterator[tuple[int, FrameHeader, int]]:
        """Walk the written frames of a segment from a position in its file; see ``walk_headers``."""
        file, size = self.view(segment)
        return walk_headers(file, position, size, chunk_bytes=chunk_bytes)

    def corrupt(self, segment: Segment, position: int, index: int, detail: str) -> LogCorrupt:
        """The error for a written frame that cannot be read back."""
        known = self.active.index.last_index if self.active.index is not None else index
        return LogCorrupt(
            detail, path=segment.path, position=position, first_bad_index=index, last_known_index=known
        )

    def _new_index(self, segment: Segment) -> SparseIndex:
        return SparseIndex(segment.base_index, self.options.index_interval_bytes)

    def _decode_index(self, segment: Segment, size: int) -> SparseIndex | None:
        try:
            data = read_file(self.fs, segment.index_path)
        except OSError:
            return None  # As good as missing.
        if data is None:
            return None
        return SparseIndex.decode(
            data,
            base_index=segment.base_index,
            size=size,
            interval_bytes=self.options.index_interval_bytes,
        )

    def _load_index(self, segment: Segment) -> SparseIndex | None:
        size = segment.size
        index = self._decode_index(segment, size)
        return index if index is not None and index.covered == size else None

    def _rebuild_index(self, segment: Segment) -> SparseIndex:
        index, swaps = self._new_index(segment), segment.swaps
        file, size = self.view(segment)
        self._take_in(segment, index, size, self._following(segment), file=file)
        if segment.swaps == swaps:
            self.save_index(segment, index)
        return index

    def _following(self, segment: Segment) -> int | None:
        """The index of the first frame behind a sealed segment."""
        with self.lock:
            later = [each.base_index for each in self.all if each.base_index > segment.base_index]
        return min(later, default=None)

    def _take_in(
        self,
        segment: Segment,
        index: SparseIndex,
        upto: int,
        next_index: int | None = None,
        *,
        file: File | None = None,
    ) -> None:
        """Extend an index to the first ``upto`` bytes, by walking over the headers it lacks.

        Frames whose headers are bad are passed over where what stands behind them tells where they end.
        """
        file = file or self.file(segment)
        offset = term = 0
        while True:
            for _position, header, max_timestamp in walk_headers(file, index.covered, upto):
                if header.index != index.last_index + 1:
                    break
                index.add(
                    header.index,
                    header.first_offset,
                    header.size,
                    max_timestamp,
                    header.append_time,
                    header.last_index,
                )
                offset, term = header.next_offset, header.term
            if index.covered == upto:
                return
            bad, position = index.last_index + 1, index.covered
            error = self.corrupt(segment, position, bad, "no valid frame header")
            found = resume(
                file, position, bad, offset, term, upto, next_index, gaps=segment.header.may_hold_gaps
            )
            if found is not None:
                index.skip(found[1].index - 1, found[0])
            elif next_index is not None and next_index > bad and not is_zero(file, position, upto):
                # Zeros are no damage to frames: these were never there, as in an old copy of the file.
                index.skip(next_index - 1, upto)
            else:
                raise error
            self.damage = self.damage or error
