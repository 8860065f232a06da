"""Record batches of format 2: the whole record model goes in and comes out, and format 1 stays what it is."""

from __future__ import annotations

import struct

import google_crc32c
import msgspec
import pytest
from floodmark.errors import FloodmarkError, InvalidBatch, InvalidRequest, TooLarge, TooNew
from floodmark.format import batch
from floodmark.format.batch import BatchFlag, ProducerKind
from floodmark.format.batch_check import check, check_if_light
from floodmark.format.batch_header import NO_TIMESTAMP, NUMBERED_EPOCH_MAX, RECORD_SEQUENCE_MAX
from floodmark.format.batch_slices import BatchSlices
from floodmark.format.limits import BATCH_HEADERS_MAX, RECORD_HEADERS_MAX
from floodmark.format.record import Record
from hypothesis import given
from hypothesis import strategies as st

times = st.none() | st.integers(NO_TIMESTAMP + 1, 2**63 - 1)
keys = st.none() | st.binary(max_size=6)
pairs = st.none() | st.lists(
    st.tuples(st.text(max_size=4), st.none() | st.binary(max_size=6)), min_size=1, max_size=5
)
plain = st.builds(Record, times, keys, st.none() | st.binary(max_size=20), st.just(value=False), pairs)
json = st.builds(
    Record, times, keys, st.sampled_from([b"null", b'{"a": [1]}', b'"x"']), st.just(value=True), pairs
)
records = plain | json
codecs = st.sampled_from([batch.CODEC_NONE, batch.CODEC_ZSTD])
SMALL = [Record(5, b"k", b"v"), Record(None, None, None, pairs=[("a", b"1"), ("a", None)])]
NUMBER = batch.numbered_id_of(77)


@given(content=st.lists(records, min_size=1, max_size=20), codec=codecs)
def test_what_goes_in_comes_out(content: list[Record], codec: int) -> None:
    """Any record of the model survives, and the header tells the truth about all of them."""
    data = batch.encode(content, codec=codec, format=2)
    header = check(data)
    assert (header, header) == (check_if_light(data), batch.decode_stored_header(data))
    assert batch.decode(data, frame_crc=google_crc32c.value(data + b"more"), behind=b"more") == content
    assert BatchSlices(batch.unpacked(data, header), header).take(0, len(content)) == content
    known = [record.timestamp for record in content if record.timestamp is not None]
    first = content[0].timestamp
    assert header.first_timestamp == (NO_TIMESTAMP if first is None else first)
    assert header.max_timestamp == max(known, default=NO_TIMESTAMP)
    assert bool(header.flags & BatchFlag.UNTIMED) == (len(known) < len(content))
    assert (header.format, header.count, header.is_idempotent) == (2, len(content), False)


@given(content=st.lists(records | st.none(), min_size=1, max_size=20), codec=codecs)
def test_removed_records_leave_their_places(content: list[Record | None], codec: int) -> None:
    """Compaction makes such batches; no producer may."""
    data = batch.encode(content, codec=codec, format=2)
    assert batch.decode(data) == content
    header = batch.decode_stored_header(data)
    assert bool(header.flags & BatchFlag.HAS_REMOVED) == (None in content)
    if None in content:
        with pytest.raises(InvalidBatch):
            check(data)


@given(
    content=st.lists(records, min_size=1, max_size=5),
    kind=st.sampled_from([ProducerKind.NAMED, ProducerKind.NUMBERED]),
    number=st.integers(1, 2**63 - 1),
    epoch=st.integers(0, NUMBERED_EPOCH_MAX),
    sequence=st.integers(0, RECORD_SEQUENCE_MAX),
    transactional=st.booleans(),
)
def test_a_producer_is_who_it_says(
    content: list[Record], kind: ProducerKind, number: int, epoch: int, sequence: int, *, transactional: bool
) -> None:
    """Its kind, id, epoch and sequence; numbered anew it has the same records' checksum."""
    numbered = kind is ProducerKind.NUMBERED
    name = batch.numbered_id_of(number) if numbered else batch.producer_id_of(str(number))
    data = batch.encode(
        content,
        format=2,
        producer_id=name,
        producer_kind=kind,
        producer_epoch=epoch,
        sequence=sequence,
        transactional=numbered and transactional,
    )
    header = check(data)
    assert (header.producer_kind, header.producer_id, header.is_idempotent) == (kind, name, True)
    assert (header.producer_epoch, header.sequence) == (epoch, sequence)
    assert header.producer_number == (number if numbered else None)
    assert bool(header.flags & BatchFlag.TRANSACTIONAL) == (numbered and transactional)
    anew = check(batch.restamp(data, producer_epoch=0, sequence=0))
    assert (anew.records_crc, anew.producer_epoch, anew.sequence) == (header.records_crc, 0, 0)
    assert header.records_crc == google_crc32c.value(data[batch.HEADER_BYTES :])


@pytest.mark.parametrize("codec", [batch.CODEC_NONE, batch.CODEC_ZSTD])
def test_every_flipped_bit_is_found(codec: int) -> None:
    """In whatever byte; also where it makes another format of it."""
    good = batch.encode(SMALL, codec=codec, format=2, producer_id=batch.producer_id_of("p"), sequence=3)
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            for read in (check, batch.decode):
                with pytest.raises((InvalidBatch, TooLarge)):
                    read(bytes(bad))


@pytest.mark.parametrize(
    ("record", "lacks"),
    [
        (Record(1, None, None), "tombstones need"),
        (Record(None, None, b""), "no timestamp"),
        (Record(1, None, b"", pairs=[("a", b"1"), ("a", b"2")]), "comes twice"),
        (Record(1, None, b"", pairs=[("a", None)]), "not text"),
        (Record(1, None, b"", pairs=[("a", b"\xff")]), "not text"),
        (None, "removed"),
    ],
)
def test_format_1_refuses_what_it_cannot_hold(record: Record | None, lacks: str) -> None:
    """It says what is needed; what it can hold is written as ever, whichever form its headers have."""
    with pytest.raises(InvalidBatch, match=lacks):
        batch.encode([Record(1, None, b"x"), record])
    listed = Record(1, None, b"x", pairs=[("b", b"1"), ("a", "ü".encode())])
    mapped = Record(1, None, b"x", pairs={"b": "1", "a": "ü"})
    assert batch.encode([listed]) == batch.encode([mapped])
    assert batch.decode(batch.encode([listed, listed], format=2)) == batch.decode(
        batch.encode([mapped, listed], format=2)
    )


def _resealed(data: bytearray) -> bytes:
    data[60:64] = struct.pack("<I", google_crc32c.value(bytes(data[72:])))
    data[8:12] = struct.pack("<I", google_crc32c.value(bytes(data[:4] + data[12:72])))
    return bytes(data)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"producer_kind": 0, "sequence": 1}, "without a producer"),
        ({"producer_kind": 0, "flags": 1}, "without a producer"),
        ({"producer_kind": 1}, "needs an id"),
        ({"producer_kind": 2}, "int64 above 0"),
        ({"producer_kind": 2, "producer_id": bytes(7) + b"\x80" + bytes(8)}, "int64 above 0"),
        ({"producer_kind": 2, "producer_id": NUMBER[:15] + b"\x01"}, "int64 above 0"),
        ({"producer_kind": 2, "producer_id": NUMBER, "epoch": NUMBERED_EPOCH_MAX + 1}, "epoch is at most"),
        ({"producer_kind": 2, "producer_id": NUMBER, "sequence": RECORD_SEQUENCE_MAX + 1}, "at most"),
        ({"producer_kind": 1, "producer_id": NUMBER, "flags": 1}, "transaction"),
        ({"flags": 4}, "without a timestamp"),
        ({"first_timestamp": 2}, "first_timestamp"),
        ({"max_timestamp": 2}, "max_timestamp"),
    ],
)
def test_a_header_that_lies_is_refused(change: dict[str, int | bytes], wrong: str) -> None:
    """With right checksums: a producer must not put in what readers would stumble over."""
    data = bytearray(batch.encode([Record(1, None, b"x")], format=2))
    places = {
        "producer_kind": (13, "<B"),
        "flags": (14, "<H"),
        "first_timestamp": (24, "<q"),
        "max_timestamp": (32, "<q"),
        "producer_id": (40, "16s"),
        "epoch": (56, "<I"),
        "sequence": (64, "<Q"),
    }
    for name, value in change.items():
        at, form = places[name]
        struct.pack_into(form, data, at, value)
    for refuse in (check, check_if_light):
        with pytest.raises(InvalidBatch, match=wrong):
            refuse(_resealed(data))


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ([[1, None, None, True]], "marked as JSON"),
        ([None], "decoded"),
        ([[1, None, b"", False, {"a": "b"}]], "decoded"),
        ([[1, None, b"", False, [["a", "text"]]]], "decoded"),
        ([[1, None, b"", False, [["a", b"", b""]]]], "decoded"),
        ([[1, None, b"{", True]], "marked as JSON but"),
        ([[1, None, "text"]], "decoded"),
    ],
)
def test_records_that_are_none_are_refused(content: list[object], wrong: str) -> None:
    """On their way in, whatever the checksums say."""
    data = bytearray(batch.encode([Record(1, None, b"x")], format=2)[:72])
    body = msgspec.msgpack.encode(content)
    struct.pack_into("<I", data, 4, 72 + len(body))
    struct.pack_into("<I", data, 20, len(body))
    with pytest.raises((InvalidBatch, InvalidRequest), match=wrong):
        check(_resealed(data + body))


def test_headers_are_counted_before_they_are_built() -> None:
    """Of one record and of all; a small batch may claim many."""
    many = [("h", b"")] * (RECORD_HEADERS_MAX + 1)
    with pytest.raises(InvalidRequest, match=f"{RECORD_HEADERS_MAX + 1} headers"):
        check(batch.encode([Record(1, None, b"", pairs=many)], format=2))
    full = Record(1, None, b"", pairs=many[:20])
    data = batch.encode([full] * (BATCH_HEADERS_MAX // 20), format=2, codec=batch.CODEC_ZSTD)
    assert check_if_light(data) is None
    assert check(data).count == BATCH_HEADERS_MAX // 20
    with pytest.raises(TooLarge, match="headers together"):
        batch.encode([full] * (BATCH_HEADERS_MAX // 20 + 1), format=2)


@pytest.mark.parametrize(
    ("content", "unlike"),
    [
        ([[1, None, b"", 2]], "has a value of type 2, this build knows false .bytes. and true .JSON."),
        ([None, [1, None, b"", False, None, 6]], "has a record of 6 fields, this build knows 5"),
    ],
)
def test_records_of_a_newer_build_are_too_new(content: list[object], unlike: str) -> None:
    """Where the checksums are right; what has no meaning at all is damage."""
    data = bytearray(batch.encode([Record(1, None, b"x")], format=2)[:72])
    body = msgspec.msgpack.encode(content)
    struct.pack_into("<I", data, 4, 72 + len(body))
    struct.pack_into("<I", data, 16, len(content))
    struct.pack_into("<I", data, 20, len(body))
    with pytest.raises(TooNew, match=f"^a record batch {unlike}: start a newer Floodmark$"):
        batch.decode(_resealed(data + body))


@pytest.mark.parametrize(
    ("position", "value", "unlike"),
    [
        (12, 2, "has codec 2, this build knows 0 and 1"),
        (13, 3, "has producer kind 3, this build knows 0 to 2"),
        (14, 8, "has flags 0x0008, this build knows 0x0007"),
        (15, 1, "has flags 0x0100, this build knows 0x0007"),
    ],
)
def test_a_header_of_a_newer_build_is_too_new(position: int, value: int, unlike: str) -> None:
    """Whoever reads one is told so; whoever sends one is told what is wrong with it."""
    data = bytearray(batch.encode(SMALL, format=2))
    data[position] = value
    sealed = _resealed(data)
    for read in (batch.decode, batch.decode_stored_header):
        with pytest.raises(TooNew, match=f"^a record batch {unlike}: start a newer Floodmark$"):
            read(sealed)
        with pytest.raises(InvalidBatch):
            read(sealed[:20] + bytes([sealed[20] ^ 1]) + sealed[21:])
    with pytest.raises(InvalidBatch):
        check(sealed)


@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"FMB2"]))
def test_bytes_that_are_no_batch_are_refused_in_words(data: bytes, start: bytes) -> None:
    """Never anything but an error of ours."""
    for read in (check, check_if_light, batch.decode):
        with pytest.raises(FloodmarkError):
            read(start + data)
