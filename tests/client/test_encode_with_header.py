"""Who makes a batch knows its header: the one that a reader finds. The bytes are what they always were."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from floodmark.errors import InvalidBatch
from floodmark.format import batch
from floodmark.format.batch import ProducerKind
from floodmark.format.batch_header import NUMBERED_EPOCH_MAX, RECORD_SEQUENCE_MAX
from floodmark.format.record import Record

BYTES_OF_EARLIER_BUILDS = "66b337baddd92e3bb5e0c526a0bd17c6babdff72f29e9432b547cdffb0162815"
"""Of the batches of seed 0, as the build before this function made them."""
ROUNDS = 400


def _record(rnd: random.Random, batch_format: int) -> Record:
    key = rnd.choice([None, b"", rnd.randbytes(5)])
    pairs: Any = rnd.choice([None, [("a", b"1"), ("b", b"2")]])
    if batch_format == 1:
        return Record(rnd.randrange(-5, 1 << 42), key, rnd.randbytes(9), pairs=pairs)
    time = rnd.choice([None, rnd.randrange(-5, 1 << 42)])
    if rnd.random() < 0.2:
        return Record(time, key, b'{"a":1}', is_json=True, pairs=[("a", None), ("a", b"")])
    return Record(time, key, rnd.choice([None, rnd.randbytes(9)]), pairs=pairs)


def _producer(rnd: random.Random) -> dict[str, Any]:
    """Of each kind, or of the one that a given id has by default."""
    kind = rnd.choice([None, *ProducerKind])
    if kind is ProducerKind.NONE or (kind is None and rnd.random() < 0.5):
        return {"producer_kind": kind}
    numbered = kind is ProducerKind.NUMBERED
    return {
        "producer_kind": kind,
        "producer_id": batch.numbered_id_of(rnd.randrange(1, 1 << 63)) if numbered else rnd.randbytes(16),
        "producer_epoch": rnd.randrange(NUMBERED_EPOCH_MAX + 1 if numbered else 1 << 32),
        "sequence": rnd.randrange(RECORD_SEQUENCE_MAX + 1 if numbered else 1 << 64),
        "transactional": numbered and rnd.random() < 0.5,
    }


def _case(rnd: random.Random) -> tuple[list[Record | None], dict[str, Any]]:
    batch_format = rnd.choice([1, 2])
    records: list[Record | None] = [_record(rnd, batch_format) for _ in range(rnd.randrange(1, 8))]
    if batch_format == 2 and rnd.random() < 0.2:
        records[rnd.randrange(len(records))] = None
    return records, {"format": batch_format, **_producer(rnd)}


def test_the_header_is_the_one_that_a_reader_finds() -> None:
    """For random records, in both formats, of every kind of producer, compressed or not."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with a failure
    rnd = random.Random(seed)
    for _ in range(ROUNDS):
        records, said = _case(rnd)
        for codec in (batch.CODEC_NONE, batch.CODEC_ZSTD):
            data, header = batch.encode_with_header(records, codec=codec, **said)
            assert data == batch.encode(records, codec=codec, **said)
            assert header == batch.decode_header(data) == batch.decode_stored_header(data)
            assert type(header.flags) is int
            assert type(header.producer_kind) is ProducerKind


def test_the_bytes_are_those_of_earlier_builds() -> None:
    """Stored batches are compared by their checksums, across builds."""
    rnd = random.Random(0)
    digest = hashlib.sha256()
    for _ in range(ROUNDS):
        records, said = _case(rnd)
        digest.update(batch.encode(records, **said))
    assert digest.hexdigest() == BYTES_OF_EARLIER_BUILDS


@pytest.mark.parametrize(
    "said",
    [
        {"producer_kind": ProducerKind.NAMED},
        {"producer_epoch": 1},
        {"transactional": True},
        {"producer_id": bytes(15) + b"1", "producer_kind": ProducerKind.NUMBERED},
        {
            "producer_id": batch.numbered_id_of(1),
            "producer_kind": ProducerKind.NUMBERED,
            "producer_epoch": NUMBERED_EPOCH_MAX + 1,
        },
    ],
)
def test_no_header_is_made_that_a_reader_refuses(said: dict[str, Any]) -> None:
    """Nodes rely on it where they make a batch and store it without reading it."""
    records = [Record(1, None, b"x")]
    with pytest.raises(InvalidBatch):
        batch.decode_header(batch.encode(records, format=2, **said))
    with pytest.raises(InvalidBatch):
        batch.encode_with_header(records, format=2, **said)
