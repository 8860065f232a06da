"""What one replica's folder holds, up to the first damage."""

from __future__ import annotations

from typing import Final

import msgspec
from floodmark.format.frame import Frame, FrameKind

from consensus.core import checkpoint_format
from consensus.core import membership as members
from consensus.core.checkpoint_format import State
from consensus.core.disk_loss_recovery import Stage
from consensus.core.state_files import StateFiles
from consensus.types import Membership
from node.metadata.levels import Levels
from node.metadata.machine import MetadataMachine
from node.recovery.partition_state import PARTITION_STATE, PartitionState
from node.replicas.replica_store import LOST_MARKER
from storage import checkpoint, segment_header, vote
from storage.atomic_file import read_file
from storage.errors import LogTooNew
from storage.filesystem import FileSystem
from storage.state_file import SUFFIX as STATE_SUFFIX
from storage.state_file import BadState
from storage.verify import ReplicaReport, verify_replica

Members = tuple[tuple[str, ...], tuple[str, ...]]
"""Voters and learners, sorted."""

FIRST_INDEX: Final = 2
"""The first index of a log from which nothing was trimmed."""


class ReplicaSurvey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One replica. Indexes and offsets are those of its intact part, from the beginning."""

    raft_group: int
    last_index: int
    last_term: int
    start_offset: int
    next_offset: int
    size_bytes: int
    term: int
    """The highest term that it has met: above ``last_term`` if it has no entry of a later leader."""
    committed: int
    """The last index that it knows to be committed; more may be."""
    may_vote: bool
    """Whether it has all that it ever acknowledged."""
    memberships: tuple[Members, ...]
    """The newest committed one that it knows, and later ones. Empty: the initial one."""
    damage: str = ""
    """The damage after ``last_index``; empty where there is none."""
    is_usable: bool = True
    """Whether the group can continue from it; else only ``damage`` matters."""
    committed_offset: int = 0
    """Records below it are known to be committed."""
    state_index: int = 0
    """The last entry that is part of the state which a partition's replica has stored; 0 for other groups."""


class MetadataLook:
    """Builds the metadata's state from its replica: the whole log counts, committed or not."""

    def __init__(self, levels: Levels) -> None:
        self._machine = MetadataMachine(levels)
        self.snapshot = b""
        self.problem = "there is no replica of the metadata in this folder"

    def begin(self, state: State | None) -> None:
        """Start from the checkpoint's state."""
        self._machine.restore(state.machine if state is not None else b"")

    def take(self, frame: Frame) -> None:
        """Apply the next frame."""
        self._machine.apply(frame)

    def end(self, problem: str) -> None:
        """The replica was read; ``problem`` is why it cannot be used, if so."""
        self.problem = problem or self._machine.halted or ""
        if not self.problem:
            self.snapshot = self._machine.snapshot()


class _Reader:
    """Follows the frames of one replica until one is missing or out of place."""

    def __init__(self, state: State | None, metadata: MetadataLook | None) -> None:
        self._applied = 0 if state is None else state.applied
        self._metadata = metadata
        self.history: list[Members] = [] if state is None else [_lists(state.memberships[0][1])]
        self.committed, self.committed_offset = (0, 0) if state is None else (state.applied, state.offset)
        self.last: Frame | None = None
        self.is_broken = False

    def see(self, frame: Frame) -> None:
        last = self.last
        if last is not None and frame.index != last.last_index + 1:
            self.is_broken = True
        if self.is_broken:
            return
        self.last = msgspec.structs.replace(
            frame, payload=frame.payload if frame.kind is FrameKind.GAP else b""
        )
        if frame.kind is FrameKind.GAP and frame.last_index > self.committed:
            self.committed, self.committed_offset = frame.last_index, frame.next_offset
        if frame.index <= self._applied:
            return
        if frame.kind is FrameKind.MEMBERSHIP:
            self.history.append(_lists(members.decode(frame.payload)))
        elif frame.kind is FrameKind.COMMAND and self._metadata is not None:
            self._metadata.take(frame)


def look_at(
    fs: FileSystem,
    folder: str,
    raft_group: int,
    metadata: MetadataLook | None,
    *,
    of_partition: PartitionState = PARTITION_STATE,
) -> ReplicaSurvey | None:
    """Read all of a replica; None where the folder holds none. Raises ``OSError``."""
    state_index = 0
    try:
        stored = checkpoint.load(fs, folder).checkpoint
        state = checkpoint_format.decode(stored.state) if stored is not None and stored.state else None
        if metadata is None and state is not None:
            state_index = of_partition.last_index(state.machine)
        if metadata is not None:
            metadata.begin(state)
    except (LogTooNew, ValueError) as error:
        return _unusable(fs, folder, raft_group, str(error), metadata)
    if stored is not None and stored.resetting:
        return _with_state(_starting_over(fs, folder, raft_group, stored, state, metadata), state_index)
    if not any(segment_header.base_index_of(name) is not None for name in fs.listdir(folder)):
        return None
    reader = _Reader(state, metadata)
    report = verify_replica(fs, folder, on_frame=reader.see)
    problem = _problem(report, state, is_metadata=metadata is not None) or _state_problem(
        fs, folder, report, state
    )
    if metadata is not None:
        metadata.end(problem)
    if problem:
        return _unusable(fs, folder, raft_group, problem, None)
    promised = vote.newest(read_file(fs, f"{folder}/{vote.NAME}") or b"")
    is_sound = report.is_sound and not fs.exists(f"{folder}/{LOST_MARKER}")
    stage = Stage.SOUND if state is None else state.stage
    last = reader.last
    found = ReplicaSurvey(
        raft_group,
        report.last_index if last is None else last.last_index,
        report.last_term if last is None else last.term,
        report.start_offset,
        report.next_offset if last is None else last.next_offset,
        report.size_bytes,
        max(promised.term if promised is not None else 0, report.last_term),
        reader.committed,
        is_sound and promised is not None and not promised.recover_until and stage is Stage.SOUND,
        tuple(reader.history),
        _damage(report),
        committed_offset=reader.committed_offset,
    )
    return _with_state(found, state_index)


def _with_state(found: ReplicaSurvey, state_index: int) -> ReplicaSurvey:
    """What is in a state was committed, also where the log does not have it."""
    committed = max(found.committed, state_index)
    return msgspec.structs.replace(found, committed=committed, state_index=state_index)


def _starting_over(
    fs: FileSystem,
    folder: str,
    raft_group: int,
    decided: checkpoint.Checkpoint,
    state: State | None,
    metadata: MetadataLook | None,
) -> ReplicaSurvey:
    """A replica that was installing another's state when it was stopped, before its old log was removed: its
    next start finishes that. It votes again once it has been told that it may.
    """
    if metadata is not None:
        metadata.end("")
    reader = _Reader(state, None)
    promised = vote.newest(read_file(fs, f"{folder}/{vote.NAME}") or b"")
    return ReplicaSurvey(
        raft_group,
        decided.index,
        decided.term,
        decided.offset,
        decided.offset,
        0,
        max(promised.term if promised is not None else 0, decided.term),
        reader.committed,
        may_vote=False,
        memberships=tuple(reader.history),
        committed_offset=reader.committed_offset,
    )


def _problem(report: ReplicaReport, state: State | None, *, is_metadata: bool) -> str:
    """Why the group cannot go on from this replica; empty where it can."""
    if report.is_too_new:
        return next(finding.what for finding in report.findings if finding.is_too_new)
    bad = _first_bad(report)
    if bad is None:
        return ""
    covered = 0 if state is None else state.applied
    # Without its checkpoint neither the predecessor of a trimmed log's first frame nor the state before it
    # is known.
    if (report.base_index > FIRST_INDEX or is_metadata) and bad <= covered:
        return _damage(report)
    return "" if bad > report.base_index else _damage(report)


def _state_problem(fs: FileSystem, folder: str, report: ReplicaReport, state: State | None) -> str:
    """Why the log does not lead to the state of a machine that keeps it in files; empty where it does.

    A whole log leads to it from its first frame on; a trimmed one only from the file that its checkpoint
    names.
    """
    if state is None or state.reference is None or report.base_index <= FIRST_INDEX:
        return ""
    try:
        StateFiles(fs, folder).verify(state.reference)
    except (BadState, OSError) as error:
        return f"{folder}/{state.reference.name}, from which the log goes on, cannot be read: {error}"
    return ""


def _first_bad(report: ReplicaReport) -> int | None:
    """The first bad frame's index; 0 for damage that no frame bounds. That of the vote is ignored, and that
    of state files (``_state_problem``).
    """
    found = [
        finding.index or 0
        for finding in report.findings
        if finding.is_damage and not finding.path.endswith((f"/{vote.NAME}", STATE_SUFFIX))
    ]
    return min(found, default=None)


def _damage(report: ReplicaReport) -> str:
    found = [finding for finding in report.findings if finding.is_damage]
    return "; ".join(f"{finding.path} at byte {finding.position}: {finding.what}" for finding in found[:3])


def _unusable(
    fs: FileSystem, folder: str, raft_group: int, problem: str, metadata: MetadataLook | None
) -> ReplicaSurvey:
    if metadata is not None:
        metadata.end(problem)
    promised = vote.newest(read_file(fs, f"{folder}/{vote.NAME}") or b"")
    term = promised.term if promised is not None else 0
    return ReplicaSurvey(
        raft_group, 0, 0, 0, 0, 0, term, 0, may_vote=False, memberships=(), damage=problem, is_usable=False
    )


def _lists(membership: Membership) -> Members:
    return tuple(sorted(membership.voters)), tuple(sorted(membership.learners))
