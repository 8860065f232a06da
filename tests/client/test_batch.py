"""The record batch: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import struct
import threading

import google_crc32c
import msgspec
import pytest
import zstandard
from floodmark.errors import InvalidBatch, InvalidRequest, TooLarge, TooNew
from floodmark.format import batch
from floodmark.format.batch_check import check, check_if_light
from floodmark.format.frame import Frame, FrameKind, crc_of
from floodmark.format.frame import unlike as frame_unlike
from floodmark.format.limits import BATCH_RAW_BYTES_MAX, BATCH_RECORDS_MAX
from floodmark.format.record import Record
from hypothesis import given
from hypothesis import strategies as st

SMALL = [Record(5, b"k", b"one"), Record(9, None, b'{"a":1}', True, {"h": "v"}), Record(7, b"", b"")]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
json_records = st.builds(
    lambda time, key, value: Record(time, key, msgspec.json.encode(value), is_json=True),
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.binary(max_size=20),
    json_values,
)
byte_records = st.builds(
    Record,
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.binary(max_size=20),
    st.binary(max_size=100),
    st.just(value=False),
    st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=5),
)


def build(
    raw: bytes,
    *,
    count: int,
    first: int = 0,
    latest: int = 0,
    codec: int = 0,
    body: bytes | None = None,
    raw_length: int | None = None,
    reserved: bytes = bytes(3),
) -> bytes:
    """A batch whose checksum is right and whose content may be anything."""
    body = raw if body is None else body
    raw_length = len(raw) if raw_length is None else raw_length
    rest = struct.pack(
        "<B3sIIqq16sIIQ", codec, reserved, count, raw_length, first, latest, bytes(16), 0, 0, 0
    )
    crc = google_crc32c.value(rest + body)
    return struct.pack("<4sII", b"FMB1", 72 + len(body), crc) + rest + body


@given(
    records=st.lists(json_records | byte_records, min_size=1, max_size=20),
    codec=st.sampled_from([batch.CODEC_NONE, batch.CODEC_ZSTD]),
    producer=st.none() | st.text(max_size=10),
    epoch=st.integers(0, 2**32 - 1),
    sequence=st.integers(0, 2**64 - 1),
)
def test_what_goes_in_comes_out(
    records: list[Record], codec: int, producer: str | None, epoch: int, sequence: int
) -> None:
    """Any records, codec and producer survive, and the header tells the truth about them."""
    name = batch.NO_PRODUCER if producer is None else batch.producer_id_of(producer)
    data = batch.encode(records, codec=codec, producer_id=name, producer_epoch=epoch, sequence=sequence)
    header = check(data)
    assert batch.decode(data) == records
    assert header == batch.decode_header(data)
    assert (header.count, header.length) == (len(records), len(data))
    assert header.first_timestamp == records[0].timestamp
    assert header.max_timestamp == max(record.timestamp for record in records)
    assert (header.producer_id, header.producer_epoch, header.sequence) == (name, epoch, sequence)
    assert header.is_idempotent == (producer is not None)


@pytest.mark.parametrize("codec", [batch.CODEC_NONE, batch.CODEC_ZSTD])
def test_a_batch_can_be_numbered_anew(codec: int) -> None:
    """Another epoch and sequence give the batch that would have been made with them in the first place."""
    name = batch.producer_id_of("p")
    before = batch.encode(SMALL, codec=codec, producer_id=name, producer_epoch=1, sequence=9)
    after = batch.encode(SMALL, codec=codec, producer_id=name, producer_epoch=2**32 - 1, sequence=2**64 - 1)
    assert batch.restamp(before, producer_epoch=2**32 - 1, sequence=2**64 - 1) == after


@pytest.mark.parametrize("codec", [batch.CODEC_NONE, batch.CODEC_ZSTD])
def test_every_flipped_bit_is_found(codec: int) -> None:
    """A batch with any one bit changed is refused, by check and by decode."""
    good = batch.encode(SMALL, codec=codec, sequence=3)
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            with pytest.raises((InvalidBatch, TooLarge)):
                check(bytes(bad))
            with pytest.raises((InvalidBatch, TooLarge)):
                batch.decode(bytes(bad))


def test_every_truncation_and_any_addition_is_found() -> None:
    """A batch that lost or gained bytes is refused."""
    good = batch.encode(SMALL)
    for length in range(len(good)):
        with pytest.raises(InvalidBatch):
            check(good[:length])
    with pytest.raises(InvalidBatch):
        check(good + b"\0")


@given(data=st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    """Random bytes, alone or behind a right header, raise nothing but the errors of the tree."""
    for candidate in (data, build(data, count=1), build(data, count=1, codec=1, raw_length=50)):
        with pytest.raises((InvalidBatch, TooLarge)):
            check(candidate)


ONE = msgspec.msgpack.encode([Record(0, None, b"x")])

LIES = {
    "one record fewer than claimed": build(ONE, count=2),
    "one record more than claimed": build(msgspec.msgpack.encode([Record(0, None, b"x")] * 2), count=1),
    "no records": build(b"\x90", count=0),
    "too many records": build(ONE, count=BATCH_RECORDS_MAX + 1),
    "an array of four billion": build(b"\xdd\xff\xff\xff\xff\x95", count=BATCH_RECORDS_MAX),
    "an array cut in its length": build(b"\xdd\x00", count=1),
    "not an array": build(b"\xa1x", count=1),
    "nothing at all": build(b"", count=1),
    "garbage behind the array": build(ONE + b"\0", count=1),
    "a second array behind the first": build(ONE + ONE, count=1),
    "another raw length": build(ONE, count=1, raw_length=len(ONE) + 1),
    "another first timestamp": build(ONE, count=1, first=1),
    "another greatest timestamp": build(ONE, count=1, latest=1),
    "an unknown codec": build(ONE, count=1, codec=2),
    "reserved bytes in use": build(ONE, count=1, reserved=b"\0\0\1"),
    "a sixth field": build(msgspec.msgpack.encode([[0, None, b"x", False, None, 1]]), count=1),
    "two fields only": build(msgspec.msgpack.encode([[0, None]]), count=1),
    "text for a value": build(msgspec.msgpack.encode([[0, None, "x", False, None]]), count=1),
    "an extension type": build(b"\x91\x95\x00\xc0\xd4\x01\x00\xc2\xc0", count=1),
    "a time beyond 63 bits": build(
        msgspec.msgpack.encode([[2**64 - 1, None, b"x", False, None]]), count=1, first=-1, latest=-1
    ),
    "a header that is a number": build(msgspec.msgpack.encode([[0, None, b"x", False, {"a": 1}]]), count=1),
    "JSON that is none": build(msgspec.msgpack.encode([Record(0, None, b"{]", is_json=True)]), count=1),
    "JSON that is empty": build(msgspec.msgpack.encode([Record(0, None, b"", is_json=True)]), count=1),
    "JSON in no UTF-8": build(msgspec.msgpack.encode([Record(0, None, b'"\xff"', is_json=True)]), count=1),
    "JSON without a bottom": build(
        msgspec.msgpack.encode([Record(0, None, b"[" * 100_000 + b"]" * 100_000, is_json=True)]), count=1
    ),
    "a zstd frame that is none": build(ONE, count=1, codec=1),
    "garbage behind the zstd frame": build(ONE, count=1, codec=1, body=zstandard.compress(ONE) + b"\0"),
    "two zstd frames": build(ONE + ONE, count=1, codec=1, body=zstandard.compress(ONE) * 2),
}


@pytest.mark.parametrize("name", LIES)
def test_a_batch_that_lies_is_refused(name: str) -> None:
    """The checksum is right, the content is not."""
    with pytest.raises(InvalidBatch):
        check(LIES[name])


def test_a_zstd_frame_that_claims_much_allocates_nothing() -> None:
    """A frame header that promises 1 TiB is compared with raw_length before anything is decompressed."""
    claims_a_tebibyte = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 40) + b"\x01\x00\x00"
    assert zstandard.get_frame_parameters(claims_a_tebibyte).content_size == 1 << 40
    for raw_length in (1, BATCH_RAW_BYTES_MAX):
        with pytest.raises(InvalidBatch, match="claims 1099511627776 bytes"):
            check(build(b"", count=1, codec=1, body=claims_a_tebibyte, raw_length=raw_length))
    with pytest.raises(TooLarge):
        check(build(b"", count=1, codec=1, body=claims_a_tebibyte, raw_length=BATCH_RAW_BYTES_MAX + 1))


def test_a_zstd_bomb_without_a_size_is_bounded() -> None:
    """A frame that does not say how much it holds is given room for raw_length bytes and no more."""
    stream = zstandard.ZstdCompressor(level=1, write_content_size=False).compressobj()
    bomb = b"".join(stream.compress(bytes(1 << 20)) for _ in range(64)) + stream.flush()
    assert zstandard.get_frame_parameters(bomb).content_size == zstandard.CONTENTSIZE_UNKNOWN
    for raw_length in (1000, BATCH_RAW_BYTES_MAX):
        with pytest.raises(InvalidBatch):
            check(build(b"", count=1, codec=1, body=bomb, raw_length=raw_length))


def test_a_zstd_frame_without_a_size_is_read_when_it_is_honest() -> None:
    """Other producers may stream their compression; that is a valid batch."""
    body = zstandard.ZstdCompressor(write_content_size=False).compress(ONE)
    assert batch.decode(build(ONE, count=1, codec=1, body=body)) == [Record(0, None, b"x")]


def test_caps_hold_when_a_batch_is_made() -> None:
    """Too many records, too many bytes, before and after compression, and none at all."""
    with pytest.raises(InvalidBatch):
        batch.encode([])
    with pytest.raises(InvalidBatch):
        batch.encode([Record(0, None, b"")] * (BATCH_RECORDS_MAX + 1))
    with pytest.raises(InvalidBatch):
        batch.encode(SMALL, codec=7)
    with pytest.raises(InvalidBatch):
        batch.encode([Record(2**63, None, b"")])
    with pytest.raises(TooLarge):
        batch.encode([Record(0, None, bytes(9 << 20))])
    assert len(batch.encode([Record(0, None, bytes(9 << 20))], codec=batch.CODEC_ZSTD)) < 1 << 20
    with pytest.raises(TooLarge):
        batch.encode([Record(0, None, bytes(33 << 20))], codec=batch.CODEC_ZSTD)


def test_the_cap_on_one_record_counts_key_value_and_headers() -> None:
    """A record of exactly the limit passes; one byte more does not, wherever the byte is."""
    passes = [
        Record(0, b"k" * 10, b"v" * 90),
        Record(0, None, b"v" * 98, is_json=False, pairs={"a": "b"}),
        Record(0, b"", b"v" * 100),
    ]
    fails = [
        Record(0, b"k" * 11, b"v" * 90),
        Record(0, None, b"v" * 98, is_json=False, pairs={"a": "ü"}),
        Record(0, b"k", b"v" * 100),
    ]
    check(batch.encode(passes), record_bytes_max=100)
    for record in fails:
        with pytest.raises(TooLarge):
            check(batch.encode([record]), record_bytes_max=100)
        with pytest.raises(TooLarge):
            check(batch.encode([*passes, record]), record_bytes_max=100)


def test_the_longest_key_and_value_may_stand_in_different_records() -> None:
    """Records that are within the limit pass although the longest key and value together are not."""
    check(batch.encode([Record(0, b"k" * 90, b"v"), Record(0, b"k", b"v" * 90)]), record_bytes_max=100)


def test_a_record_has_a_bounded_number_of_headers() -> None:
    """64 headers pass and 65 do not."""
    for count, passes in ((64, True), (65, False)):
        data = batch.encode([Record(0, None, b"", is_json=False, pairs={str(n): "" for n in range(count)})])
        if passes:
            check(data)
        else:
            with pytest.raises(InvalidRequest):
                check(data)


def test_json_is_only_read_from_json() -> None:
    """json() gives the objects of a JSON value and refuses bytes."""
    assert Record(0, None, b'{"a":[1,2.5,null]}', is_json=True).json() == {"a": [1, 2.5, None]}
    with pytest.raises(InvalidRequest):
        Record(0, None, b"1").json()
    with pytest.raises(InvalidRequest):
        Record(0, None, b"{", is_json=True).json()


def test_threads_may_compress_at_the_same_time() -> None:
    """Eight threads that encode and decode at once all get their own records back."""
    failures: list[object] = []

    def work(number: int) -> None:
        records = [Record(n, b"%d" % number, bytes([number]) * 2000) for n in range(20)]
        wrong = [batch.decode(batch.encode(records, codec=batch.CODEC_ZSTD)) != records for _ in range(50)]
        failures.extend(number for _ in range(sum(wrong)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_batch_in_a_view_of_any_size_is_checked_to_its_last_byte() -> None:
    """Around the size of the pieces that checksums are made of: every byte of batch and frame counts."""
    for size in (1, 60_000, 65_535, 65_536, 131_072, 200_000):
        records = [Record(1, None, bytes(size))]
        data = bytearray(b"before" + batch.encode(records))
        crc = google_crc32c.value(bytes(data[6:]))
        assert batch.decode(memoryview(data)[6:], frame_crc=crc) == records
        with pytest.raises(InvalidBatch, match="frame"):
            batch.decode(memoryview(data)[6:], frame_crc=crc ^ 1)
        for position in (len(data) - 1, len(data) // 2, 6 + 12, 6 + 8):
            data[position] ^= 1
            with pytest.raises(InvalidBatch):
                batch.decode(memoryview(data)[6:])
            data[position] ^= 1


def _strange(position: int, value: int) -> bytes:
    """A batch of a newer build, its checksum right."""
    data = bytearray(batch.encode([Record(1, None, b"x")]))
    data[position] = value
    covered = bytes(data[12:]) if data[:4] == batch.MAGIC else bytes(data[:4] + data[12:72])
    crc = google_crc32c.value(covered)
    data[8:12] = crc.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("position", "value", "unlike"),
    [
        (3, ord("3"), "has format FMB3, this build knows FMB1 and FMB2"),
        (12, 2, "has codec 2, this build knows 0 and 1"),
        (13, 1, "uses reserved bytes, this build knows none of them"),
        (60, 1, "uses reserved bytes, this build knows none of them"),
    ],
)
def test_a_stored_batch_of_a_newer_build_is_too_new_and_a_sent_one_is_invalid(
    position: int, value: int, unlike: str
) -> None:
    """Whoever sends one is told what is wrong with it; whoever reads one, that it is not damaged."""
    data = _strange(position, value)
    for refuse in (batch.decode_header, check, check_if_light):
        with pytest.raises(InvalidBatch):
            refuse(data)
    for read in (batch.decode, batch.decode_stored_header):
        with pytest.raises(TooNew, match=f"^a record batch {unlike}: start a newer Floodmark$"):
            read(data)
    for bit in range(8):
        with pytest.raises(InvalidBatch):
            batch.decode(data[:40] + bytes([data[40] ^ 1 << bit]) + data[41:])
    frame = Frame(2, 1, 0, 0, 1, FrameKind.RECORDS, data, crc_of(data))
    assert frame_unlike(frame) == f"holds a record batch that {unlike}"
