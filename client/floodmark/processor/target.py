"""The partition that a processor stores in: taking its source over, and storing batches with positions."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from floodmark.format.batch import encode, producer_id_of
from floodmark.format.position import HEADER, Position, Source
from floodmark.format.record import Record
from floodmark.pin import Pin
from floodmark.transport.http import BATCH_MEDIA_TYPE, GRACE_S, Request, Transport
from floodmark.transport.pacing import Deadline

_FORMAT: Final = 2
_GROUP_LENGTH_MAX: Final = 200
"""Of groups with longer names a digest is in the producer's, which has a bound too."""


class Taken(msgspec.Struct, frozen=True):
    """A source taken over: ``next_offset`` is where to go on, None at its beginning."""

    next_offset: int | None
    producer_epoch: int


class Target:
    """One partition, for one source of one group."""

    def __init__(
        self,
        transport: Transport,
        topic: str,
        partition: int,
        source: Source,
        *,
        topic_id: int,
        codec: int,
        timeout_s: float,
    ) -> None:
        self._transport = transport
        self._partition = f"/v1/topics/{topic}/partitions/{partition}"
        self._positions = f"{self._partition}/positions/{source.group}"
        self._route = f"{topic}/{partition}"
        self._source = source
        self._headers = Pin(topic_id).headers({})
        self._codec = codec
        self._timeout_s = timeout_s
        group = source.group
        if len(group) > _GROUP_LENGTH_MAX:
            group = hashlib.blake2b(group.encode(), digest_size=32).hexdigest()
        self._name = f"process {group} {source.topic_id} {source.partition}"
        """The same for every instance: a partition remembers one producer for each source."""
        self._epoch = self._sequence = 0

    async def take_over(self) -> int | None:
        """Fence all earlier instances, and learn where they were. An earlier epoch's batches that are still
        under way are not stored any more.
        """
        source = self._source
        taking = {"topic_id": source.topic_id, "partition": source.partition, "producer": self._name}
        answer = await self._transport.call(
            Request(
                method="POST",
                path=self._positions,
                query=self._query(),
                headers=self._headers,
                body=msgspec.json.encode(taking),
                route=self._route,
            ),
            Deadline(self._timeout_s),
            attempt_timeout_s=self._transport.request_timeout_s + GRACE_S,
        )
        taken = answer.convert(Taken)
        self._epoch, self._sequence = taken.producer_epoch, 0
        return taken.next_offset

    async def store(self, records: list[Record], next_offset: int) -> None:
        """Store them with the position, however often that takes.

        Raises ``ProducerFenced``: another instance took over. ``OutOfOrderSequence``: the partition has
        forgotten the producer, and the source is to be taken over again.
        """
        data = encode(
            records,
            codec=self._codec,
            producer_id=producer_id_of(self._name),
            producer_epoch=self._epoch,
            sequence=self._sequence,
            format=_FORMAT,
        )
        position = Position(*self._source, next_offset)
        request = Request(
            method="POST",
            path=f"{self._partition}/records",
            query=self._query(),
            headers={**self._headers, "Content-Type": BATCH_MEDIA_TYPE, HEADER: position.as_header()},
            body=data,
            route=self._route,
        )
        await self._transport.call(
            request,
            Deadline(self._timeout_s),
            attempt_timeout_s=self._transport.request_timeout_s + GRACE_S,
        )
        self._sequence += 1

    async def move(self, next_offset: int) -> None:
        """Store the position alone: nothing came of what was read since the last one.

        Raises ``ProducerFenced``; ``FeatureLevelNeeded`` and ``NotFound`` or ``MethodNotAllowed`` where the
        cluster knows no such positions.
        """
        moved = {
            "topic_id": self._source.topic_id,
            "partition": self._source.partition,
            "next_offset": next_offset,
            "producer": self._name,
            "producer_epoch": self._epoch,
        }
        await self._transport.call(
            Request(
                method="PUT",
                path=self._positions,
                query=self._query(),
                headers=self._headers,
                body=msgspec.json.encode(moved),
                route=self._route,
            ),
            Deadline(self._timeout_s),
            attempt_timeout_s=self._transport.request_timeout_s + GRACE_S,
        )

    def _query(self) -> dict[str, str | int]:
        """The node gets less time than the connection, so that it can still say how the request ended."""
        timeout_s = min(self._transport.request_timeout_s, self._timeout_s)
        return {"timeout": f"{max(1, round(timeout_s * 1000))}ms"}
