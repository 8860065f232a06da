"""The frame: what a replica writes is what a consumer reads, or an error."""

from __future__ import annotations

from typing import cast

import pytest
from floodmark.errors import InvalidBatch, TooNew
from floodmark.format.frame import (
    HEADER_BYTES,
    LEVEL,
    PAYLOAD_BYTES_MAX,
    Frame,
    FrameKind,
    crc_of,
    decode_header,
    first_damaged,
    gap,
    iterate,
    part_of_gap,
    unlike,
    walk,
)
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

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
    kind=st.sampled_from([kind for kind in FrameKind if kind is not FrameKind.GAP]),
    payload=st.binary(max_size=100),
    synced=U64,
    level=st.sampled_from((0, 1)),
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
    level: int,
    before: bytes,
) -> None:
    """Every field survives, at any position of a buffer."""
    frame = Frame(index, term, offset, time, count, kind, payload, crc_of(payload), level=level)
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


BYTE = st.integers(0, 255)


@given(kind=BYTE, payload_type=BYTE, flags=BYTE, level=BYTE, index=U64, synced=U64)
def test_what_this_build_does_not_know_is_too_new_and_never_damage(
    kind: int, payload_type: int, flags: int, level: int, index: int, synced: int
) -> None:
    """Any kind, payload type, flags and level, with right checksums: known, or ``TooNew``, and never None."""
    named = FrameKind(kind) if kind in list(FrameKind) else cast(FrameKind, kind)
    frame = Frame(index, 4, 7, 1000, 3, named, b"hello", crc_of(b"hello"), payload_type, flags, level)
    data = frame.pack_header(synced) + b"hello"
    header = decode_header(data, too_new_as_well=True)
    assert header is not None
    assert (header.with_payload(b"hello"), header.synced) == (frame, synced)
    types = (0, 1, 2, 3) if named is FrameKind.RECORDS else (0,)
    is_known = kind <= 3 and payload_type in types and flags < 16 and level <= LEVEL
    assert (unlike(header) is None) is (unlike(frame) is None) is is_known
    if is_known:
        assert decode_header(data) == header
        return
    for read in (decode_header, iterate, walk, first_damaged):
        with pytest.raises(TooNew) as caught:
            list(read(data) or ())  # type: ignore[operator]
        assert str(caught.value) == f"frame {index} {unlike(header)}: start a newer Floodmark"


@pytest.mark.parametrize(
    ("other", "unlike_what"),
    [
        ({"level": LEVEL + 1}, f"needs feature level {LEVEL + 1}, this build knows {LEVEL}"),
        ({"kind": 9}, "is of kind 9, this build knows 0 to 4"),
        ({"payload_type": 9}, "has payload type 9, this build knows 0, and of records 1 to 3"),
        (
            {"kind": FrameKind.COMMAND, "payload_type": 1},
            "has payload type 1, this build knows 0, and of records 1 to 3",
        ),
        ({"flags": 0x40}, "has flags 0x40, this build knows 0x0f"),
        (
            {"kind": 9, "payload_type": 9, "level": LEVEL + 1},
            f"needs feature level {LEVEL + 1}, this build knows {LEVEL}",
        ),
    ],
)
def test_too_new_says_what_was_met_and_what_is_known(other: dict[str, int], unlike_what: str) -> None:
    """The level first: it says most."""
    with pytest.raises(TooNew, match=f"^frame 2 {unlike_what}: start a newer Floodmark$"):
        decode_header(replace(make(), **other).pack_header())


def test_a_newer_build_may_have_longer_payloads() -> None:
    """A length above this build's cap is no header of its own level, and too new at another one."""
    for level, expected in ((1, None), (LEVEL + 1, TooNew)):
        packed = bytearray(replace(make(), level=level).pack_header())
        packed[8:12] = (PAYLOAD_BYTES_MAX + 1).to_bytes(4, "little")
        packed[4:8] = crc_of(bytes(packed[8:])).to_bytes(4, "little")
        if expected is None:
            assert decode_header(packed) is None
        else:
            with pytest.raises(expected):
                decode_header(packed)


@given(
    index=st.integers(0, 2**40),
    offset=st.integers(0, 2**40),
    entries=st.integers(1, 2**40),
    count=st.integers(0, 2**32 - 1),
    behind=st.binary(max_size=100),
)
def test_a_gap_tells_how_many_entries_it_stands_for(
    index: int, offset: int, entries: int, count: int, behind: bytes
) -> None:
    """As a frame, and as a header where all of it is there; of a part of it nobody believes a number."""
    one = gap(index, 4, offset, 1000, entries=entries, offset_count=count)
    data = one.pack_header(7) + one.payload
    assert one.last_index == index + entries - 1
    assert list(iterate(data + behind[:60])) == [one]
    header = decode_header(data + behind)
    assert header is not None
    assert (header.last_index, header.next_offset, header.synced) == (one.last_index, one.next_offset, 7)
    assert header.with_payload(one.payload) == one
    for length in range(HEADER_BYTES, len(data)):
        cut = decode_header(data[:length])
        assert cut is not None
        assert cut.entries == 0
        assert list(iterate(data[:length])) == []


def test_a_gap_that_stands_for_nothing_is_none() -> None:
    """Damaged, or by no entries at all. One that says more than that is of a newer build."""
    one = gap(5, 4, 7, 1000, entries=3, offset_count=3)
    for payload in (bytes(8), b"\xff" * 8):
        none = replace(one, payload=payload, payload_crc=crc_of(payload))
        header = decode_header(none.pack_header() + payload)
        assert header is not None
        assert header.entries == 0
        with pytest.raises(InvalidBatch):
            list(iterate(none.pack_header() + payload))
    flipped = bytes([one.payload[0] ^ 1]) + one.payload[1:]
    header = decode_header(one.pack_header() + flipped)
    assert header is not None
    assert header.entries == 0
    for strange in (b"", one.payload + b"more"):
        other = replace(one, payload=strange, payload_crc=crc_of(strange))
        with pytest.raises(TooNew, match="is a gap of"):
            decode_header(other.pack_header() + strange)


def test_a_part_of_a_gap_ends_where_it_is_told_to() -> None:
    """What a follower lacks of one, or what a hole in a segment needs."""
    whole = gap(10, 4, 100, 1000, entries=10, offset_count=50)
    part = part_of_gap(whole, 13, 17, 120, 140)
    assert (part.index, part.last_index, part.first_offset, part.next_offset) == (13, 17, 120, 140)
    assert (part.term, part.append_time, part.kind, part.level) == (4, 1000, FrameKind.GAP, 2)
