"""Whether two replicas hold the same, where each may have been compacted by itself. Nothing is changed.

Frames that both hold are compared as they are. Where one has a gap, what the other has there must have its
place: the same term, and offsets that begin and end where those of the gap do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from floodmark.format.frame import Frame, FrameKind

from storage import segment_header
from storage.discovery import read_header
from storage.filesystem import FileSystem
from storage.scan import Window, read_frame
from storage.segment_header import HEADER_BYTES

TOLD_MAX: Final = 8
"""Differences that are told; one that shifts everything behind it would be told without end."""


def differences(fs: FileSystem, one: str, other: str) -> list[str]:
    """What two replica folders hold otherwise, of the entries that both hold; at most ``TOLD_MAX``.

    What is damaged ends the comparison: ``verify`` tells it. Raises ``OSError``, ``LogTooNew``.
    """
    found: list[str] = []
    mine, theirs = _frames(fs, one), _frames(fs, other)
    a, b = next(mine, None), next(theirs, None)
    while a is not None and b is not None and len(found) < TOLD_MAX:
        if a.index <= b.last_index and b.index <= a.last_index:
            wrong = _difference(a, b)
            if wrong is not None:
                found.append(wrong)
        a_is_done, b_is_done = a.last_index <= b.last_index, b.last_index <= a.last_index
        a = next(mine, None) if a_is_done else a
        b = next(theirs, None) if b_is_done else b
    return found


def _difference(a: Frame, b: Frame) -> str | None:
    """Of two frames that stand for the same entry, or for some of the same."""
    index = max(a.index, b.index)
    if a.term != b.term:
        return f"entry {index} has term {a.term} in the one and {b.term} in the other"
    is_gap = FrameKind.GAP in (a.kind, b.kind)
    if not is_gap:
        same = a.payload == b.payload and a.pack_header(0) == b.pack_header(0)
        return None if same else f"entry {index} is another one"
    if a.index == b.index and a.first_offset != b.first_offset:
        return f"entry {index} begins at offset {a.first_offset} in the one and {b.first_offset} in the other"
    last = min(a.last_index, b.last_index)
    if a.last_index == b.last_index and a.next_offset != b.next_offset:
        return f"entry {last} ends at offset {a.next_offset} in the one and {b.next_offset} in the other"
    if max(a.first_offset, b.first_offset) > min(a.next_offset, b.next_offset):
        return f"entries {index} to {last} have other offsets in the one than in the other"
    return None


def _frames(fs: FileSystem, folder: str) -> Iterator[Frame]:
    """The frames of a replica up to the first that cannot be read, or does not go on from the one before."""
    bases = sorted(b for b in map(segment_header.base_index_of, fs.listdir(folder)) if b is not None)
    expected = bases[0] if bases else 0
    for base in bases:
        path = f"{folder}/{segment_header.file_name(base)}"
        if read_header(fs, path) is None or base != expected:
            return
        file = fs.open(path)
        try:
            position, size = HEADER_BYTES, file.size()
            window = Window(file, size)
            while position < size:
                frame = read_frame(window, position, size)
                if isinstance(frame, str) or frame.index != expected:
                    break
                yield frame
                position, expected = position + frame.size, frame.last_index + 1
        finally:
            file.close()
