"""Which segments a log has, and whether they fit together. Reads 64 bytes of each and asks for its size."""

from __future__ import annotations

from storage import checkpoint as checkpoints
from storage import segment_header
from storage.checkpoint import Checkpoint
from storage.errors import LogCorrupt, LogTooNew
from storage.filesystem import FileSystem, write_all
from storage.scan import Window, find_headers, read_frame
from storage.segment_header import HEADER_BYTES, SegmentHeader
from storage.segments import Segment, Segments
from storage.synced_mark import Mark

FIRST_HEADER = SegmentHeader(base_index=2, base_term=0, base_offset=0, base_position=0)
"""Of a new log: Raft index 1 is a virtual no-op that is not stored."""


def create_segment(fs: FileSystem, folder: str, header: SegmentHeader) -> str:
    """A new segment file, durable with its name before any frame goes into it; returns its path."""
    path = f"{folder}/{segment_header.file_name(header.base_index)}"
    file = fs.open(path, create=True)
    try:
        file.truncate(0)
        write_all(file, [header.encode()], 0)
        file.sync()
    finally:
        file.close()
    fs.sync_folder(folder)
    return path


def finish_reset(fs: FileSystem, folder: str, decided: Checkpoint) -> Checkpoint:
    """Carry a reset through: the checkpoint that says ``resetting`` decided it, the rest can be repeated."""
    for name in fs.listdir(folder):
        if name.endswith((".log", ".idx")):
            fs.unlink(f"{folder}/{name}")
    fs.sync_folder(folder)
    create_segment(
        fs, folder, SegmentHeader(decided.index + 1, decided.term, decided.offset, decided.position)
    )
    settled = Checkpoint(decided.position, decided.index, decided.term, decided.offset, decided.state)
    checkpoints.save(fs, folder, settled)
    return settled


def discover(segments: Segments, claim: Mark) -> None:
    """Fill ``segments`` from its folder; an empty folder becomes a new log.

    Raises ``LogCorrupt``, ``LogTooNew``.

    ``claim`` is how far checkpoint or mark say that the log was durable.
    """
    fs, folder = segments.fs, segments.folder
    bases = [segment_header.base_index_of(name) for name in fs.listdir(folder)]
    known = sorted(base for base in bases if base is not None)
    torn: str | None = None
    for number, base in enumerate(known):
        path = segments.path_of(base)
        size = fs.size(path)
        header = read_header(fs, path)
        if header is not None and header.base_index == base:
            segments.all.append(Segment(header, path, size))
            continue
        if (
            number < len(known) - 1
            or size > HEADER_BYTES
            or (number == 0 and base != FIRST_HEADER.base_index)
        ):
            last_known = max(known[-1] - 1, base, claim.last_index)
            raise LogCorrupt(
                "the segment header is damaged",
                path=path,
                position=0,
                first_bad_index=base,
                last_known_index=last_known,
            )
        torn = path
    if not segments.all:
        if claim.position > 0:
            raise LogCorrupt(
                "no segment is left, and there were some",
                path=folder,
                position=0,
                first_bad_index=FIRST_HEADER.base_index,
                last_known_index=claim.last_index,
            )
        path = create_segment(fs, folder, FIRST_HEADER)
        segments.all.append(Segment(FIRST_HEADER, path, HEADER_BYTES))
    segments.count()
    _check_chain(segments, claim)
    if torn is not None and torn != segments.active.path:
        # Frames are written only once the header is durable: whoever made this file did not get so far.
        fs.unlink(torn)
        fs.sync_folder(folder)


def read_header(fs: FileSystem, path: str) -> SegmentHeader | None:
    """The header of a segment file, or None when it is damaged. Raises ``LogTooNew``."""
    file = fs.open(path)
    try:
        data = file.pread(HEADER_BYTES, 0)
    finally:
        file.close()
    header = segment_header.decode(data)
    if header is None and (strange := segment_header.unlike(data)) is not None:
        raise LogTooNew(f"the header of {path}", strange)
    return header


def _check_chain(segments: Segments, claim: Mark) -> None:
    """Every sealed segment has the size that its successor, or of a compacted one its own header, says; what
    was durable is there.
    """
    for segment, following in zip(segments.all, segments.all[1:], strict=False):
        expected = segment.header.size_before(following.header)
        if segment.size != expected or not segment.header.leads_to(following.header):
            end = min(segment.size, max(expected, HEADER_BYTES))
            who = "its header says" if segment.header.is_compacted else "the next one says"
            detail = f"a sealed segment has {segment.size} bytes, {who} {expected}"
            raise _misses(segments, segment, end, detail, claim)
    active = segments.active
    if claim.position > active.end_position:
        detail = f"the log ends at position {active.end_position}, and was durable up to {claim.position}"
        raise _misses(segments, active, active.size, detail, claim)


def _misses(segments: Segments, segment: Segment, end: int, detail: str, claim: Mark) -> LogCorrupt:
    position, index = good_until(segments, segment, end)
    known = max(claim.last_index, index - 1)
    return LogCorrupt(
        detail,
        path=segment.path,
        position=position,
        first_bad_index=index,
        last_known_index=max(known, last_index_seen(segments)),
    )


def good_until(
    segments: Segments, segment: Segment, end: int, before_index: int | None = None
) -> tuple[int, int]:
    """Where the good frames of a segment end: (position in the file, index of the first that is missing)."""
    window = Window(segments.file(segment), end)
    position, index = HEADER_BYTES, segment.base_index
    while position < end:
        frame = read_frame(window, position, end)
        if isinstance(frame, str) or frame.index != index:
            break
        if before_index is not None and frame.last_index >= before_index:
            break
        position, index = position + frame.size, frame.last_index + 1
    return position, index


def is_without_state(base_index: int, checkpoint: Checkpoint | None) -> bool:
    """Whether a log that begins at ``base_index`` lacks the checkpoint that its frames go on from."""
    covered = FIRST_HEADER.base_index - 1 if checkpoint is None else checkpoint.index
    return covered < base_index - 1


def last_index_seen(segments: Segments) -> int:
    """The highest index that any valid frame header of the last segment proves to have been there."""
    active = segments.active
    last = active.base_index - 1
    for position, header in find_headers(segments.file(active), HEADER_BYTES, active.size):
        # A record may hold the image of a frame. None can have a higher index than there is room for
        # frames before it, and believing more would keep this replica from ever voting again.
        # Where gaps may stand nothing is known of room, and to believe less could let it vote too early.
        room = (position - HEADER_BYTES) // HEADER_BYTES
        if active.header.may_hold_gaps or header.index <= active.base_index + room:
            last = max(last, header.last_index)
    return last
