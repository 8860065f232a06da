"""What is in a frame: batches of both formats, attributes behind them, control frames."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from floodmark.consumer.consumed import ReadBatch
from floodmark.errors import InvalidBatch, TooNew
from floodmark.format import batch, control, frame_attributes, kafka_header
from floodmark.format.batch import BatchFlag, ProducerKind
from floodmark.format.control import EndOfTransaction
from floodmark.format.frame import (
    USUAL,
    Frame,
    FrameFlag,
    FrameHeader,
    FrameKind,
    PayloadType,
    crc_of,
    decode_header,
    unlike,
    walk,
)
from floodmark.format.frame_attributes import ATTRIBUTES_BYTES_MAX, Attribute, attributes, pack, split
from floodmark.format.frame_records import form_of, has_records, header_in, records_in
from floodmark.format.record import Record
from hypothesis import given
from hypothesis import strategies as st

RECORDS: list[Record | None] = [
    Record(1, b"a", b"1"),
    Record(None, b"b", None, pairs=[("h", b"1"), ("h", None)]),
]
VALUES = st.integers(-(2**63), 2**63) | st.text(max_size=5) | st.binary(max_size=16)


def framed(payload: bytes, count: int, **form: Any) -> tuple[FrameHeader, memoryview]:
    """As a reader meets it."""
    frame = Frame(9, 2, 40, 7_000, count, FrameKind.RECORDS, payload, crc_of(payload), **form)
    header = decode_header(frame.pack_header())
    assert header is not None
    found = list(walk(frame.pack_header() + payload))
    assert [item[0] for item in found] == [header]
    return found[0]


@given(said=st.dictionaries(st.integers(0, 2**31), VALUES | st.lists(VALUES, max_size=3), max_size=5))
def test_attributes_stand_behind_a_batch_that_stays_as_it_is(said: dict[int, Any]) -> None:
    """All of them come back, also those that this build has no name for; the batch is the producer's own."""
    made = batch.encode(RECORDS, format=2)
    frame, payload = framed(made + pack(said), 2, payload_type=1, flags=FrameFlag.ATTRIBUTES, level=2)
    assert (split(frame, payload)[0], attributes(frame, payload)) == (made, said)
    assert (header_in(frame, payload), records_in(frame, payload)) == (batch.decode_header(made), RECORDS)
    read = ReadBatch(0, frame, payload, start=41, end=None)
    assert (list(read.offsets), read.records) == ([41], RECORDS[1:])


def test_a_frame_without_the_flag_has_no_attributes() -> None:
    """Whatever its last bytes are."""
    frame, payload = framed(batch.encode(RECORDS, format=2), 2, payload_type=1, level=2)
    assert attributes(frame, payload) == {}
    assert records_in(frame, payload) == RECORDS


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x03\x00", b"\x81\x02\x00", b"\xc1\x01\x00"])
def test_attributes_that_cannot_be_are_damage(payload: bytes) -> None:
    """No error but that one."""
    frame, whole = framed(payload, 1, payload_type=1, flags=FrameFlag.ATTRIBUTES, level=2)
    with pytest.raises(InvalidBatch):
        attributes(frame, whole)
    with pytest.raises(InvalidBatch):
        records_in(frame, whole)


def test_attributes_are_bounded() -> None:
    """Their length is two bytes."""
    with pytest.raises(ValueError, match="at most"):
        pack({Attribute.PRINCIPAL: "x" * ATTRIBUTES_BYTES_MAX})
    assert len(pack({Attribute.STREAM: [bytes(16), 1, 2]})) < 32
    assert frame_attributes.pack({}) == b"\x80\x01\x00"


def test_the_form_of_a_frame_follows_from_its_batch() -> None:
    """Frames of format 1 are what they always were."""
    old = batch.decode_header(batch.encode([Record(1, None, b"")]))
    new = batch.decode_header(batch.encode([Record(1, None, b"")], format=2))
    in_transaction = batch.decode_header(
        batch.encode(
            [Record(1, None, b"")],
            format=2,
            producer_id=batch.numbered_id_of(5),
            producer_kind=ProducerKind.NUMBERED,
            transactional=True,
        )
    )
    assert tuple(form_of(old)) == (0, 0, 0)
    assert tuple(form_of(new)) == (PayloadType.BATCH_2, 0, 2)
    assert tuple(form_of(in_transaction)) == (PayloadType.BATCH_2, FrameFlag.TRANSACTIONAL, 2)


@pytest.mark.parametrize("transactional", [False, True])
@pytest.mark.parametrize("batch_format", [1, 2, kafka_header.FORMAT])
def test_every_form_that_a_batch_gives_its_frame_is_a_usual_one(
    batch_format: int, *, transactional: bool
) -> None:
    """They are read by the short paths; what these say of them is what their frames were made with."""
    plain = batch.decode_header(batch.encode(RECORDS, format=2))
    flags = int(BatchFlag.TRANSACTIONAL) if transactional and batch_format > 1 else 0
    form = form_of(msgspec.structs.replace(plain, format=batch_format, flags=flags))
    frame = Frame(9, 2, 40, 7_000, 2, FrameKind.RECORDS, b"x", crc_of(b"x"), *form)
    header = decode_header(frame.pack_header())
    said = int.from_bytes(frame.pack_header()[52:56], "little")
    assert header is not None
    assert USUAL[said] == (header.kind, header.payload_type, header.flags, header.level)
    assert USUAL[said] == (FrameKind.RECORDS, *form)


def test_no_gap_and_no_frame_of_a_newer_build_is_a_usual_one() -> None:
    """They need the long way: one has no end of its own, the other is refused."""
    for kind, payload_type, flags, level in USUAL.values():
        assert kind is not FrameKind.GAP
        assert unlike(Frame(9, 2, 40, 7_000, 2, kind, b"", 0, payload_type, flags, level)) is None


def test_records_that_were_removed_are_passed_over() -> None:
    """The others keep their offsets."""
    kept = [None, Record(1, b"a", b"1"), None, None, Record(2, b"b", b"2"), None]
    frame, payload = framed(
        batch.encode(kept, format=2), 6, payload_type=1, flags=FrameFlag.COMPACTED, level=2
    )
    read = ReadBatch(0, frame, payload, start=40, end=None)
    assert [(one.offset, one.value) for one in read.consumed()] == [(41, b"1"), (44, b"2")]
    assert (read.first_offset, read.next_offset) == (40, 46)
    part = ReadBatch(0, frame, payload, start=42, end=45)
    assert [(one.offset, one.value) for one in part.consumed()] == [(44, b"2")]


@given(
    result=st.sampled_from(["commit", "abort"]),
    producer=st.integers(1, 2**63 - 1),
    epoch=st.integers(0, 2**15 - 1),
    coordinator=st.integers(0, 2**31 - 1),
)
def test_a_control_frame_ends_a_transaction_and_has_no_records(
    result: Any, producer: int, epoch: int, coordinator: int
) -> None:
    """It takes up one offset, which no reader sees."""
    end = EndOfTransaction(result, producer, epoch, coordinator)
    frame, payload = framed(
        control.encode(end), 1, payload_type=PayloadType.CONTROL, flags=FrameFlag.CONTROL, level=2
    )
    assert not has_records(frame)
    assert (control.decode(payload), records_in(frame, payload)) == (end, [])
    assert frame.next_offset == 41


def test_a_control_frame_of_another_kind_is_too_new() -> None:
    """What is no control frame at all is damage."""
    with pytest.raises(TooNew, match="is of kind 'fence', this build knows 'end_transaction'"):
        control.decode(b"\x81\xa4kind\xa5fence")
    for payload in (b"", b"\x80", b"\x81\xa4kind\xafend_transaction"):
        with pytest.raises(InvalidBatch):
            control.decode(payload)
