"""Checking a Kafka record batch on its way in: checksum, exact count, offsets, times, every cap.

Producers may not send what only brokers write: control batches, append times, batches with holes. As for our
own batches (``batch_check.py``), ``check_if_light`` says when to check one outside of the event loop.
"""

from __future__ import annotations

from typing import Final

from floodmark.errors import InvalidBatch, TooLarge
from floodmark.format.batch_header import BatchHeader
from floodmark.format.kafka_batch import unpacked
from floodmark.format.kafka_header import NONE, KafkaHeader, decode_header
from floodmark.format.kafka_records import decode_records
from floodmark.format.limits import BATCH_HEADERS_MAX, RECORD_BYTES_MAX_DEFAULT, RECORD_HEADERS_MAX

LIGHT_RECORDS_MAX: Final = 5_000
LIGHT_HEADERS_MAX: Final = 10_000
LIGHT_BYTES_MAX: Final = 1 << 20
"""Bytes of compressed records."""


def check(batch: bytes, *, record_bytes_max: int = RECORD_BYTES_MAX_DEFAULT) -> BatchHeader:
    """Check a whole batch and return its header.

    Raises ``InvalidBatch``, ``InvalidRequest`` or ``TooLarge``.
    """
    return _checked(batch, decode_header(batch), record_bytes_max, BATCH_HEADERS_MAX)


def check_if_light(batch: bytes, *, record_bytes_max: int = RECORD_BYTES_MAX_DEFAULT) -> BatchHeader | None:
    """Like ``check``, or None, with the batch not judged yet, if that takes more than some milliseconds."""
    header = decode_header(batch)
    if header.record_count > LIGHT_RECORDS_MAX or (header.codec and header.raw_length > LIGHT_BYTES_MAX):
        return None
    try:
        return _checked(batch, header, record_bytes_max, LIGHT_HEADERS_MAX)
    except TooLarge as error:
        if error.fields.get("limit") == LIGHT_HEADERS_MAX:
            return None
        raise


def _checked(batch: bytes, header: KafkaHeader, record_bytes_max: int, headers_max: int) -> BatchHeader:
    if header.is_control:
        raise InvalidBatch("a producer cannot send a control batch")
    if header.append_time is not None:
        raise InvalidBatch(
            "a producer's batch cannot have an append time: its records have times of their own"
        )
    if header.record_count != header.positions:
        raise InvalidBatch(f"the batch claims {header.record_count} records at {header.positions} offsets")
    raw = bytes(unpacked(batch, header))
    records = decode_records(raw, header, header.record_count, 0, header.positions, headers_max)
    _check_times([record.timestamp for record in records if record is not None], header)
    is_large = header.raw_length > record_bytes_max
    for record in records:
        if record is not None and (is_large or (record.pairs and len(record.pairs) > RECORD_HEADERS_MAX)):
            record.check(record_bytes_max)
    return header.view()


def _check_times(times: list[int | None], header: KafkaHeader) -> None:
    """A search by time trusts the header, and uses the append time if the header has no time."""
    known = [time for time in times if time is not None]
    if len(known) < len(times) and NONE not in (header.base_timestamp, header.max_timestamp):
        raise InvalidBatch("a record has no timestamp, and the batch has one")
    if known and max(known) > header.max_timestamp:
        raise InvalidBatch("maxTimestamp is less than a record's timestamp")
