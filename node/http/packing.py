"""Everything done with a heavy body, in a process of its own (``packer_process.py``)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from floodmark.format.batch_check import check

from node.http.body_weight import check_count
from node.http.media import Media
from node.http.records_in import Reading, read_records
from node.service.division import NOBODY, Division, Packed, of_partition, packed, places_of, shares_of
from node.service.repeated_batches import TRACE


class Order(msgspec.Struct, frozen=True, array_like=True):
    """What has to be known besides the body."""

    media: Media
    reading: Reading
    traceparent: str | None = None
    division: Division = Division()


class _Head(NamedTuple):
    """The headers that records take something from; a single raw value is never packed elsewhere."""

    headers: dict[str, str]
    raw_headers: tuple[tuple[bytes, bytes], ...] = ()


def pack(order: Order, body: bytes) -> Packed:
    """The body's records as batches. Raises the body's refusal.

    A record batch is only checked; it is stored as it is.
    """
    reading, division = order.reading, order.division
    if order.media is Media.BATCH:
        check(body, record_bytes_max=reading.record_bytes_max)
        return Packed((), {})
    check_count(order.media, body)
    head = _Head({} if order.traceparent is None else {TRACE: order.traceparent})
    found = read_records(head, order.media, body, reading)
    version = reading.batch_format
    if division.partition is not None:
        records = of_partition(found, division.partition, are_copies=reading.copies)
        return Packed((), {division.partition: packed(records, division.producer, version)[0]})
    places = places_of(found, division.partitions, lambda: division.keyless)
    batches = {
        number: packed(records, NOBODY, version)[0] for number, records in shares_of(found, places).items()
    }
    return Packed(places, batches)
