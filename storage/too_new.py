"""Frames that only a newer build can read, where nothing else can be read either.

A frame whose header is whole tells itself that it is too new, and whoever meets it raises ``LogTooNew``.
Behind bad bytes such frames have to be looked for: before bytes are cut, moved or believed to be torn,
nothing among them may be of a newer build.
"""

from __future__ import annotations

from floodmark.format.frame import HEADER_BYTES, FrameHeader, unlike

from storage.errors import LogTooNew
from storage.filesystem import File
from storage.scan import Window, find_headers, read_frame


def too_new_behind(
    file: File, end: int, *, base_position: int, position: int, expected_index: int, gaps: bool
) -> FrameHeader | None:
    """The first header of a newer build that could stand behind bad bytes at ``position`` of a segment.

    ``expected_index`` is the index of the first frame that cannot be read, ``base_position`` the segment's
    log position, ``gaps`` whether gaps may stand in it. A record may hold the image of such a header: what
    could not be true of it here is none.
    """
    for at, header in find_headers(file, position, end):
        room = (at - position) // HEADER_BYTES
        if (
            unlike(header) is not None
            and expected_index <= header.index
            and (gaps or header.index <= expected_index + room)
            and header.synced <= base_position + at
        ):
            return header
    return None


def refuse_behind(
    file: File, end: int, *, base_position: int, position: int, expected_index: int, gaps: bool
) -> None:
    """Raise ``LogTooNew`` where ``too_new_behind`` finds one."""
    found = too_new_behind(
        file, end, base_position=base_position, position=position, expected_index=expected_index, gaps=gaps
    )
    if found is not None:
        raise LogTooNew(f"frame {found.index} of {file.path}", f"{unlike(found)}")


def refuse_from(
    file: File, end: int, *, base_position: int, position: int, expected_index: int, gaps: bool
) -> None:
    """Raise ``LogTooNew`` where any frame from ``position`` on, sound ones first, is too new."""
    window = Window(file, end)
    while position < end and not isinstance(frame := read_frame(window, position, end), str):
        position, expected_index = position + frame.size, frame.last_index + 1
    refuse_behind(
        file, end, base_position=base_position, position=position, expected_index=expected_index, gaps=gaps
    )
