"""Divides a request's records among partitions and packs each partition's batch.

Everything here is pure, so that it can run on the event loop for small bodies and in another process for
those that would block the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from floodmark.errors import FeatureLevelNeeded, InvalidRequest, UnknownPartition
from floodmark.format import batch as codec
from floodmark.format.batch import BatchHeader
from floodmark.format.record import Record
from floodmark.producer.partitioner import partition_for

from node.metadata.levels import BATCH_FORMAT_2
from node.outcomes import needs_level

Producer = tuple[bytes, int, int]
"""Id, epoch and sequence, as a batch carries them."""
NOBODY: Final[Producer] = (codec.NO_PRODUCER, 0, 0)


class Incoming(NamedTuple):
    """A record and the partition that it asks for, if any."""

    record: Record
    partition: int | None


class Division(NamedTuple):
    """How a body's records are divided.

    ``partition``: all go there, in the name of ``producer``. None: each goes to one of ``partitions``, and
    those to ``keyless`` that have no key and ask for none.
    """

    partition: int | None = None
    producer: Producer = NOBODY
    partitions: int = 0
    keyless: int = 0


class Packed(NamedTuple):
    """``places``: the partition of each record, in the order sent; empty where the path names it."""

    places: Sequence[int]
    batches: dict[int, bytes]


def packed(records: Sequence[Record], producer: Producer, batch_format: int) -> tuple[bytes, BatchHeader]:
    """One batch of ``records``, and its header."""
    name, epoch, sequence = producer
    return codec.encode_with_header(
        records, producer_id=name, producer_epoch=epoch, sequence=sequence, format=batch_format
    )


def of_partition(found: Sequence[Incoming], number: int, *, are_copies: bool) -> list[Record]:
    """The records, which all go to one partition. Raises ``InvalidRequest`` when one asks for another.

    Copies name the partition that they were read from, and ask for none.
    """
    for item in () if are_copies else found:
        if item.partition is not None and item.partition != number:
            raise InvalidRequest(f"a record asks for partition {item.partition}, the path for {number}")
    return [item.record for item in found]


def places_of(found: Sequence[Incoming], partitions: int, keyless: Callable[[], int]) -> list[int]:
    """The partition of each record: the requested one, that of its key, or one for all keyless ones."""
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


def needs_batch_format_2(what: str) -> FeatureLevelNeeded:
    """The refusal of records that batches of the cluster's feature level cannot hold."""
    return needs_level(what, BATCH_FORMAT_2, BATCH_FORMAT_2 - 1)
