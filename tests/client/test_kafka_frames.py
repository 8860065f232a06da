"""Kafka record batches in frames: read like any others, or too new."""

from __future__ import annotations

from typing import Any

import pytest
from floodmark.consumer.consumed import ReadBatch
from floodmark.errors import InvalidBatch, TooNew
from floodmark.format import kafka_check
from floodmark.format.frame import Frame, FrameFlag, FrameHeader, FrameKind, PayloadType, crc_of, unlike, walk
from floodmark.format.frame_attributes import attributes, pack
from floodmark.format.frame_records import form_of, has_records, header_in, max_time_in, records_in, slices_in
from floodmark.format.kafka_header import Attribute, decode_stored_header
from floodmark.format.record import Record

from storage.scan import max_timestamp_in
from tests.support.kafka_batches import encode, resealed

RECORDS: list[Record | None] = [
    Record(1_000, b"a", b"1"),
    None,
    Record(3_000, b"b", None, pairs=[("h", b"1"), ("h", None)]),
]
BATCH = encode(RECORDS, codec="zstd")


def frame_of(payload: bytes, count: int = 3, flags: int = 0) -> Frame:
    """At index 9, from offset 40 on, appended at 7,000."""
    return Frame(
        9, 2, 40, 7_000, count, FrameKind.RECORDS, payload, crc_of(payload), PayloadType.KAFKA_2, flags, 2
    )


def met(frame: Frame) -> tuple[FrameHeader, memoryview]:
    """As a reader meets it."""
    (found,) = walk(frame.pack_header() + frame.payload)
    return found


@pytest.mark.parametrize("said", [{}, {1: [b"x" * 16, 1, 2]}])
def test_a_frame_of_kafkas_is_read_like_any_other(said: dict[int, Any]) -> None:
    """With attributes of ours behind the batch, too."""
    behind, flags = (pack(said), FrameFlag.ATTRIBUTES) if said else (b"", 0)
    frame = frame_of(BATCH + behind, flags=flags)
    header, payload = met(frame)
    assert unlike(frame) is None
    assert has_records(header)
    assert attributes(header, payload) == said
    assert header_in(header, payload) == decode_stored_header(BATCH).view()
    assert records_in(header, payload) == slices_in(header, payload).take(0, 3) == RECORDS
    read = ReadBatch(0, header, payload, start=41, end=None)
    assert [(one.offset, one.value, one.append_time) for one in read.consumed()] == [(42, None, 7_000)]


def test_the_form_of_a_frame_follows_from_its_batch() -> None:
    """As of our batches."""
    plain = kafka_check.check(encode([Record(1, None, b"")]))
    told = kafka_check.check(
        encode([Record(1, None, b"")], producer=(5, 0, 0), attributes=Attribute.TRANSACTIONAL)
    )
    assert tuple(form_of(plain)) == (PayloadType.KAFKA_2, 0, 2)
    assert tuple(form_of(told)) == (PayloadType.KAFKA_2, FrameFlag.TRANSACTIONAL, 2)


@pytest.mark.parametrize(
    ("batch", "latest"),
    [
        (BATCH, 3_000),
        (encode([Record(9_000, None, b""), Record(8_000, None, b"")]), 9_000),
        (encode([Record(None, None, b"")]), 7_000),
        (encode([Record(None, None, b""), Record(9_000, None, b"")]), 9_000),
        (encode([Record(None, None, b""), Record(6_000, None, b"")]), 7_000),
        (encode([Record(None, None, b"")], attributes=Attribute.LOG_APPEND_TIME, latest=5_000), 5_000),
        (encode([None]), 7_000),
    ],
)
def test_searches_by_time_find_its_greatest(batch: bytes, latest: int) -> None:
    """Storage asks with a buffer that reaches further; the smallest batch is shorter than ours."""
    frame = frame_of(batch)
    assert max_time_in(frame, batch, 0) == latest
    assert max_timestamp_in(b"before" + batch + b"behind", 6, met(frame)[0]) == latest


@pytest.mark.parametrize(("position", "value"), [(16, 3), (22, 3), (22, 0x48)])
def test_what_is_not_known_in_it_makes_the_frame_too_new(position: int, value: int) -> None:
    """Where both checksums are right; where only the frame's is, no newer build wrote it."""
    data = bytearray(BATCH)
    data[position] = value
    sealed = resealed(data)
    assert "holds a record batch that has Kafka's" in str(unlike(frame_of(sealed)))
    for read in (records_in, header_in, slices_in):
        with pytest.raises(TooNew):
            read(*met(frame_of(sealed)))
    if position == 16:
        flipped = Frame(**{**_fields(frame_of(BATCH)), "payload": sealed})
        with pytest.raises(InvalidBatch):
            records_in(flipped, flipped.payload)
    else:
        assert unlike(frame_of(bytes(data))) is None
        with pytest.raises(InvalidBatch):
            records_in(*met(frame_of(bytes(data))))


def _fields(frame: Frame) -> dict[str, Any]:
    return {name: getattr(frame, name) for name in frame.__struct_fields__}


def test_a_batch_of_another_frame_is_refused() -> None:
    """The frame's checksum is of all its bytes, and the batch's place outside of its own checksum is too."""
    frame = frame_of(BATCH)
    moved = Frame(**{**_fields(frame), "payload": b"\1" + BATCH[1:]})
    with pytest.raises(InvalidBatch, match="its frame"):
        records_in(moved, moved.payload)
