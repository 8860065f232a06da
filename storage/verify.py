"""Offline check of a data folder: every frame of every replica read, and every bad one named.

Nothing is changed. Works on any tree that contains replica folders (those with segment files).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from floodmark.format.frame import Frame, FrameKind, unlike

from storage import checkpoint as checkpoints
from storage import segment_header, synced_mark, vote
from storage.atomic_file import read_file
from storage.discovery import is_without_state, read_header
from storage.errors import LogTooNew
from storage.evidence import had_been_durable
from storage.filesystem import File, FileSystem
from storage.quarantine import FOLDER as QUARANTINE
from storage.scan import Window, find_headers, is_zero, read_frame
from storage.segment_header import HEADER_BYTES, SegmentHeader
from storage.sparse_index import SparseIndex
from storage.state_file import SUFFIX, BadState, read_blocks
from storage.synced_mark import Mark
from storage.too_new import too_new_behind


@dataclass(frozen=True, slots=True)
class Finding:
    """Something bad. ``position`` counts bytes from the file's start; ``index`` is the frame's, if known.

    ``is_damage`` is False for what a crash may leave behind and the next start puts in order by itself, and
    for what ``is_too_new``: whole, and only a newer build can open it.
    """

    path: str
    position: int
    index: int | None
    what: str
    is_damage: bool = True
    is_too_new: bool = False


@dataclass(slots=True)
class ReplicaReport:
    """One replica. Compare ``digest`` of replicas that hold the same ``base_index`` to ``last_index``.

    The digest is BLAKE2b-128 over all frames with ``synced`` as zero: the only field that may differ. Where
    there are ``gaps`` it tells nothing, for replicas compact by themselves: see ``compare.py``.
    """

    path: str
    findings: list[Finding] = field(default_factory=list)
    segments: int = 0
    size_bytes: int = 0
    frames: int = 0
    records: int = 0
    gaps: int = 0
    base_index: int = 0
    last_index: int = 0
    last_term: int = 0
    start_offset: int = 0
    next_offset: int = 0
    checkpoint_index: int | None = None
    quarantined_files: int = 0
    digest: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether no damage was found."""
        return not any(finding.is_damage for finding in self.findings)

    @property
    def is_too_new(self) -> bool:
        """Whether this build cannot open it."""
        return any(finding.is_too_new for finding in self.findings)


def verify(fs: FileSystem, folder: str) -> Iterator[ReplicaReport]:
    """The replicas at and below a folder, as they are done. Raises ``OSError`` for the folder itself.

    Links are followed, for a replica may lie on another disk, but no folder is looked at twice.
    """
    folder = folder.rstrip("/") or "/"
    yield from _verify(fs, folder, fs.listdir(folder), {os.path.realpath(folder)})


def _verify(fs: FileSystem, folder: str, names: list[str], seen: set[str]) -> Iterator[ReplicaReport]:
    if any(segment_header.base_index_of(name) is not None for name in names) or vote.NAME in names:
        yield verify_replica(fs, folder)
        return
    for name in names:
        path = f"{folder.rstrip('/')}/{name}"
        real = os.path.realpath(path)
        if real in seen:
            continue
        try:
            inner = fs.listdir(path)
        except (NotADirectoryError, FileNotFoundError):
            continue  # A file, or a link to nowhere: of no concern here.
        except OSError as error:
            yield ReplicaReport(path, [Finding(path, 0, None, f"it cannot be read: {error.strerror}")])
            continue
        seen.add(real)
        yield from _verify(fs, path, inner, seen)


def verify_replica(
    fs: FileSystem, folder: str, *, on_frame: Callable[[Frame], None] | None = None
) -> ReplicaReport:
    """One replica folder. ``on_frame`` sees every frame that passes its checksums, file by file."""
    report = ReplicaReport(folder)
    try:
        check = _Check(fs, report, on_frame)
    except OSError as error:
        report.findings.append(Finding(folder, 0, None, f"its files cannot be read: {error.strerror}"))
        return report
    bases = sorted(b for b in map(segment_header.base_index_of, fs.listdir(folder)) if b is not None)
    for number, base in enumerate(bases):
        path = f"{folder}/{segment_header.file_name(base)}"
        with check.reading(path):
            check.segment(path, base, is_first=number == 0, is_last=number == len(bases) - 1)
        if check.is_blind:
            break
    report.digest = check.digest.hexdigest()
    with check.reading(f"{folder}/{QUARANTINE}"):
        if fs.exists(f"{folder}/{QUARANTINE}"):
            report.quarantined_files = len(fs.listdir(f"{folder}/{QUARANTINE}"))
    if check.claim.position > check.end_position and not check.is_blind:
        what = f"the log ends at frame {report.last_index}, and was durable up to {check.claim.last_index}"
        check.bad(folder, 0, check.claim.last_index, what)
    with check.reading(f"{folder}/{checkpoints.NAME}"):
        check.checkpoint(f"{folder}/{checkpoints.NAME}")
    for name in fs.listdir(folder):
        if name.endswith(SUFFIX):
            with check.reading(f"{folder}/{name}"):
                check.state(f"{folder}/{name}")
    with check.reading(f"{folder}/{vote.NAME}"):
        check.vote(f"{folder}/{vote.NAME}")
    return report


class _Check:
    """What is carried from one segment to the next."""

    def __init__(
        self, fs: FileSystem, report: ReplicaReport, on_frame: Callable[[Frame], None] | None
    ) -> None:
        self.fs = fs
        self.report = report
        self.on_frame = on_frame
        self.digest = hashlib.blake2b(digest_size=16)
        self.end_position = 0
        self.is_blind = False
        """Whether a segment is of a newer build: what comes behind it cannot be judged."""
        self.claim = Mark(0, 0)
        with self.reading(f"{report.path}/{synced_mark.NAME}"):
            self.claim = synced_mark.load(fs, report.path)

    @contextlib.contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """What cannot be read as a file, a folder or a pipe of this name or a bad disk, is a finding."""
        try:
            yield
        except LogTooNew as error:
            self.report.findings.append(Finding(path, 0, None, str(error), is_damage=False, is_too_new=True))
        except OSError as error:
            self.bad(path, 0, None, f"it cannot be read: {error.strerror or error}")

    def segment(self, path: str, base: int, *, is_first: bool, is_last: bool) -> None:
        report, size = self.report, self.fs.size(path)
        report.segments += 1
        try:
            header = read_header(self.fs, path)
        except LogTooNew:
            self.is_blind = True
            raise
        if header is None or header.base_index != base:
            torn = is_last and size <= HEADER_BYTES and not is_first
            self.bad(path, 0, base, "the segment header is damaged", is_damage=not torn)
        elif is_first:
            report.base_index, report.start_offset = base, header.base_offset
            report.last_index, report.last_term = base - 1, header.base_term
            report.next_offset = header.base_offset
        elif (base, header.base_term, header.base_offset, header.base_position) != (
            report.last_index + 1,
            report.last_term,
            report.next_offset,
            self.end_position,
        ):
            self.bad(path, 0, base, "it does not go on where the segment before it ends")
        base_position = self.end_position if header is None else header.base_position
        file = self.fs.open(path)
        try:
            size = self.frames(path, file, size, base_position, header, is_last=is_last)
        finally:
            file.close()
        report.size_bytes += size
        if header is not None:
            if header.is_compacted and size != header.file_bytes:
                what = f"a compacted segment has {size} bytes, its header says {header.file_bytes}"
                self.bad(path, size, None, what)
            self.end_position = header.base_position + (header.logical_bytes or size)
        data = read_file(self.fs, path.removesuffix(".log") + ".idx")
        if data is not None and not SparseIndex.decode(data, base_index=base, size=size, interval_bytes=64):
            what = "the index is damaged; it will be rebuilt"
            self.bad(path.removesuffix(".log") + ".idx", 0, None, what, is_damage=False)

    def frames(
        self,
        path: str,
        file: File,
        size: int,
        base_position: int,
        header: SegmentHeader | None,
        *,
        is_last: bool,
    ) -> int:
        """Check all of a segment; returns its size without the zeros that its log wrote ahead."""
        window, position = Window(file, size), HEADER_BYTES
        gaps = header is not None and header.may_hold_gaps
        if header is not None and header.is_compacted:
            is_last = False  # All of it was durable.
        while position < size:
            frame = read_frame(window, position, size, too_new_as_well=True)
            if isinstance(frame, str):
                index = self.report.last_index + 1
                claimed = self.claim.position > base_position + position
                if is_last and not claimed and is_zero(file, position, size):
                    return position
                if (
                    is_last
                    and not claimed
                    and not had_been_durable(
                        file,
                        size,
                        base_position=base_position,
                        position=position,
                        expected_index=index,
                        gaps=gaps,
                    )
                ):
                    found = too_new_behind(
                        file,
                        size,
                        base_position=base_position,
                        position=position,
                        expected_index=index,
                        gaps=gaps,
                    )
                    if found is not None:
                        self.too_new(path, position, found.index, f"frame {found.index} {unlike(found)}")
                        return size
                    what = f"{frame}: a torn write that nobody was told of; the next start cuts it"
                    self.bad(path, position, index, what, is_damage=False)
                    return size
                self.bad(path, position, index, frame)
                position = self.next_good(file, window, position, size)
                continue
            strange = unlike(frame)
            if strange is not None:
                self.too_new(path, position, frame.index, f"frame {frame.index} {strange}")
            self.frame(path, position, frame)
            position += frame.size
        return size

    def frame(self, path: str, position: int, frame: Frame) -> None:
        report = self.report
        if (frame.index, frame.first_offset) != (report.last_index + 1, report.next_offset):
            what = f"frame {frame.index} at offset {frame.first_offset} stands behind frame "
            self.bad(path, position, frame.index, f"{what}{report.last_index} at {report.next_offset}")
        elif frame.term < report.last_term:
            self.bad(path, position, frame.index, f"term {frame.term} stands behind term {report.last_term}")
        report.frames += 1
        if frame.kind is FrameKind.GAP:
            report.gaps += 1
        else:
            report.records += frame.offset_count
        report.last_index, report.last_term = frame.last_index, frame.term
        report.next_offset = frame.next_offset
        self.digest.update(frame.pack_header(0))
        self.digest.update(frame.payload)
        if self.on_frame is not None:
            self.on_frame(frame)

    def next_good(self, file: File, window: Window, position: int, size: int) -> int:
        """Where the next frame that is valid as a whole and higher than all before begins."""
        for at, header in find_headers(file, position + 1, size):
            frame = read_frame(window, at, size, too_new_as_well=True)
            if header.index > self.report.last_index and not isinstance(frame, str):
                return at
        return size

    def checkpoint(self, path: str) -> None:
        found, is_whole = checkpoints.load(self.fs, self.report.path)
        if is_without_state(self.report.base_index, found) and not self.is_blind:
            what = "there is no valid checkpoint that the trimmed log goes on from"
            self.bad(path, 0, self.report.base_index, what)
        elif not is_whole:
            rest = "scans the whole log" if found is None else "mends it from its other copy"
            self.bad(path, 0, None, f"the checkpoint is damaged; the next start {rest}", is_damage=False)
        if found is None or self.is_blind:
            return
        self.report.checkpoint_index = found.index
        if found.index > self.report.last_index and not found.resetting:
            self.bad(path, 0, found.index, f"the log ends at frame {self.report.last_index}, before it")

    def state(self, path: str) -> None:
        file = self.fs.open(path)
        try:
            for _ in read_blocks(file, file.size()):
                pass
        except BadState as error:
            self.bad(path, 0, None, f"the state of the machine is damaged: {error}")
        finally:
            file.close()

    def vote(self, path: str) -> None:
        data = read_file(self.fs, path)
        if data is None:
            return
        strange = vote.unlike(data)
        if strange is not None:
            raise LogTooNew(path, strange)
        copies = range(0, vote.FILE_BYTES, vote.COPY_DISTANCE)
        if not any(vote.decode(data[at : at + vote.COPY_BYTES]) for at in copies):
            self.bad(path, 0, None, "no copy of the vote is valid")

    def too_new(self, path: str, position: int, index: int | None, what: str) -> None:
        """What a newer build has written."""
        what = f"{what}: start a newer Floodmark"
        self.report.findings.append(Finding(path, position, index, what, is_damage=False, is_too_new=True))

    def bad(self, path: str, position: int, index: int | None, what: str, *, is_damage: bool = True) -> None:
        self.report.findings.append(Finding(path, position, index, what, is_damage))
