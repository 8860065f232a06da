"""The contents of the nodes' data folders after the run, read through ``storage`` without the nodes.

Groups are recognised by their records, which name the topic and partition that they were written to. A group
is the same partition on every node, so a replica without any record is recognised by the others.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from floodmark.errors import FloodmarkError
from floodmark.format.frame import Frame, FrameKind
from floodmark.format.frame_records import has_records, records_in
from floodmark.format.record import Record

from chaos.checker.options import Place
from chaos.record_value import FOREIGN, decode
from storage.filesystem import FileSystem
from storage.verify import Finding, verify_replica

METADATA_GROUP: Final = 0
DEAD_SUFFIX: Final = ".dead"
"""The topic of dead letters has the name of that where they were first, with this."""
DEAD_HEADER: Final = "floodmark-dead-queue"
"""Of a record that a queue has put there."""
DEAD_PREFIX: Final = "floodmark-dead-"
MISSING: Final = -2
"""In place of a value that damage or compaction removed from a replica."""
UNKNOWN: Final = -1
"""In place of the first offset of an entry that was removed."""


@dataclass(frozen=True, slots=True)
class Death:
    """What a dead letter says of how it died. Two of a record are equal only if they are of one death."""

    deliveries: int = 0
    number: str = ""
    first_delivered: str = ""
    died: str = ""


@dataclass(slots=True)
class ReplicaState:
    """One replica. Offsets of ``values`` count from ``start_offset``; entries of all else from
    ``base_index``.

    ``frames`` holds one fingerprint per frame, its payload included; ``terms`` and ``firsts`` hold the term
    and first offset. Damage and compaction leave holes: MISSING, 0 and UNKNOWN. The terms of compacted
    entries are known.
    """

    node: str
    topic: str = ""
    partition: int = -1
    start_offset: int = 0
    values: array[int] = field(default_factory=lambda: array("q"))
    base_index: int = 2
    frames: array[int] = field(default_factory=lambda: array("Q"))
    digest: str = ""
    findings: tuple[Finding, ...] = ()
    terms: array[int] = field(default_factory=lambda: array("Q"))
    firsts: array[int] = field(default_factory=lambda: array("q"))
    deaths: dict[int, Death] = field(default_factory=dict)
    """Of dead letters, by their offsets."""

    @property
    def next_offset(self) -> int:
        """The offset after the last record."""
        return self.start_offset + len(self.values)

    @property
    def last_index(self) -> int:
        """The index of the last entry."""
        return self.base_index + len(self.frames) - 1

    def value_at(self, offset: int) -> int | None:
        """The value id at an offset, or None outside of the replica."""
        at = offset - self.start_offset
        return self.values[at] if 0 <= at < len(self.values) else None


def read_final_state(fs: FileSystem, data_dirs: Mapping[str, str]) -> list[ReplicaState]:
    """Every replica of every node, from the data folders; no node may be running.

    The metadata group, and groups without a workload's record on any node, are left out. Raises
    ``OSError``.
    """
    groups: dict[int, list[ReplicaState]] = defaultdict(list)
    for node, data_dir in data_dirs.items():
        folder = f"{data_dir}/groups"
        if not fs.exists(folder):
            continue
        for name in fs.listdir(folder):
            if name.isdigit() and int(name) != METADATA_GROUP:
                groups[int(name)].append(read_replica(fs, node, f"{folder}/{name}"))
    found: list[ReplicaState] = []
    for replicas in groups.values():
        named = [replica for replica in replicas if replica.topic]
        for replica in replicas if named else []:
            replica.topic, replica.partition = named[0].topic, named[0].partition
            found.append(replica)
    return found


def read_replica(fs: FileSystem, node: str, folder: str) -> ReplicaState:
    """Read one replica folder. ``topic`` stays empty if no record tells it. Raises ``OSError``."""
    reader = _ReplicaReader(ReplicaState(node))
    report = verify_replica(fs, folder, on_frame=reader.frame)
    state = reader.state
    if not report.frames:
        state.start_offset, state.base_index = report.start_offset, report.base_index
    state.digest, state.findings = report.digest, tuple(f for f in report.findings if f.is_damage)
    return state


class _ReplicaReader:
    """Builds the state of one replica from its frames."""

    def __init__(self, state: ReplicaState) -> None:
        self.state = state

    def frame(self, frame: Frame) -> None:
        state = self.state
        if not state.frames:
            state.base_index, state.start_offset = frame.index, frame.first_offset
        # Fill up what damage left out. A frame that is there twice is a finding, and is not compared.
        if frame.index <= state.last_index or frame.first_offset < state.next_offset:
            return
        self._skip(frame.index - state.last_index - 1, 0)
        state.values.extend([MISSING] * (frame.first_offset - state.next_offset))
        is_gap = frame.kind is FrameKind.GAP
        state.frames.append(0 if is_gap else _fingerprint(frame))
        state.terms.append(frame.term)
        state.firsts.append(frame.first_offset)
        self._skip(frame.last_index - frame.index, frame.term)
        if has_records(frame):
            state.values.extend(self._values(frame))
        else:
            state.values.extend([MISSING] * frame.offset_count)

    def _skip(self, entries: int, term: int) -> None:
        self.state.frames.extend([0] * entries)
        self.state.terms.extend([term] * entries)
        self.state.firsts.extend([UNKNOWN] * entries)

    def _values(self, frame: Frame) -> list[int]:
        state = self.state
        try:
            records = records_in(frame, frame.payload)
        except FloodmarkError:
            return [FOREIGN] * frame.offset_count
        values = []
        for record in records:
            if record is None:
                values.append(MISSING)
                continue
            told = decode(record.value or b"")
            topic = "" if told is None else told.topic + (DEAD_SUFFIX if _is_dead_letter(record) else "")
            if told is not None and not state.topic:
                state.topic, state.partition = topic, told.partition
            if topic.endswith(DEAD_SUFFIX):
                state.deaths[frame.first_offset + len(values)] = _death(record)
            astray = told is None or (topic, told.partition) != (state.topic, state.partition)
            values.append(FOREIGN if told is None or astray else told.value)
        return values


def _is_dead_letter(record: Record) -> bool:
    return bool(record.pairs) and DEAD_HEADER in record.headers


def _death(record: Record) -> Death:
    def said(name: str) -> str:
        return (found.get(DEAD_PREFIX + name) or b"").decode()

    found = dict(record.headers.pairs)
    deliveries = said("deliveries")
    return Death(
        int(deliveries) if deliveries.isdigit() else 0, said("number"), said("first-delivered"), said("died")
    )


def _fingerprint(frame: Frame) -> int:
    """A hash of the header, which holds the verified checksum of the payload: so of the whole frame."""
    digest = hashlib.blake2b(frame.pack_header(0), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def by_place(replicas: list[ReplicaState]) -> dict[Place, list[ReplicaState]]:
    """The replicas of each partition."""
    found: dict[Place, list[ReplicaState]] = defaultdict(list)
    for replica in replicas:
        found[(replica.topic, replica.partition)].append(replica)
    return dict(found)
