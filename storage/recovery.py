"""Opening a log: scan what is new since the checkpoint, and cut a torn tail or refuse a corrupt log.

A bad frame is one of two things. If it was never made durable, a crash tore it and it is cut. If it was
durable, the disk lost it: ``LogCorrupt``, and every byte stays as it is. Evidence that log position P was
durable: a checkpoint or the synced mark beyond P, a later segment (a segment is synced before the next one
is made), or any valid frame header further on whose ``synced`` is above P.

A frame that this build does not know is neither: ``LogTooNew``, and every byte stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable

from floodmark.format.frame import GAP_BYTES, Frame, decode_header

from storage import checkpoint as checkpoints
from storage import synced_mark
from storage.atomic_file import TEMPORARY_SUFFIX
from storage.checkpoint import Checkpoint
from storage.discovery import create_segment, discover, finish_reset, is_without_state, last_index_seen
from storage.errors import LogCorrupt
from storage.evidence import had_been_durable
from storage.filesystem import FileSystem, write_all
from storage.options import LogOptions
from storage.scan import CHUNK_BYTES, Window, max_timestamp_in, read_frame
from storage.segment_header import HEADER_BYTES, SegmentHeader
from storage.segments import Segment, Segments
from storage.sparse_index import SparseIndex
from storage.synced_mark import Mark
from storage.too_new import refuse_behind

OnFrame = Callable[[Frame], None]


class Recovered:
    """What opening found. All frames up to ``last_index`` are durable."""

    def __init__(self, segments: Segments, checkpoint: Checkpoint | None, claim: Mark) -> None:
        self.segments = segments
        self.checkpoint = checkpoint
        self.claim = claim
        self.last_index = 0
        self.last_term = 0
        self.next_offset = 0
        self.synced = 0 if checkpoint is None else checkpoint.position
        """Log position up to which all is proved to be durable."""

    def continue_from(self, index: int, term: int, offset: int) -> None:
        """The log is known up to entry ``index``; the next record gets ``offset``."""
        self.last_index, self.last_term, self.next_offset = index, term, offset


def recover(fs: FileSystem, folder: str, options: LogOptions, on_frame: OnFrame | None) -> Recovered:
    """Open the log in a folder, which is created when missing.

    Raises ``LogCorrupt``, ``LogTooNew`` or ``OSError``.
    """
    fs.mkdir(folder)
    for name in fs.listdir(folder):
        if name.endswith(TEMPORARY_SUFFIX):
            fs.unlink(f"{folder}/{name}")
    checkpoint, checkpoint_is_whole = checkpoints.load(fs, folder)
    claim = synced_mark.load(fs, folder)
    if checkpoint is not None and checkpoint.resetting:
        checkpoint = finish_reset(fs, folder, checkpoint)
    if checkpoint is not None and checkpoint.position > claim.position:
        claim = Mark(checkpoint.position, checkpoint.index)
    segments = Segments(fs, folder, options)
    try:
        discover(segments, claim)
        _check_that_state_is_known(segments, checkpoint, claim)
        recovered = Recovered(segments, checkpoint, claim)
        _scan(recovered, on_frame)
        _write_back(recovered)
        _begin_behind_compacted(recovered)
        if checkpoint is not None and not checkpoint_is_whole:
            checkpoints.save(fs, folder, checkpoint)
    except BaseException:
        segments.close()
        raise
    return recovered


def _check_that_state_is_known(segments: Segments, checkpoint: Checkpoint | None, claim: Mark) -> None:
    """What the first frames of a trimmed log led to, the members of the group too, stands nowhere else."""
    base_index = segments.first.base_index
    if not is_without_state(base_index, checkpoint):
        return
    raise LogCorrupt(
        "no copy of the checkpoint is valid that says what the frames before the log's first one led to",
        path=f"{segments.folder}/{checkpoints.NAME}",
        position=0,
        first_bad_index=base_index,
        last_known_index=max(claim.last_index, last_index_seen(segments)),
    )


def _scan(recovered: Recovered, on_frame: OnFrame | None) -> None:
    """Read every frame behind the checkpoint; the last segment's index is complete afterwards."""
    segments, checkpoint = recovered.segments, recovered.checkpoint
    start = 0 if checkpoint is None else checkpoint.position
    todo = [s for s in segments.all if s is segments.active or s.end_position > start]
    for number, segment in enumerate(todo):
        header = segment.header
        if checkpoint is not None and header.is_compacted and start > header.base_position:
            # Frames do not stand where they did when the checkpoint was made. No gap begins above it.
            position = _position_behind(recovered, segment, checkpoint.index)
        else:
            position = max(HEADER_BYTES, start - header.base_position)
        if number == 0 and checkpoint is not None and position > HEADER_BYTES:
            recovered.continue_from(checkpoint.index, checkpoint.term, checkpoint.offset)
        elif number == 0:
            recovered.continue_from(header.base_index - 1, header.base_term, header.base_offset)
        elif (recovered.last_index + 1, recovered.last_term, recovered.next_offset) != (
            header.base_index,
            header.base_term,
            header.base_offset,
        ):
            raise _refusal(recovered, segment, 0, "it does not go on where the segment before it ends")
        if segment is segments.active:
            segment.index = _load_active_index(recovered, segment, position)
        _scan_segment(recovered, segment, position, on_frame)


def _position_behind(recovered: Recovered, segment: Segment, index: int) -> int:
    """Where the frames of a compacted segment behind entry ``index`` begin; ``LogCorrupt``."""
    position, expected = HEADER_BYTES, segment.base_index
    for at, header, _latest in recovered.segments.headers(segment, HEADER_BYTES, chunk_bytes=CHUNK_BYTES):
        if header.index != expected or header.index > index:
            break
        position, expected = at + header.size, header.last_index + 1
    if expected <= index and position < segment.size:
        recovered.last_index = expected - 1
        raise _refusal(recovered, segment, position, "no valid frame header, in a compacted segment")
    return position


def _begin_behind_compacted(recovered: Recovered) -> None:
    """A repair may have left a compacted segment as the last one: positions behind it go on at its logical
    end, so what is written next needs a segment of its own.
    """
    segments, last = recovered.segments, recovered.segments.active
    if not last.header.is_compacted:
        return
    header = SegmentHeader(
        recovered.last_index + 1, recovered.last_term, recovered.next_offset, last.end_position
    )
    path = create_segment(segments.fs, segments.folder, header)
    index = SparseIndex(header.base_index, segments.options.index_interval_bytes)
    with segments.lock:
        segments.seal(last)
        segments.all.append(Segment(header, path, HEADER_BYTES, index))
        segments.count()


def _load_active_index(recovered: Recovered, segment: Segment, position: int) -> SparseIndex:
    """The index of what stands before ``position``; what is missing there had been durable."""
    try:
        return recovered.segments.load_active_index(segment, position, recovered.last_index + 1)
    except LogCorrupt as error:
        known = max(recovered.last_index, recovered.claim.last_index, last_index_seen(recovered.segments))
        error.last_known_index = max(error.last_known_index, known)
        raise


def _write_back(recovered: Recovered) -> None:
    """Make durable what nothing proves to be: an earlier process may have written it and not have synced.

    Writing it once more is what does it. If that process saw an fsync fail, the operating system holds those
    bytes for clean: they can be read, a new fsync succeeds at once, and they never reach the disk.
    """
    segments = recovered.segments
    active = segments.active
    file = segments.file(active)
    proved = recovered.synced - active.header.base_position
    start = proved if proved >= HEADER_BYTES else 0
    if start >= active.size or active.header.is_compacted:
        return
    for position in range(start, active.size, CHUNK_BYTES):
        write_all(file, [file.pread(min(CHUNK_BYTES, active.size - position), position)], position)
    file.sync()
    segments.fs.sync_folder(segments.folder)


def _scan_segment(recovered: Recovered, segment: Segment, position: int, on_frame: OnFrame | None) -> None:
    file, end = recovered.segments.file(segment), segment.size
    window = Window(file, end)
    before = position
    while position < end:
        frame = read_frame(window, position, end)
        wrong = frame if isinstance(frame, str) else _misfit(recovered, frame)
        if isinstance(frame, str) or wrong is not None:
            _learn_synced(recovered, segment, before)
            if segment is not recovered.segments.active:
                raise _refusal(recovered, segment, position, f"{wrong}, in a sealed segment")
            _cut_or_refuse(recovered, position, f"{wrong}")
            return
        if segment.index is not None:
            latest = max_timestamp_in(frame.payload, 0, frame)
            segment.index.add(
                frame.index, frame.first_offset, frame.size, latest, frame.append_time, frame.last_index
            )
        recovered.continue_from(frame.last_index, frame.term, frame.next_offset)
        if on_frame is not None:
            on_frame(frame)
        before = position
        position += frame.size
    _learn_synced(recovered, segment, before)


def _learn_synced(recovered: Recovered, segment: Segment, position: int) -> None:
    """The last good frame, at ``position`` if there is one, knew best how far all was durable before it."""
    file = recovered.segments.file(segment)
    header = decode_header(file.pread(GAP_BYTES, position), too_new_as_well=True)
    if header is not None and header.last_index == recovered.last_index:
        recovered.synced = max(recovered.synced, header.synced)


def _misfit(recovered: Recovered, frame: Frame) -> str | None:
    """Why a valid frame cannot stand behind the one before it."""
    if frame.index != recovered.last_index + 1:
        return f"frame {frame.index} stands behind frame {recovered.last_index}"
    if frame.first_offset != recovered.next_offset:
        return f"frame {frame.index} begins at offset {frame.first_offset}, not {recovered.next_offset}"
    if frame.term < recovered.last_term:
        return f"frame {frame.index} has term {frame.term}, the one before {recovered.last_term}"
    return None


def _cut_or_refuse(recovered: Recovered, position: int, wrong: str) -> None:
    """The frame at ``position`` of the last segment is bad: cut from there on, or raise ``LogCorrupt``.

    Raises ``LogTooNew`` where a frame of a newer build stands among what would be cut.
    """
    active = recovered.segments.active
    file = recovered.segments.file(active)
    gaps = active.header.may_hold_gaps
    refuse_behind(
        file,
        active.size,
        base_position=active.header.base_position,
        position=position,
        expected_index=recovered.last_index + 1,
        gaps=gaps,
    )
    claimed = recovered.claim.position > active.header.base_position + position
    if (
        claimed
        or active.header.is_compacted
        or had_been_durable(
            file,
            active.size,
            base_position=active.header.base_position,
            position=position,
            expected_index=recovered.last_index + 1,
            gaps=gaps,
        )
    ):
        raise _refusal(recovered, active, position, f"{wrong}, and it had been durable")
    file.truncate(position)
    file.sync()
    active.size = position


def _refusal(recovered: Recovered, segment: Segment, position: int, detail: str) -> LogCorrupt:
    known = max(recovered.last_index, recovered.claim.last_index)
    return LogCorrupt(
        detail,
        path=segment.path,
        position=position,
        first_bad_index=recovered.last_index + 1,
        last_known_index=max(known, last_index_seen(recovered.segments)),
    )
