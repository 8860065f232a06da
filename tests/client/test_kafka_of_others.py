"""Kafka record batches that another implementation makes and reads: kafka-python, of other hands than ours.

Hypothesis says with a failure how to have the same example again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from floodmark.errors import InvalidBatch, TooLarge, TooNew
from floodmark.format import kafka_batch
from floodmark.format.batch import BatchFlag, ProducerKind
from floodmark.format.kafka_check import check
from floodmark.format.record import Record
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.kafka_batches import CODECS, encode, resealed

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # It reads its resources in a way of old.
    from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
    from kafka.record.util import decode_varint

times = st.integers(0, 2**62)
contents = st.none() | st.binary(max_size=40) | st.integers(60, 9_000).map(bytes)
pairs = st.lists(st.tuples(st.text(max_size=6), contents), max_size=4)
theirs = st.builds(
    Record, times, contents, contents, st.just(value=False), pairs.map(lambda found: found or None)
)
producers = st.just((-1, -1, -1)) | st.tuples(
    st.integers(0, 2**63 - 1), st.integers(0, 2**15 - 1), st.integers(0, 2**31 - 1)
)
NAMES = {0: "none", 1: "gzip", 4: "zstd"}


def made_by_it(
    content: list[Record], codec: int, producer: tuple[int, int, int] = (-1, -1, -1), *, transactional: bool
) -> bytes:
    """A batch of its builder, as its producer sends it."""
    builder = DefaultRecordBatchBuilder(2, codec, transactional, *producer, 1 << 30)
    for place, record in enumerate(content):
        added = builder.append(place, record.timestamp, record.key, record.value, record.pairs or [])
        assert added is not None
    return bytes(builder.build())


def read_by_it(data: bytes) -> list[Record | None]:
    """What its consumer would show, None where an offset has no record. Raises whatever it raises."""
    found = DefaultRecordBatch(data)
    assert found.validate_crc()
    shown: list[Record | None] = [None] * (found.last_offset_delta + 1)
    for record in found:
        time = None if record.timestamp == -1 else record.timestamp
        shown[record.offset] = Record(time, record.key, record.value, False, record.headers or None)
    return shown


@settings(print_blob=True, deadline=None)
@given(
    content=st.lists(theirs, min_size=1, max_size=30),
    codec=st.sampled_from(sorted(NAMES)),
    producer=producers,
    transactional=st.booleans(),
)
def test_what_it_makes_is_read_here(
    content: list[Record], codec: int, producer: tuple[int, int, int], *, transactional: bool
) -> None:
    """Records, tombstones, headers, the producer's numbers, with every codec that is known here."""
    transactional = transactional and producer[0] >= 0
    data = made_by_it(content, codec, producer, transactional=transactional)
    view = check(data, record_bytes_max=1 << 20)
    assert kafka_batch.decode(data) == content
    assert view.codec in (codec, 0), "it leaves out a codec that gains nothing"
    assert (view.count, view.first_timestamp) == (len(content), content[0].timestamp)
    assert view.max_timestamp == max(record.timestamp or 0 for record in content)
    assert bool(view.flags & BatchFlag.TRANSACTIONAL) is transactional
    if producer[0] < 0:
        assert (view.producer_kind, view.is_idempotent) == (ProducerKind.NONE, False)
    else:
        assert (view.producer_number, view.producer_epoch, view.sequence) == producer


@pytest.mark.parametrize("codec", sorted(NAMES))
def test_its_compression_is_really_met(codec: int) -> None:
    """Else the test above says less than it seems to."""
    content = [Record(n, b"key", b"value" * 40, pairs=[("h", None)]) for n in range(500)]
    data = made_by_it(content, codec, transactional=False)
    assert (data[22] & 7, kafka_batch.decode(data)) == (codec, content)


@settings(print_blob=True, deadline=None)
@given(
    content=st.lists(theirs | st.none(), min_size=1, max_size=20).filter(any),
    codec=st.sampled_from(sorted(CODECS)),
)
def test_what_our_tests_make_it_reads_alike(content: list[Record | None], codec: str) -> None:
    """So the batches of other tests, with holes too, are Kafka's."""
    data = encode(content, codec=codec)
    assert read_by_it(data) == kafka_batch.decode(data) == content


@settings(print_blob=True, deadline=None)
@given(
    content=st.lists(theirs, min_size=1, max_size=3),
    changes=st.lists(st.tuples(st.integers(61, 400), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_of_changed_records_both_say_the_same(content: list[Record], changes: list[tuple[int, int]]) -> None:
    """Whatever is read here, it reads too, and to the same; some that it lets pass are refused here."""
    data = bytearray(encode(content))
    for position, value in changes:
        if position < len(data):
            data[position] = value
    made = resealed(data)
    try:
        ours = kafka_batch.decode(made)
    except (InvalidBatch, TooLarge, TooNew):
        return
    # A record's first byte means nothing yet; it takes that for a number of several bytes from 0x80 on.
    if max(_attributes(made)) < 0x80:
        assert read_by_it(made) == ours


def _attributes(batch: bytes) -> Iterator[int]:
    """The first byte of each record of a batch that is not compressed."""
    position = 61
    while position < len(batch):
        length, position = decode_varint(batch, position)
        yield batch[position]
        position += length


@pytest.mark.parametrize("codec", [2, 3])
def test_codecs_to_come_are_told_from_damage(codec: int) -> None:
    """snappy and lz4: their numbers are known to be Kafka's."""
    data: Any = bytearray(made_by_it([Record(1, b"k", b"v")], 0, transactional=False))
    data[22] = codec
    with pytest.raises(TooNew, match=f"has Kafka's codec {codec}"):
        kafka_batch.decode(resealed(data))
