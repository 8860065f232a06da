"""Walking over the frames of a segment file, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

from floodmark.errors import InvalidBatch, TooNew
from floodmark.format import batch
from floodmark.format.frame import (
    GAP_BYTES,
    HEADER_BYTES,
    MAGIC,
    Frame,
    FrameHeader,
    decode_header,
    unlike_payload,
)
from floodmark.format.frame_records import has_records, max_time_in

from storage.errors import LogTooNew
from storage.filesystem import File
from storage.sparse_index import NEVER

CHUNK_BYTES = 1 << 20


def max_timestamp_in(payload: bytes, at: int, header: FrameHeader | Frame) -> int:
    """The greatest record timestamp of a frame whose payload begins at ``payload[at]``.

    Frames without records have none that any search by time could find. A record without a timestamp is found
    by its append time.
    """
    if not header.offset_count or not has_records(header):
        return NEVER
    return max_time_in(header, payload, at)


def header_in(file: File, data: bytes, at: int = 0) -> FrameHeader | None:
    """The frame header at ``data[at]``, read from a file; None where none stands. Raises ``LogTooNew``.

    ``GAP_BYTES`` must be there where the file has so many: a gap whose payload is damaged has no header that
    could say where it ends.
    """
    try:
        header = decode_header(data, at)
    except TooNew as error:
        raise LogTooNew(f"frame {error.fields['index']} of {file.path}", error.fields["unlike"]) from None
    return header if header is None or header.entries else None


class Window:
    """A file seen through one buffer: each byte of a walk forward is read about once."""

    __slots__ = ("_chunk", "_data", "_end", "_start", "file")

    def __init__(self, file: File, end: int, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.file = file
        self._end = end
        self._chunk = chunk_bytes
        self._start = 0
        self._data = b""

    def at(self, position: int, length: int) -> tuple[bytes, int]:
        """A buffer, and where in it ``position`` lies; fewer than ``length`` bytes follow only at the end."""
        offset = position - self._start
        if offset < 0 or offset + length > len(self._data):
            length = min(max(length, self._chunk), max(0, self._end - position))
            self._data = self.file.pread(length, position)
            self._start = position
            offset = 0
        return self._data, offset


def walk_headers(
    file: File, position: int, end: int, *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[tuple[int, FrameHeader, int]]:
    """(position, header, max_timestamp) of each frame; ends at ``end`` or before the first invalid header.

    Payloads are stepped over; those larger than the chunk are not read. Raises ``LogTooNew``.
    """
    window = Window(file, end, chunk_bytes)
    while position + HEADER_BYTES <= end:
        data, at = window.at(position, min(HEADER_BYTES + batch.HEADER_BYTES, end - position))
        header = header_in(file, data, at)
        if header is None or position + header.size > end:
            return
        yield position, header, max_timestamp_in(data, at + HEADER_BYTES, header)
        position += header.size


def read_frame(window: Window, position: int, end: int, *, too_new_as_well: bool = False) -> Frame | str:
    """The frame at ``position``, header and payload verified, or what is wrong with it.

    Raises ``LogTooNew``, unless such a frame is wanted as well.
    """
    if position + HEADER_BYTES > end:
        return f"only {end - position} bytes are left, too few for a frame header"
    data, at = window.at(position, min(GAP_BYTES, end - position))
    if too_new_as_well:
        header = decode_header(data, at, too_new_as_well=True)
    else:
        header = header_in(window.file, data, at)
    if header is None:
        return "no valid frame header"
    if position + header.size > end:
        return f"frame {header.index} has {header.size} bytes and only {end - position} are left"
    data, at = window.at(position, header.size)
    try:
        frame = header.with_payload(data[at + HEADER_BYTES : at + header.size])
    except InvalidBatch:
        return f"the payload of frame {header.index} fails its CRC32C"
    if not too_new_as_well and (strange := unlike_payload(frame)) is not None:
        raise LogTooNew(f"frame {frame.index} of {window.file.path}", strange)
    return frame


def is_zero(file: File, position: int, end: int) -> bool:
    """Whether nothing but zeros stands from ``position`` on: what a log writes ahead of itself."""
    while position < end:
        data = file.pread(min(CHUNK_BYTES, end - position), position)
        if not data or data.count(0) < len(data):
            return False
        position += len(data)
    return True


def find_headers(file: File, position: int, end: int) -> Iterator[tuple[int, FrameHeader]]:
    """Every valid frame header, too new ones as well, at any byte from ``position`` on."""
    while position + HEADER_BYTES <= end:
        data = file.pread(min(CHUNK_BYTES, end - position), position)
        if not data:
            return
        at = data.find(MAGIC)
        while at >= 0:
            if len(data) - at < GAP_BYTES and position + len(data) < end:
                break  # It continues in the next chunk, which begins with it.
            header = decode_header(data, at, too_new_as_well=True)
            if header is not None:
                yield position + at, header
            at = data.find(MAGIC, at + 1)
        if position + len(data) >= end:
            return
        # The last bytes may hold the beginning of a magic.
        position += at if at >= 0 else len(data) - len(MAGIC) + 1
