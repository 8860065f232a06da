"""The producer table is the same with and without compaction, at every index behind what was compacted."""

from __future__ import annotations

import random

import pytest
from floodmark.format.batch import decode_header
from floodmark.format.frame import Frame, FrameFlag, FrameKind, crc_of, gap
from floodmark.format.frame_records import form_of
from floodmark.format.position import Position, Source, behind

from node.partition.kept_entries import entries_to_keep
from node.partition.producers import Command, ProducerTable, packed
from node.partition.source_positions import Begun, Moved
from tests.simulation.producers import Producers


def _source(rng: random.Random) -> Source:
    return Source(rng.choice("gh"), rng.randint(1, 2), rng.randint(0, 2))


def _command(rng: random.Random, producers: Producers, index: int) -> bytes:
    """Forgets producers, begins an epoch, moves positions, or removes a group's."""
    what = rng.random()
    if rng.random() < 0.5:
        moved = [Moved(*_source(rng), index, index, b"p") for _ in range(rng.randint(1, 2))]
        begun = [Begun(*_source(rng), index)] if rng.random() < 0.2 else []
        return packed(Command([], begin=begun, move=moved))
    if what < 0.3:
        return packed(Command([], begin=[Begun(*_source(rng), index)]))
    return packed(Command([], remove=["h"])) if what < 0.35 else producers.forget(b"%d" % index)


def _log(rng: random.Random, beside: random.Random, count: int) -> list[Frame]:
    """Batches of idempotent producers, with positions and without, and of nobody; commands, no-ops; times
    that jump.
    """
    producers, frames, offset = Producers(rng), [], 0
    for index in range(2, 2 + count):
        time = index * 10 + rng.choice((0, 0, 0, 5000))
        kind = rng.choices((FrameKind.RECORDS, FrameKind.COMMAND, FrameKind.NOOP), (20, 4, 1))[0]
        records, form = 0, {}
        payload = b""
        if kind is FrameKind.RECORDS:
            records = rng.randint(1, 3)
            payload = producers.batch(time, b"%d" % index, records)
            form = form_of(decode_header(payload))._asdict()
            if decode_header(payload).is_idempotent and beside.random() < 0.3:
                payload = behind(payload, Position(*_source(beside), index))
                form |= {"flags": FrameFlag.ATTRIBUTES, "level": 2}
        elif kind is FrameKind.COMMAND:
            payload = _command(beside, producers, index)
        frames.append(Frame(index, 1, offset, time, records, kind, payload, crc_of(payload), **form))
        offset += records
    return frames


def _compacted(frames: list[Frame], rng: random.Random) -> list[Frame]:
    """One segment without what may go, and perhaps with some of that."""
    kept, share = entries_to_keep(frames), rng.choice((0.0, 0.0, 0.3))
    found: list[Frame] = []
    for frame in frames:
        if frame.index in kept or frame.kind is FrameKind.GAP or rng.random() < share:
            found.append(frame)
            continue
        found.append(
            gap(
                frame.index,
                1,
                frame.first_offset,
                frame.append_time,
                entries=1,
                offset_count=frame.offset_count,
            )
        )
    return found


def _apply(table: ProducerTable, frame: Frame) -> None:
    """As a group does: gaps are nothing to the machine."""
    if frame.kind in (FrameKind.RECORDS, FrameKind.COMMAND):
        table.apply(frame)


@pytest.mark.parametrize("seed", range(60))
def test_the_table_is_the_same_behind_every_compacted_segment(seed: int) -> None:
    """However often, with whatever ends of segments: what one replica compacted another compacts again."""
    rng = random.Random(seed)
    whole = _log(rng, random.Random(-1 - seed), 700)
    thin, certain_from = list(whole), [0] * (len(whole) + 1)
    for _ in range(rng.randint(1, 4)):
        at = 0
        while at < len(thin):
            size = rng.randint(40, 150)
            if at + size <= len(thin) and rng.random() < 0.8:
                thin[at : at + size] = _compacted(thin[at : at + size], rng)
                for place in range(at, at + size):
                    certain_from[place] = max(certain_from[place], at + size - 1)
            at += size
    assert sum(frame.kind is FrameKind.GAP for frame in thin) > 20
    full, table = ProducerTable(), ProducerTable()
    uncertain_until = -1
    compared = 0
    for at, (frame, left) in enumerate(zip(whole, thin, strict=True)):
        _apply(full, frame)
        _apply(table, left)
        if left.kind is FrameKind.GAP:
            uncertain_until = max(uncertain_until, certain_from[at])
        if at >= uncertain_until:
            assert table.snapshot() == full.snapshot(), f"seed {seed}, entry {frame.index}"
            compared += 1
    assert compared >= 1
    assert len(full.positions.kept) > 5
