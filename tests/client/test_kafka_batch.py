"""Kafka record batches of format 2: records come out as they went in, and nothing grows without bound."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import google_crc32c
import pytest
import zstandard
from floodmark.errors import FloodmarkError, InvalidBatch, InvalidRequest, TooLarge, TooNew
from floodmark.format import batch, kafka_batch, kafka_header
from floodmark.format.batch import BatchFlag, ProducerKind, numbered_id_of
from floodmark.format.batch_header import NO_PRODUCER, NO_TIMESTAMP
from floodmark.format.batch_slices import BatchSlices
from floodmark.format.kafka_batch import KafkaSlices, decode, unpacked
from floodmark.format.kafka_check import check, check_if_light
from floodmark.format.kafka_header import Attribute, decode_stored_header, unlike
from floodmark.format.limits import (
    BATCH_BYTES_MAX,
    BATCH_HEADERS_MAX,
    BATCH_RAW_BYTES_MAX,
    BATCH_RECORDS_MAX,
    RECORD_HEADERS_MAX,
)
from floodmark.format.record import Record
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.kafka_batches import CODECS, encode, one_record, resealed, sealed, varint

times = st.none() | st.integers(0, 2**62)
contents = st.none() | st.binary(max_size=200)
pairs = st.none() | st.lists(st.tuples(st.text(max_size=4), contents), min_size=1, max_size=5)
records = st.builds(Record, times, contents, contents, st.just(value=False), pairs)
codecs = st.sampled_from(sorted(CODECS))
SMALL = [
    Record(1_700_000_000_000, b"k", b"v"),
    Record(1_700_000_000_500, None, None, pairs=[("a", b"1"), ("a", None)]),
    Record(1_700_000_000_100, b"", b"x" * 300),
]
REFUSED = (InvalidBatch, TooLarge, TooNew)


def by_slices(data: bytes, first: int = 0, **frame: int) -> list[Record | None]:
    """As doors read it."""
    header = decode_stored_header(data, **frame)
    slices, found = KafkaSlices(unpacked(data, header), header), []
    while taken := slices.take(first + len(found), header.positions):
        found.extend(taken)
    return found


@settings(print_blob=True, deadline=None)
@given(content=st.lists(records | st.none(), min_size=1, max_size=20), codec=codecs, data=st.data())
def test_what_goes_in_comes_out(content: list[Record | None], codec: str, data: st.DataObject) -> None:
    """At its place, whatever stands around it, and from any place on."""
    made = encode(content, codec=codec)
    assert decode(made, frame_crc=google_crc32c.value(made + b"more"), behind=b"more") == content
    first = data.draw(st.integers(0, len(content)))
    last = data.draw(st.integers(first, len(content)))
    header = decode_stored_header(made)
    assert by_slices(made, first) == content[first:]
    assert KafkaSlices(unpacked(made, header), header).take(first, last) == content[first:last]
    assert (header.positions, header.record_count) == (len(content), len(content) - content.count(None))
    size = sum(len(one_record(one, at, header.base_timestamp)) for at, one in enumerate(content) if one)
    assert header.raw_length >= size
    assert header.raw_length == size or codec == "zstd without its size"


def test_a_long_batch_comes_in_slices_of_bounded_size() -> None:
    """By number and by bytes; holes count."""
    small: list[Record | None] = [Record(n, b"k%d" % n, b"") if n % 3 else None for n in range(2_000)]
    large: list[Record | None] = [Record(1, None, bytes(30_000)) for _ in range(9)]
    for content, most in ((small, 500), (large, 2), ([None] * 1_200, 500)):
        data = encode(content, codec="zstd")
        header = decode_stored_header(data)
        slices, at = KafkaSlices(unpacked(data, header), header), 0
        while at < len(content):
            taken = slices.take(at, len(content))
            assert 1 <= len(taken) <= most
            assert taken == content[at : at + len(taken)]
            at += len(taken)
        assert decode(data) == content


def test_a_slice_has_few_headers() -> None:
    """Each takes long to be shown; what is left out comes in the next slices, which are no longer."""
    content: list[Record | None] = [Record(n, None, b"", pairs=[("h", b"")] * 64) for n in range(300)]
    many: list[Record | None] = [Record(n, None, b"", pairs=[("h", b"")] * 5_000) for n in range(3)]
    for records, most in ((content, 31), (many, 1)):
        data, ours = encode(records), batch.encode(records, format=2)
        header, head = decode_stored_header(data), batch.decode_header(ours)
        for slices in (
            KafkaSlices(unpacked(data, header), header),
            BatchSlices(batch.unpacked(ours, head), head),
        ):
            at = 0
            while at < len(records):
                taken = slices.take(at, len(records))
                assert 1 <= len(taken) <= most
                assert taken == records[at : at + len(taken)]
                at += len(taken)


def test_a_header_of_ours_says_the_same() -> None:
    """Producer, times, flags, checksum."""
    view = check(encode(SMALL, producer=(7, 3, 2**31 - 1), attributes=Attribute.TRANSACTIONAL))
    assert (view.producer_kind, view.producer_id, view.producer_number) == (
        ProducerKind.NUMBERED,
        numbered_id_of(7),
        7,
    )
    assert (view.producer_epoch, view.sequence, view.is_idempotent) == (3, 2**31 - 1, True)
    assert (view.count, view.flags, view.format) == (3, BatchFlag.TRANSACTIONAL, kafka_header.FORMAT)
    assert (view.first_timestamp, view.max_timestamp) == (1_700_000_000_000, 1_700_000_000_500)
    assert view.records_crc == view.crc
    plain = check(encode([Record(None, None, b"")], codec="gzip"))
    assert (plain.producer_kind, plain.producer_id, plain.is_idempotent) == (
        ProducerKind.NONE,
        NO_PRODUCER,
        False,
    )
    assert (plain.first_timestamp, plain.max_timestamp, plain.flags) == (
        NO_TIMESTAMP,
        NO_TIMESTAMP,
        BatchFlag.UNTIMED,
    )
    zero = check(encode(SMALL, producer=(0, 0, 0)))
    assert (zero.is_idempotent, zero.producer_number) == (True, 0)
    holes = decode_stored_header(encode([None, SMALL[0]])).view()
    assert (holes.count, holes.flags) == (2, BatchFlag.HAS_REMOVED)


def test_append_time_is_the_time_of_each_record() -> None:
    """Where a broker has said so; no producer may."""
    data = encode(SMALL, attributes=Attribute.LOG_APPEND_TIME, latest=42)
    assert [record and record.timestamp for record in decode(data)] == [42, 42, 42]
    view = decode_stored_header(data).view()
    assert (view.first_timestamp, view.max_timestamp, view.flags) == (42, 42, 0)
    with pytest.raises(InvalidBatch, match="append time"):
        check(data)


def test_a_control_batch_has_no_records_for_readers() -> None:
    """It takes up its offsets. No producer may send one."""
    marker = [Record(5, struct.pack(">hh", 0, 1), struct.pack(">hi", 0, 3))]
    data = encode(marker, producer=(9, 2, -1), attributes=Attribute.CONTROL | Attribute.TRANSACTIONAL)
    assert decode(data) == by_slices(data) == [None]
    assert not decode_stored_header(data).view().is_idempotent
    with pytest.raises(InvalidBatch, match="a control batch"):
        check(data)


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_every_flipped_bit_behind_the_checksum_is_found(codec: str) -> None:
    """What stands before it is the broker's to write: offset and leader's epoch say nothing to readers."""
    good = encode(SMALL, codec=codec, producer=(4, 1, 0))
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            if position < 8 or 12 <= position < 16:
                assert decode(bytes(bad)) == SMALL
                continue
            for read in (check, decode, by_slices):
                with pytest.raises((InvalidBatch, TooLarge)):
                    read(bytes(bad))
    with pytest.raises(InvalidBatch, match="its frame"):
        decode(good, frame_crc=google_crc32c.value(good) ^ 1)


@pytest.mark.parametrize(
    ("position", "value", "strange"),
    [
        (16, 3, "Kafka's format 3, this build knows 2"),
        (16, 255, "Kafka's format 255"),
        (22, 2, "Kafka's codec 2, this build knows"),
        (22, 3, "Kafka's codec 3"),
        (22, 7, "Kafka's codec 7"),
        (22, 64, "Kafka's attributes 0x0040, this build knows 0x003f"),
        (21, 128, "Kafka's attributes 0x8000"),
    ],
)
def test_what_is_not_known_is_too_new_where_the_checksum_is_right(
    position: int, value: int, strange: str
) -> None:
    """Else it is damage; from a producer it is refused."""
    data = bytearray(encode(SMALL))
    data[position] = value
    whole = resealed(data)
    assert strange in str(unlike(whole))
    assert unlike(whole + b"attributes of ours\0\0") == unlike(whole)
    crc = google_crc32c.value(whole)
    for read in (decode, by_slices):
        with pytest.raises(TooNew, match="start a newer Floodmark"):
            read(whole, frame_crc=crc)
        with pytest.raises(InvalidBatch):
            read(whole[:-1] + bytes([whole[-1] ^ 1]), frame_crc=crc)
        with pytest.raises(InvalidBatch if position == 16 else TooNew):
            read(whole, frame_crc=crc ^ 1)
    assert unlike(whole[:-1] + bytes([whole[-1] ^ 1])) is None
    with pytest.raises(InvalidBatch):
        check(whole)


def _raw(*parts: bytes) -> bytes:
    content = b"".join(parts)
    return varint(len(content)) + content


KEYLESS = (b"\0", varint(0), varint(0), varint(-1))


@pytest.mark.parametrize(
    ("raw", "wrong"),
    [
        (_raw(*KEYLESS, varint(-1), varint(0), b"!"), "does not end where"),
        (_raw(*KEYLESS, varint(-1), varint(0)) + b"!", "left after"),
        (_raw(*KEYLESS, varint(-1)), "decoded"),
        (_raw(*KEYLESS, varint(-2), varint(0)), "negative length"),
        (_raw(b"\0", varint(0), varint(0), varint(-2), varint(-1), varint(0)), "negative length"),
        (_raw(*KEYLESS, varint(50), varint(0)), "decoded"),
        (_raw(*KEYLESS, varint(-1), varint(-1)), "number of a record's headers"),
        (_raw(*KEYLESS, varint(-1), varint(2), varint(0), varint(0)), "number of a record's headers"),
        (_raw(*KEYLESS, varint(-1), varint(1), varint(-1), varint(-1)), "no name"),
        (_raw(*KEYLESS, varint(-1), varint(1), varint(1), b"a", varint(-2)), "negative length"),
        (_raw(*KEYLESS, varint(-1), varint(1), varint(1), b"\xff", varint(-1)), "decoded"),
        (_raw(*KEYLESS, varint(-1), varint(1), varint(1), b"a", varint(9)), "decoded|behind it|end"),
        (_raw(b"\0", varint(0), varint(1), varint(-1), varint(-1), varint(0)), "offset 1"),
        (_raw(b"\0", varint(0), varint(-1), varint(-1), varint(-1), varint(0)), "offset -1"),
        (_raw(b"\0", varint(2**63), varint(0), varint(-1), varint(-1), varint(0)), "out of range"),
        (_raw(b"\0", b"\xff" * 10 + b"\0", varint(0), varint(-1), varint(-1), varint(0)), "10 bytes"),
        (b"\xff\xff\xff\xff\xff\x01", "5 bytes"),
        (varint(-3) + b"\0" * 20, "does not end|left behind"),
        (varint(2**31), "decoded|where its length"),
        (b"", "decoded"),
    ],
)
def test_records_that_are_none_are_refused(raw: bytes, wrong: str) -> None:
    """Whatever the checksum says."""
    data = encode([Record(0, None, None)], raw=raw)
    for read in (decode, check, by_slices):
        with pytest.raises(InvalidBatch, match=wrong if read is decode else None):
            read(data)


@pytest.mark.parametrize("places", [(1, 0), (0, 0), (1, 3), (2, 1), (0, -1)])
def test_places_rise_and_lie_within_the_batch(places: tuple[int, int]) -> None:
    """Also where some are missing."""
    raw = b"".join(one_record(Record(5, None, b""), place, 5) for place in places)
    data = sealed(raw, attributes=0, last=2, times=(5, 5), count=2)
    for read in (decode, by_slices):
        with pytest.raises(InvalidBatch, match="offset"):
            read(data)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"last": -1, "count": 0}, "1 to 100000 records"),
        ({"last": BATCH_RECORDS_MAX}, "1 to 100000 records"),
        ({"count": -1}, "claims -1 records"),
        ({"count": 2}, "claims 2 records at 1"),
        ({"attributes": 16}, "without a producer"),
        ({"producer": (1, -1, 0)}, "below 0"),
        ({"producer": (1, 0, -1)}, "below 0"),
    ],
)
def test_a_header_that_cannot_be_is_refused(change: dict[str, Any], wrong: str) -> None:
    """By readers and at the door."""
    body = one_record(Record(5, None, b""), 0, 5)
    data = sealed(body, **{"attributes": 0, "last": 0, "times": (5, 5), "count": 1, **change})
    for read in (decode, check):
        with pytest.raises(InvalidBatch, match=wrong):
            read(data)


def test_what_producers_may_not_send() -> None:
    """Holes, times that searches would not find, records above the topic's limit."""
    for refuse in (check, check_if_light):
        with pytest.raises(InvalidBatch, match="1 records at 2 offsets"):
            refuse(encode([SMALL[0], None]))
        with pytest.raises(InvalidBatch, match="maxTimestamp"):
            refuse(encode(SMALL, latest=1_700_000_000_499))
        with pytest.raises(InvalidBatch, match="no timestamp"):
            refuse(encode([SMALL[0], Record(None, None, b"")]))
        with pytest.raises(TooLarge, match="this topic allows 299"):
            refuse(encode(SMALL, codec="gzip"), record_bytes_max=299)
        with pytest.raises(InvalidRequest, match=f"{RECORD_HEADERS_MAX + 1} headers"):
            refuse(encode([Record(1, None, b"", pairs=[("h", b"")] * (RECORD_HEADERS_MAX + 1))]))
    assert check(encode(SMALL), record_bytes_max=301).count == 3
    untimed = check(encode([Record(None, None, b""), SMALL[0]]))
    assert untimed.flags == BatchFlag.UNTIMED


def test_what_takes_long_is_checked_elsewhere() -> None:
    """Many records, many headers, much that is compressed; the same batches pass where there is time."""
    many = encode([Record(1, None, b"")] * 5_001)
    headed = encode([Record(1, None, b"", pairs=[("h", b"")] * 64)] * 160)
    packed = encode([Record(1, None, bytes(1 << 19))] * 3, codec="zstd")
    for data in (many, headed, packed):
        assert check_if_light(data) is None
        assert check(data).count >= 3
    assert check_if_light(encode([Record(1, None, b"", pairs=[("h", b"")] * 64)] * 156)) is not None


def test_headers_are_counted_before_they_are_built() -> None:
    """Of all records together; what one claims it must have bytes for."""
    headers = b"".join([varint(1), b"h", varint(0)]) * 50
    content = b"".join([b"\0", varint(0)])
    rows = [
        _raw(content, varint(place), varint(-1), varint(-1), varint(50), headers)
        for place in range(BATCH_HEADERS_MAX // 50 + 1)
    ]
    raw = b"".join(rows)
    data = encode([Record(1, None, None)] * len(rows), codec="zstd", raw=raw)
    with pytest.raises(TooLarge, match=f"at most {BATCH_HEADERS_MAX}"):
        decode(data)
    claims = _raw(*KEYLESS, varint(-1), varint(BATCH_HEADERS_MAX), bytes(1_000))
    with pytest.raises(InvalidBatch, match="number of a record's headers"):
        decode(encode([Record(1, None, None)], raw=claims))


def _zeros(size: int) -> bytes:
    """Records of that many bytes, which are none."""
    return bytes(size)


GOOD = one_record(Record(1, None, b"value"), 0, 1)


def _gzip_that_claims(raw: bytes, size: int) -> bytes:
    made = gzip.compress(raw, 1, mtime=0)
    return made[:-4] + struct.pack("<I", size & 0xFFFFFFFF)


def _zstd_that_claims(raw: bytes, size: int) -> bytes:
    """With a content size of eight bytes that says something else."""
    made = zstandard.ZstdCompressor().compress(raw)
    head = zstandard.frame_header_size(made)
    return b"\x28\xb5\x2f\xfd" + bytes([0b1110_0000]) + struct.pack("<Q", size) + made[head:]


def _without_size(raw: bytes) -> bytes:
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(raw) + stream.flush()


# Made in the test: the largest take seconds, which every process that collects tests would spend.
_BODIES: dict[str, tuple[int, Callable[[], bytes]]] = {
    "gzip, one byte too many": (1, lambda: gzip.compress(_zeros(BATCH_RAW_BYTES_MAX + 1), 1, mtime=0)),
    "gzip, ten times too much": (1, lambda: gzip.compress(_zeros(10 * BATCH_RAW_BYTES_MAX), 1, mtime=0)),
    "gzip, says nothing": (1, lambda: _gzip_that_claims(_zeros(4 * BATCH_RAW_BYTES_MAX), 0)),
    "gzip, says too little": (1, lambda: _gzip_that_claims(_zeros(4 * BATCH_RAW_BYTES_MAX), 1_000)),
    "gzip, says too much": (1, lambda: _gzip_that_claims(b"x", BATCH_RAW_BYTES_MAX)),
    "gzip, two members": (1, lambda: gzip.compress(b"", mtime=0) + gzip.compress(_zeros(1_000), mtime=0)),
    "gzip, cut": (1, lambda: gzip.compress(b"x" * 100, mtime=0)[:-1]),
    "gzip, with more": (1, lambda: gzip.compress(b"x", mtime=0) + b"more"),
    "gzip, twice": (1, lambda: gzip.compress(GOOD, mtime=0) * 2),
    "gzip, without checksum": (1, lambda: gzip.compress(GOOD, mtime=0)[:-8] + struct.pack("<I", len(GOOD))),
    "zlib": (1, lambda: zlib.compress(b"x" * 100)),
    "gzip, empty": (1, lambda: b""),
    "gzip, two bytes": (1, lambda: b"\x1f\x8b"),
    "zstd, one byte too many": (
        4,
        lambda: zstandard.ZstdCompressor().compress(_zeros(BATCH_RAW_BYTES_MAX + 1)),
    ),
    "zstd, one byte too many, no size": (4, lambda: _without_size(_zeros(BATCH_RAW_BYTES_MAX + 1))),
    "zstd, ten times too much, no size": (4, lambda: _without_size(_zeros(10 * BATCH_RAW_BYTES_MAX))),
    "zstd, says too little": (4, lambda: _zstd_that_claims(_zeros(BATCH_RAW_BYTES_MAX), 1_000)),
    "zstd, says too much": (4, lambda: _zstd_that_claims(b"x", BATCH_RAW_BYTES_MAX)),
    "zstd, says far too much": (4, lambda: _zstd_that_claims(b"x", 2**63)),
    "zstd, cut": (4, lambda: _without_size(b"x" * 100)[:-1]),
    "zstd, with more": (4, lambda: _without_size(b"x" * 100) + b"more"),
    "zstd, twice": (4, lambda: _without_size(b"x" * 100) * 2),
    "zstd, a frame to skip": (4, lambda: b"\x50\x2a\x4d\x18\x04\0\0\0more"),
    "zstd, empty": (4, lambda: b""),
    "zstd, four bytes": (4, lambda: b"\x28\xb5\x2f\xfd"),
}


@pytest.mark.parametrize("kind", list(_BODIES))
def test_a_small_body_does_not_grow_without_bound(kind: str) -> None:
    """Nor where it lies about its size: no more is ever allocated than the cap."""
    number, make = _BODIES[kind]
    data = sealed(make(), attributes=number, last=0, times=(1, 1), count=1)
    assert len(data) < BATCH_BYTES_MAX
    for read in (decode, by_slices, check):
        tracemalloc.start()
        try:
            with pytest.raises((InvalidBatch, TooLarge)):
                read(data)
            assert tracemalloc.get_traced_memory()[1] < BATCH_RAW_BYTES_MAX + (1 << 20)
        finally:
            tracemalloc.stop()


def test_a_body_as_large_as_may_be_is_read() -> None:
    """With each codec."""
    value = bytes(BATCH_RAW_BYTES_MAX - 40)
    for codec in sorted(CODECS):
        if codec != "none":
            (found,) = decode(encode([Record(1, None, value)], codec=codec))
            assert found == Record(1, None, value)


def test_many_records_are_read_in_one_go() -> None:
    """As many as there may be."""
    content: list[Record | None] = [Record(n, b"", None) for n in range(BATCH_RECORDS_MAX)]
    data = encode(content, codec="zstd")
    assert decode(data) == content
    assert by_slices(data) == content
    assert check(data).count == BATCH_RECORDS_MAX


@settings(print_blob=True, deadline=None)
@given(data=st.binary(max_size=120), codec=codecs, reseals=st.booleans())
def test_bytes_that_are_no_batch_are_refused_in_words(data: bytes, codec: str, *, reseals: bool) -> None:
    """Never anything but an error of ours."""
    good = encode(SMALL, codec=codec)
    for made in (data, good[:61] + data, encode(SMALL, codec=codec, raw=data)):
        tried = resealed(made) if reseals and len(made) >= 61 else made
        for read in (check, check_if_light, decode, by_slices):
            with pytest.raises(FloodmarkError):
                read(tried)


@settings(print_blob=True, deadline=None)
@given(
    content=st.lists(records | st.none(), min_size=1, max_size=4),
    codec=codecs,
    changes=st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 3),
)
def test_a_batch_that_was_changed_is_read_or_refused_in_words(
    content: list[Record | None], codec: str, changes: list[tuple[int, int]], cut: int
) -> None:
    """With a right checksum; and piece by piece it says what it says as a whole."""
    data = bytearray(encode(content, codec=codec))
    for position, value in changes:
        data[position % len(data)] = value
    made = resealed(data[: len(data) - cut])
    outcomes = []
    for read in (decode, by_slices):
        try:
            outcomes.append(read(made))
        except REFUSED as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]
    try:
        check(made)
    except (*REFUSED, InvalidRequest):
        return
    assert outcomes[0] == decode(made)


def test_an_empty_batch_takes_up_its_offsets() -> None:
    """What compaction may leave of one."""
    data = encode([None, None])
    assert len(data) == kafka_header.HEADER_BYTES
    assert decode(data) == by_slices(data) == [None, None]
    assert kafka_batch.decode(encode([None], codec="gzip")) == [None]
