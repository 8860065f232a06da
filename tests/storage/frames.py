"""Frames and logs for the storage tests."""

from __future__ import annotations

from collections.abc import Iterable

from floodmark.format import batch
from floodmark.format.frame import Frame, FrameKind, crc_of
from floodmark.format.record import Record

from storage import checkpoint
from storage.filesystem import FileSystem
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions

FOLDER = "/data/groups/7"
SMALL = LogOptions(segment_bytes=4096, index_interval_bytes=256, tail_bytes_max=2048)


def make_frame(
    log_or_frame: Log | Frame | None, *, records: int = 1, size: int = 40, term: int = 1, append_time: int = 0
) -> Frame:
    """A frame that fits behind a log's or frame's end; its payload tells its index on every byte."""
    if log_or_frame is None:
        index, offset = 2, 0
    elif isinstance(log_or_frame, Log):
        index, offset = log_or_frame.last_index + 1, log_or_frame.next_offset
    else:
        index, offset = log_or_frame.index + 1, log_or_frame.next_offset
    payload = (f"{index}.{term}:".encode() * size)[:size] if records else b""
    kind = FrameKind.RECORDS if records else FrameKind.NOOP
    return Frame(index, term, offset, append_time or 1000 + index, records, kind, payload, crc_of(payload))


def batch_frame(log: Log, timestamps: Iterable[int], *, term: int = 1, append_time: int = 1) -> Frame:
    """A frame that holds a real record batch with these event times."""
    payload = batch.encode([Record(time, None, b"x") for time in timestamps])
    count = batch.decode_header(payload).count
    return Frame(
        log.last_index + 1,
        term,
        log.next_offset,
        append_time,
        count,
        FrameKind.RECORDS,
        payload,
        crc_of(payload),
    )


def fill(log: Log, count: int, *, records: int = 1, size: int = 40, term: int = 1) -> list[Frame]:
    """Append frames without writing them; returns them."""
    frames = []
    for _ in range(count):
        frames.append(make_frame(log, records=records, size=size, term=term))
        log.append(frames[-1])
    return frames


def store(log: Log, count: int, *, records: int = 1, size: int = 40, term: int = 1) -> list[Frame]:
    """Append, write and sync frames; returns them."""
    frames = fill(log, count, records=records, size=size, term=term)
    log.write()
    log.sync()
    return frames


def reopen(fs: FileSystem, options: LogOptions = SMALL) -> Log:
    """Open the log in the folder of the tests."""
    return Log.open(fs, FOLDER, options)


def damage_checkpoint(fs: MemoryFileSystem, *copies: int) -> None:
    """Damage a sector of copy 0, copy 1, or both."""
    path = f"{FOLDER}/{checkpoint.NAME}"
    for copy in copies:
        for byte in range(checkpoint.HEADER_BYTES):
            fs.flip_bit(path, copy * fs.size(path) // 2 + byte)


def last_segment(fs: FileSystem, folder: str = FOLDER) -> str:
    """The path of the segment that is written to."""
    return f"{folder}/" + [name for name in fs.listdir(folder) if name.endswith(".log")][-1]


def all_frames(log: Log) -> list[Frame]:
    """Every frame that the log holds."""
    return list(log.frames(log.base_index, log.last_index))
