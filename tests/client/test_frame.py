"""The frame: what a replica writes is what a consumer reads, or an error."""

from __future__ import annotations

import pytest
from floodmark.errors import InvalidBatch
from floodmark.frame import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    Frame,
    FrameKind,
    crc_of,
    decode_header,
    iterate,
    walk,
)
from hypothesis import given
from hypothesis import strategies as st

U64 = st.integers(0, 2**64 - 1)


def make(payload: bytes = b"hello", index: int = 2, first_offset: int = 7, count: int = 3) -> Frame:
    """A frame of records."""
    return Frame(index, 4, first_offset, 1000, count, FrameKind.RECORDS, payload, crc_of(payload))


@given(
    index=U64,
    term=U64,
    offset=st.integers(0, 2**62),
    time=st.integers(-(2**63), 2**63 - 1),
    count=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(FrameKind),
    payload=st.binary(max_size=100),
    synced=U64,
    before=st.binary(max_size=10),
)
def test_what_goes_in_comes_out(
    index: int,
    term: int,
    offset: int,
    time: int,
    count: int,
    kind: FrameKind,
    payload: bytes,
    synced: int,
    before: bytes,
) -> None:
    """Every field survives, at any position of a buffer."""
    frame = Frame(index, term, offset, time, count, kind, payload, crc_of(payload))
    data = before + frame.pack_header(synced) + payload
    header = decode_header(data, len(before))
    assert header is not None
    assert header.synced == synced
    assert header.size == frame.size == HEADER_BYTES + len(payload)
    assert header.next_offset == frame.next_offset == offset + count
    assert header.with_payload(payload) == frame
    assert list(iterate(data[len(before) :])) == [frame]


def test_every_flipped_bit_is_found() -> None:
    """A frame with one bit changed, in header or payload, is never handed out."""
    good = make().pack_header() + b"hello"
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            with pytest.raises(InvalidBatch):
                list(iterate(bytes(bad)))


def test_a_walk_shows_frames_as_they_lie_there() -> None:
    """What ``iterate`` gives, payloads as views; a bad header is an error, a payload is not looked at."""
    data = b"".join(make(index=index).pack_header() + b"hello" for index in (2, 3))
    assert [header.with_payload(bytes(payload)) for header, payload in walk(data)] == list(iterate(data))
    assert all(payload.obj is data for _, payload in walk(data))
    assert len(list(walk(data[:-1]))) == 1
    assert len(list(walk(data[:-1] + b"x"))) == 2
    with pytest.raises(InvalidBatch):
        list(walk(b"x" + data))


def test_a_partial_frame_at_the_end_is_left_out() -> None:
    """A slice that was cut anywhere in its second frame gives the first one and no error."""
    first, second = make(), make(index=3, first_offset=10)
    data = first.pack_header() + first.payload + second.pack_header() + second.payload
    for cut in range(first.size, len(data)):
        assert list(iterate(data[:cut])) == [first]
    assert list(iterate(data)) == [first, second]


def test_a_header_is_only_seen_where_one_stands() -> None:
    """Too few bytes, another position, or a length above the cap are no header."""
    data = make().pack_header()
    assert decode_header(data[:-1]) is None
    assert decode_header(data, 1) is None
    assert decode_header(b"") is None
    assert decode_header(memoryview(bytearray(data))) is not None
    huge = Frame(2, 1, 0, 0, 0, FrameKind.NOOP, b"", 0)
    packed = bytearray(huge.pack_header())
    packed[8:12] = (PAYLOAD_BYTES_MAX + 1).to_bytes(4, "little")
    packed[4:8] = crc_of(bytes(packed[8:])).to_bytes(4, "little")
    assert decode_header(packed) is None


def test_a_payload_of_another_length_is_refused() -> None:
    """with_payload takes exactly the payload that the header was made for."""
    header = decode_header(make().pack_header())
    assert header is not None
    for payload in (b"hell", b"hellp", b"hello!"):
        with pytest.raises(InvalidBatch):
            header.with_payload(payload)
