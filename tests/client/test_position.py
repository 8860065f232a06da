"""Positions as an attribute of frames and as a header: what is one comes back, what is none is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from floodmark.consumer.consumed import ReadBatch
from floodmark.errors import InvalidBatch, InvalidName, InvalidRequest
from floodmark.format import batch
from floodmark.format.frame import USUAL, Frame, FrameHeader, FrameKind, crc_of, decode_header, iterate
from floodmark.format.frame_attributes import Attribute, attributes, pack
from floodmark.format.frame_records import WITH_POSITION, records_in
from floodmark.format.position import Position, behind, of_header, position_in
from floodmark.format.record import Record

RECORDS = [Record(1, None, b"a"), Record(2, b"k", b"b")]
MADE = batch.encode(RECORDS, format=2, producer_id=batch.producer_id_of("p"))
POSITIONS = [
    Position("g", 7, 3, 1042),
    Position("a", 1, 0, 0),
    Position("A.z_0-9" * 30, 2**62 - 1, 2**31 - 1, 2**62 - 1),
    Position("x" * 249, 256, 65_536, 2**32),
]


def framed(payload: bytes) -> tuple[FrameHeader, bytes]:
    """As a reader meets it."""
    frame = Frame(9, 2, 40, 7_000, 2, FrameKind.RECORDS, payload, crc_of(payload), **WITH_POSITION._asdict())
    header = decode_header(frame.pack_header())
    assert header is not None
    return header, payload


@pytest.mark.parametrize("position", POSITIONS, ids=range(len(POSITIONS)))
def test_a_position_stands_behind_its_batch_and_in_its_header(position: Position) -> None:
    """Both ways; the records are read as if it were not there."""
    header, payload = framed(behind(MADE, position))
    assert payload.startswith(MADE)
    assert position_in(header, payload) == position
    assert of_header(position.as_header()) == position
    assert records_in(header, payload) == RECORDS
    assert ReadBatch(0, header, payload, start=40, end=None).records == RECORDS


def test_readers_look_its_header_up_like_those_of_other_batches() -> None:
    """At the level that they knew before there were positions: who only reads need not know of them."""
    header, _ = framed(behind(MADE, Position("g", 7, 3, 9)))
    what = header.kind | header.payload_type << 8 | header.flags << 16 | header.level << 24
    assert what in USUAL
    assert header.level == 2


def test_other_attributes_stay_beside_it() -> None:
    """What a later build adds."""
    said = {int(Attribute.POSITION): ["g", 7, 3, 9], int(Attribute.PRINCIPAL): "ann", 77: None}
    header, payload = framed(MADE + pack(said))
    assert position_in(header, payload) == Position("g", 7, 3, 9)
    assert attributes(header, payload) == said
    assert position_in(*framed(MADE + pack({2: "ann"}))) is None


@pytest.mark.parametrize(
    "said",
    [
        1,
        "g",
        [],
        {},
        ["g", 7, 3],
        ["g", 7, 3, 9, 0],
        ["g", 7, 3, True],
        ["g", 7, 3, 9.0],
        ["g", 7, 3, "9"],
        [b"g", 7, 3, 9],
        ["", 7, 3, 9],
        ["a/b", 7, 3, 9],
        ["g" * 250, 7, 3, 9],
        ["g", 0, 3, 9],
        ["g", 2**62, 3, 9],
        ["g", 7, -1, 9],
        ["g", 7, 2**31, 9],
        ["g", 7, 3, -1],
        ["g", 7, 3, 2**63],
    ],
    ids=str,
)
def test_what_is_no_position_is_damage(said: Any) -> None:
    """No error but that one, and the records are read all the same."""
    header, payload = framed(MADE + pack({int(Attribute.POSITION): said}))
    with pytest.raises(InvalidBatch):
        position_in(header, payload)
    assert records_in(header, payload) == RECORDS


def test_every_damaged_byte_is_noticed() -> None:
    """By the frame's checksum, whether it is of the batch or of the position."""
    frame = Frame(9, 2, 40, 7_000, 2, FrameKind.RECORDS, b"", 0, **WITH_POSITION._asdict())
    payload = behind(MADE, Position("g", 7, 3, 9))
    whole = msgspec.structs.replace(frame, payload=payload, payload_crc=crc_of(payload))
    stored = whole.pack_header() + payload
    assert list(iterate(stored)) == [whole]
    for at in range(64, len(stored)):
        broken = bytearray(stored)
        broken[at] ^= 0x40
        with pytest.raises(InvalidBatch):
            list(iterate(broken))


@pytest.mark.parametrize(
    "text", ["", "g", "g;7;3", "g;7;3;1;2", "g;7;3;+1", "g;7;3;1_0", "g;7;3;\u0661", "g;0;3;1"]
)
def test_a_header_that_says_no_position_is_refused(text: str) -> None:
    """With what is expected."""
    with pytest.raises(InvalidRequest):
        of_header(text)
    with pytest.raises(InvalidName):
        of_header("a b;7;3;1")
    assert of_header(" g ; 7 ; 3 ; 1 ") == Position("g", 7, 3, 1)
