"""Whether a bad frame had been durable: the one rule that tells corruption from a torn write."""

from __future__ import annotations

from floodmark.format.frame import HEADER_BYTES, decode_header

from storage.filesystem import File
from storage.scan import find_headers


def had_been_durable(
    file: File, size: int, *, base_position: int, position: int, expected_index: int, gaps: bool
) -> bool:
    """Whether any frame behind the bad one at ``position`` of the last segment says that it was synced.

    Frame headers carry the log position that was durable when they were written. ``expected_index`` is
    the index that the bad frame should have; ``gaps`` whether it could be that of a gap.
    """
    bad = base_position + position
    for at, header in find_headers(file, _search_from(file, position, expected_index), size):
        room = (at - position) // HEADER_BYTES
        # A record may hold the image of a frame; what could not be true of a frame here proves nothing.
        fits = gaps or header.index <= expected_index + room
        if bad < header.synced <= base_position + at and fits:
            return True
    return False


def _search_from(file: File, position: int, expected_index: int) -> int:
    """Behind the bad frame when its header can be believed, for its payload proves nothing."""
    header = decode_header(file.pread(HEADER_BYTES, position), too_new_as_well=True)
    if header is None or header.index != expected_index:
        return position + 1
    return position + header.size
