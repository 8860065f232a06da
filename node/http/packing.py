"""A body's records as batches: what partition each goes to, and the bytes that are stored.

Everything here is pure, so that it runs on the event loop for small bodies and in a process of its own
(``packer_process.py``) for those that would hold the loop up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
from floodmark.errors import InvalidRequest, UnknownPartition
from floodmark.format import batch as codec
from floodmark.format.batch_check import check
from floodmark.format.record import Record
from floodmark.producer.partitioner import partition_for

from node.http.body_weight import check_count
from node.http.media import Media
from node.http.records_in import Incoming, Reading, read_records
from node.service.repeated_batches import TRACE

Producer = tuple[bytes, int, int]
"""Id, epoch and sequence, as a batch carries them."""
NOBODY: Final[Producer] = (codec.NO_PRODUCER, 0, 0)


class Order(msgspec.Struct, frozen=True, array_like=True):
    """What has to be known beside the body. ``partition``: of the path; None: one of ``partitions``."""

    media: Media
    reading: Reading
    traceparent: str | None = None
    partition: int | None = None
    producer: Producer = NOBODY
    partitions: int = 0
    keyless: int = 0
    """Where records without a key go that ask for no partition."""


class Packed(NamedTuple):
    """``places``: the partition of each record, in the order sent; of a path's partition nothing is said."""

    places: Sequence[int]
    batches: dict[int, bytes]


class _Head(NamedTuple):
    """The headers that records take something from; a single raw value is never packed elsewhere."""

    headers: dict[str, str]
    raw_headers: tuple[tuple[bytes, bytes], ...] = ()


def pack(order: Order, body: bytes) -> Packed:
    """All that is to be done with a heavy body. Raises what it is refused for.

    A record batch is checked only; it is stored as it is.
    """
    limit, version = order.reading.record_bytes_max, order.reading.batch_format
    if order.media is Media.BATCH:
        check(body, record_bytes_max=limit)
        return Packed((), {})
    check_count(order.media, body)
    head = _Head({} if order.traceparent is None else {TRACE: order.traceparent})
    found = read_records(head, order.media, body, order.reading)
    if order.partition is not None:
        records = of_partition(found, order.partition, order.reading)
        return Packed((), {order.partition: packed(records, order.producer, version)})
    places = places_of(found, order.partitions, lambda: order.keyless)
    batches = {
        number: packed(records, NOBODY, version) for number, records in shares_of(found, places).items()
    }
    return Packed(places, batches)


def packed(records: Sequence[Record], producer: Producer, batch_format: int) -> bytes:
    """One batch of ``records``."""
    name, epoch, sequence = producer
    return codec.encode(
        records, producer_id=name, producer_epoch=epoch, sequence=sequence, format=batch_format
    )


def of_partition(found: Sequence[Incoming], number: int, reading: Reading) -> list[Record]:
    """The records, which all go to one partition. Raises ``InvalidRequest`` when one asks for another.

    What was read tells which partition it was read from, and asks for none.
    """
    for item in () if reading.copies else found:
        if item.partition is not None and item.partition != number:
            raise InvalidRequest(f"a record asks for partition {item.partition}, the path for {number}")
    return [item.record for item in found]


def places_of(found: Sequence[Incoming], partitions: int, keyless: Callable[[], int]) -> list[int]:
    """By what a record asks for, by its key, or all keyless ones of a request together."""
    place: int | None = None
    places = []
    for record, wanted in found:
        if wanted is not None:
            if wanted >= partitions:
                raise UnknownPartition(f"there is no partition {wanted}; there are {partitions}")
            places.append(wanted)
        elif record.key is not None:
            places.append(partition_for(record.key, partitions))
        else:
            if place is None:
                place = keyless()
            places.append(place)
    return places


def shares_of(found: Sequence[Incoming], places: Sequence[int]) -> dict[int, list[Record]]:
    """Each partition's records, in the order sent."""
    shares: dict[int, list[Record]] = {}
    for item, number in zip(found, places, strict=True):
        shares.setdefault(number, []).append(item.record)
    return shares
