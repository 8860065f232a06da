"""Repair after corruption: what stands from a frame on is moved aside, never deleted silently."""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace

from storage import checkpoint as checkpoints
from storage import segment_header, state_file, synced_mark, vote
from storage.atomic_file import TEMPORARY_SUFFIX, read_file
from storage.checkpoint import Checkpoint
from storage.discovery import good_until, is_without_state, read_header
from storage.errors import LogTooNew
from storage.filesystem import File, FileSystem, write_all
from storage.options import LogOptions
from storage.segment_header import HEADER_BYTES, SegmentHeader
from storage.segments import Segment, Segments
from storage.synced_mark import Mark
from storage.too_new import refuse_from

FOLDER = "quarantine"
_COPY_BYTES = 1 << 20
_NO_END: Final = 1 << 64


def set_aside(fs: FileSystem, folder: str, options: LogOptions, *, keep_before: int) -> None:
    """Make the log in a folder end before frame ``keep_before``, or before the first bad one below it. Where
    that is before its first frame nothing is kept, not what the first frame goes on from either.

    From the newest file to the oldest, each step durable: after a crash in between the log is still
    corrupt, and the repair can be run again. Raises ``LogTooNew``, and then has changed nothing.
    """
    if not fs.exists(folder):
        return
    bases, keep, size, end, checkpoint = check(fs, folder, options, keep_before=keep_before)
    fs.mkdir(f"{folder}/{FOLDER}")
    if fs.exists(f"{folder}/{checkpoints.NAME}") and checkpoint is None:
        _move(fs, folder, checkpoints.NAME, options)
    if end.is_before(synced_mark.load(fs, folder)):
        synced_mark.remove(fs, folder)
    for base in reversed(bases[keep:]):
        _remove_index(fs, folder, base)
        _move(fs, folder, segment_header.file_name(base), options)
    if keep:
        base = bases[keep - 1]
        _remove_index(fs, folder, base)
        _cut(fs, folder, segment_header.file_name(base), size, options)


class _End(NamedTuple):
    """Where a log ends."""

    position: int
    """In the whole log ..."""
    missing: int
    """... before this entry; 0 where nothing is left."""

    def is_before(self, mark: Mark) -> bool:
        """Whether something that was durable is missing. Positions within a compacted segment do not tell."""
        return mark.position > self.position or 0 < self.missing <= mark.last_index


class Plan(NamedTuple):
    """What ``set_aside`` is about to do."""

    bases: list[int]
    """Of all segments."""
    keep: int
    """How many segments are kept ..."""
    size: int
    """... the last of them with so many bytes."""
    end: _End
    checkpoint: Checkpoint | None
    """The one that is kept."""


def check_files(fs: FileSystem, folder: str) -> None:
    """Raise ``LogTooNew`` where a file of a replica is of a newer build; its frames are not looked at."""
    checkpoints.load(fs, folder)
    synced_mark.load(fs, folder)
    data = read_file(fs, f"{folder}/{vote.NAME}") or b""
    strange = vote.unlike(data)
    if strange is not None:
        raise LogTooNew(f"{folder}/{vote.NAME}", strange)
    for name in fs.listdir(folder) if fs.exists(folder) else ():
        if segment_header.base_index_of(name) is not None:
            read_header(fs, f"{folder}/{name}")
        elif name.endswith(state_file.SUFFIX):
            state_file.header_of(fs, f"{folder}/{name}")


def check(fs: FileSystem, folder: str, options: LogOptions, *, keep_before: int) -> Plan:
    """Whether ``set_aside`` may do what it is asked for; nothing is changed.

    Raises ``LogTooNew`` where a file or frame of a newer build stands among what would be moved.
    """
    check_files(fs, folder)
    names = fs.listdir(folder) if fs.exists(folder) else []
    bases = sorted(base for base in map(segment_header.base_index_of, names) if base is not None)
    keep, size, end = 0, 0, _End(0, 0)
    if bases and keep_before >= bases[0]:
        keep, size, end = _standing(fs, folder, options, bases, keep_before)
    checkpoint = checkpoints.load(fs, folder).checkpoint
    if checkpoint is not None and end.is_before(Mark(checkpoint.position, checkpoint.index)):
        checkpoint = None
    if bases and is_without_state(bases[0], checkpoint):
        # Nothing is left that the first frames could go on from: whoever has them sends all again.
        keep, end, checkpoint = 0, _End(0, 0), None
    for base in bases[max(0, keep - 1) :]:
        path = f"{folder}/{segment_header.file_name(base)}"
        header = read_header(fs, path)
        file = fs.open(path)
        try:
            refuse_from(
                file,
                file.size(),
                # In a compacted segment frames stand before where they were written.
                base_position=_NO_END if header is None or header.is_compacted else header.base_position,
                position=HEADER_BYTES,
                expected_index=base,
                gaps=header is not None and header.may_hold_gaps,
            )
        finally:
            file.close()
    return Plan(bases, keep, size, end, checkpoint)


def _standing(
    fs: FileSystem, folder: str, options: LogOptions, bases: list[int], keep_before: int
) -> tuple[int, int, _End]:
    """(segments to keep, size of the last of them, where the log is to end)."""
    segments = Segments(fs, folder, options)
    size = position = index = 0
    try:
        for number, base in enumerate(bases):
            path = segments.path_of(base)
            header = read_header(fs, path)
            fits = header is not None and header.base_index == base
            if (
                header is None
                or not fits
                or (number and (base > keep_before or header.base_position != position))
            ):
                return number, size, _End(position, index)
            whole = fs.size(path)
            segment = Segment(header, path, whole)
            segments.all.append(segment)
            following = bases[number + 1] if number + 1 < len(bases) else None
            if following is not None and following <= keep_before:
                after = read_header(fs, segments.path_of(following))
                if after is not None and _is_whole(header, whole, after):
                    size, position, index = whole, after.base_position, after.base_index
                    continue
            kept, missing = good_until(segments, segment, whole, keep_before)
            if header.is_compacted and kept == HEADER_BYTES:
                return number, size, _End(position, index)  # None can go on in it.
            segment.size = size = kept
            index = missing
            return number + 1, size, _End(segment.end_position, index)
        return len(bases), size, _End(position, index)
    finally:
        segments.close()


def _is_whole(header: SegmentHeader, size: int, following: SegmentHeader) -> bool:
    return header.leads_to(following) and header.size_before(following) == size


def _cut(fs: FileSystem, folder: str, name: str, size: int, options: LogOptions) -> None:
    """Copy what stands behind ``size`` into quarantine, durably, and then truncate."""
    header = read_header(fs, f"{folder}/{name}")
    file = fs.open(f"{folder}/{name}")
    try:
        end = file.size()
        if end == size:
            return
        _keep(fs, folder, name, file, size, end, options)
        if header is not None and header.is_compacted:
            _shorten(fs, folder, name, file, replace(header, file_bytes=size))
            return
        file.truncate(max(size, HEADER_BYTES))
        file.sync()
    finally:
        file.close()


def _shorten(fs: FileSystem, folder: str, name: str, file: File, header: SegmentHeader) -> None:
    """Replace a compacted segment by its first bytes: its header says how many there are."""
    path = f"{folder}/{name}"
    copy = fs.open(path + TEMPORARY_SUFFIX, create=True)
    try:
        copy.truncate(0)
        write_all(copy, [header.encode()], 0)
        for at in range(HEADER_BYTES, header.file_bytes, _COPY_BYTES):
            write_all(copy, [file.pread(min(_COPY_BYTES, header.file_bytes - at), at)], at)
        copy.sync()
    finally:
        copy.close()
    fs.rename(path + TEMPORARY_SUFFIX, path)
    fs.sync_folder(folder)


def keep_copy(fs: FileSystem, folder: str, name: str, options: LogOptions) -> None:
    """Keep a file as it is now; durable on return."""
    fs.mkdir(f"{folder}/{FOLDER}")
    file = fs.open(f"{folder}/{name}")
    try:
        _keep(fs, folder, name, file, 0, file.size(), options)
    finally:
        file.close()


def _keep(
    fs: FileSystem, folder: str, name: str, file: File, start: int, end: int, options: LogOptions
) -> None:
    copy = fs.open(f"{folder}/{FOLDER}/{_free_name(fs, folder, name, options)}", create=True)
    try:
        for at in range(start, end, _COPY_BYTES):
            write_all(copy, [file.pread(min(_COPY_BYTES, end - at), at)], at - start)
        copy.sync()
    finally:
        copy.close()
    fs.sync_folder(f"{folder}/{FOLDER}")


def _move(fs: FileSystem, folder: str, name: str, options: LogOptions) -> None:
    fs.rename(f"{folder}/{name}", f"{folder}/{FOLDER}/{_free_name(fs, folder, name, options)}")
    fs.sync_folder(f"{folder}/{FOLDER}")
    fs.sync_folder(folder)


def _remove_index(fs: FileSystem, folder: str, base: int) -> None:
    path = f"{folder}/{segment_header.file_name(base).removesuffix('.log')}.idx"
    if fs.exists(path):
        fs.unlink(path)
        fs.sync_folder(folder)


def _free_name(fs: FileSystem, folder: str, name: str, options: LogOptions) -> str:
    """A name ``NNNN-name`` that counts up; makes room by removing the oldest beyond the limit."""
    kept = fs.listdir(f"{folder}/{FOLDER}")
    number = 1 + max((int(old.partition("-")[0]) for old in kept), default=0)
    for old in kept[: max(0, len(kept) + 1 - options.quarantine_files_max)]:
        fs.unlink(f"{folder}/{FOLDER}/{old}")
    return f"{number:08d}-{name}"
