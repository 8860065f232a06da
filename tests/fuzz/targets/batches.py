"""Record batches, as producers send them and segments hold them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import google_crc32c
import msgspec
from floodmark.errors import InvalidBatch, InvalidRequest, TooLarge, TooNew
from floodmark.format import batch, batch_check, kafka_batch, kafka_header
from floodmark.format.batch_header import BatchFlag, decode_stored_header
from floodmark.format.batch_slices import BatchSlices
from floodmark.format.limits import BATCH_RAW_BYTES_MAX
from floodmark.format.record import Record

from tests.fuzz.target import Target
from tests.support import kafka_batches

_RECORDS = [
    Record(1, b"k", b'{"a":1}', True, {"h": "v"}),
    Record(3, None, b"v" * 40),
    Record(2, b"", b"", False),
]
_NEWER = [Record(5, b"k", None), Record(None, b"k", b"v", False, [("h", None), ("h", b"\xff")])]


def sealed(data: bytes) -> bytes:
    """The same batch with the right length and checksums: without them nothing more of it is read."""
    if len(data) < batch.HEADER_BYTES:
        return data
    rest = bytearray(data[12:])
    form = data[:4] if data[:4] in (batch.MAGIC, batch.MAGIC_2) else batch.MAGIC
    if form == batch.MAGIC_2:
        records_crc = google_crc32c.value(bytes(rest[batch.HEADER_BYTES - 12 :]))
        rest[48:52] = records_crc.to_bytes(4, "little")
        crc = google_crc32c.value(form + bytes(rest[: batch.HEADER_BYTES - 12]))
    else:
        crc = google_crc32c.value(bytes(rest))
    return form + len(data).to_bytes(4, "little") + crc.to_bytes(4, "little") + bytes(rest)


def kafka_sealed(data: bytes) -> bytes:
    """Likewise for one of Kafka's."""
    if len(data) < kafka_header.HEADER_BYTES:
        return data
    crc = google_crc32c.value(data[kafka_header.CRC_FROM :])
    return b"%b%b%b\2%b%b" % (
        data[:8],
        (len(data) - 12).to_bytes(4, "big"),
        data[12:16],
        crc.to_bytes(4, "big"),
        data[kafka_header.CRC_FROM :],
    )


def native(data: bytes) -> None:
    """What is accepted of a producer can be read: as many records as it claims, in slices the same ones, and
    packed again the same. The quick check accepts nothing that the thorough one refuses. Stored batches fail
    as InvalidBatch or TooNew only, whatever is in them.
    """
    for given in (data, sealed(data)):
        accepted = _checked(given)
        try:
            header = decode_stored_header(given)
            records = batch.decode(given)
        except (InvalidBatch, TooNew, TooLarge):
            assert accepted is None, "a batch was accepted that cannot be read"
            continue
        assert len(records) == header.count
        assert header.raw_length <= BATCH_RAW_BYTES_MAX
        taken: list[Record | None] = []
        slices = BatchSlices(batch.unpacked(given, header), header)
        while found := slices.take(len(taken), header.count):
            taken += found
        assert taken == records, "slices have other records"
        if accepted is not None:
            again = batch.encode(records, format=header.format)
            assert batch.decode(again) == records, "packed again they are other records"
            assert not header.flags & BatchFlag.HAS_REMOVED


def _checked(given: bytes) -> object:
    quick = accepted = None
    with contextlib.suppress(InvalidBatch, InvalidRequest, TooLarge):
        accepted = batch_check.check(given)
    try:
        quick = batch_check.check_if_light(given)
    except (InvalidBatch, InvalidRequest, TooLarge):
        assert accepted is None, "the quick check refuses what the thorough one accepts"
    assert quick is None or quick == accepted, "the quick check accepts what the thorough one refuses"
    return accepted


def kafka(data: bytes) -> None:
    """Kafka's batches fail as InvalidBatch, TooLarge or TooNew only; what can be read has as many records as
    it claims, in slices the same ones, and never more bytes than were allowed for before it was decompressed.
    """
    for given in (data, kafka_sealed(data)):
        try:
            header = kafka_header.decode_stored_header(given)
            records = kafka_batch.decode(given)
        except (InvalidBatch, TooLarge, TooNew):
            continue
        raw = kafka_batch.unpacked(given, header)
        assert len(raw) <= header.raw_length <= BATCH_RAW_BYTES_MAX
        assert len(records) == header.positions
        assert header.is_control or len(records) - records.count(None) == header.record_count
        slices = kafka_batch.KafkaSlices(raw, header)
        taken: list[Record | None] = []
        while found := slices.take(len(taken), header.positions):
            taken += found
        assert header.is_control or taken == records, "slices have other records"


def _native_seeds() -> Iterator[bytes]:
    for codec in (batch.CODEC_NONE, batch.CODEC_ZSTD):
        yield batch.encode(_RECORDS, codec=codec, producer_id=b"p" * 16, producer_epoch=1, sequence=7)
        yield batch.encode([*_RECORDS, *_NEWER, None], codec=codec, format=2)
        yield batch.encode(_NEWER, codec=codec, format=2)
    yield batch.encode([Record(1, None, b"x" * 70)] * 600)
    yield batch.encode([Record(1, None, b"x" * 5, False, [("a", b"")] * 20)], format=2)
    yield msgspec.msgpack.encode([1, 2])


def _kafka_seeds() -> Iterator[bytes]:
    for codec in kafka_batches.CODECS:
        yield kafka_batches.encode([*_RECORDS, _NEWER[1]], codec=codec)
        yield kafka_batches.encode([Record(1, None, b"")] * 30, codec=codec)


TARGETS = (Target("native_batch", native, _native_seeds), Target("kafka_batch", kafka, _kafka_seeds))
