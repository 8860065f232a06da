"""Producing into a topic: records go to the partitions of their keys, each partition's share as one batch.

What holds within one partition (a producer's sequence, an expected offset) cannot be promised here: a retry
may choose other partitions for its records, now or once the topic has more of them. So it is refused.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from floodmark.errors import FloodmarkError, InvalidRequest
from floodmark.format import batch as codec
from floodmark.format.batch import BatchHeader
from floodmark.format.batch_check import check_if_light
from floodmark.format.record import Record

from node.broker import Appended, Partition, TopicLimits
from node.service.data_requests import Allowed, Outcome, ProduceRequest, Shared
from node.service.delivery import check_can_wait, check_deliver_at
from node.service.division import NOBODY, Division, Packed, packed, places_of, shares_of
from node.service.leaders import Leader, LeaderHere
from node.service.request_context import RequestContext
from node.service.router import at_leader

if TYPE_CHECKING:
    from node.service.service import Service

_SMALL_BYTES_MAX: Final = 64 << 10
"""A larger body is packed at once, and refused as a whole if it cannot be."""


class _Share:
    """What goes to one partition: a batch, or records that may share one with others at this node."""

    __slots__ = ("_batch", "_header", "_records", "_request", "_service")

    def __init__(
        self,
        service: Service,
        request: ProduceRequest,
        records: Sequence[Record],
        batch: bytes = b"",
        header: BatchHeader | None = None,
    ) -> None:
        self._service = service
        self._request = request
        self._records = records
        self._batch = batch
        self._header = header

    async def store(self, leader: Leader, timeout_s: float) -> Appended:
        """At the leader."""
        if self._records and isinstance(leader, LeaderHere):
            size = sum(record.size for record in self._records)
            return await leader.partition.produce_records(self._records, size=size, timeout_s=timeout_s)
        if not self._batch:
            batch_format = self._service.broker.batch_format
            self._batch, self._header = codec.encode_with_header(self._records, format=batch_format)
        if self._header is None:  # It was made in another process.
            self._header = codec.decode_header(self._batch)
        request = self._request
        return await leader.append(
            self._batch,
            self._header,
            acks=request.acks,
            timeout_s=timeout_s,
            deliver_at_ms=request.deliver_at_ms,
        )


_Shares = dict[int, _Share]
"""By partition."""


class TopicProducing:
    """One per service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._turn = itertools.count()

    async def produce(self, context: RequestContext, request: ProduceRequest) -> Shared:
        """What became of each partition's share. Raises what all of the body is refused for."""
        service = self._service
        service.producing.admit(context, request)
        limits = await service.topics.limits(request.topic, request.topic_id)
        if request.deliver_at_ms is not None:
            await check_deliver_at(service, request.deliver_at_ms, request.topic, limits.topic_id)
        if request.body.batch is not None:
            places, shares = await self._untouched(request, request.body.batch, limits)
        else:
            places, shares = await service.once_level_known(lambda: self._divided(request, limits))
        return Shared(limits.topic_id, places, await self._send(request, limits.topic_id, shares))

    async def _divided(self, request: ProduceRequest, limits: TopicLimits) -> tuple[Sequence[int], _Shares]:
        if not request.body.is_heavy:
            return self._shared_out(request, limits)
        places, batches = await self._packed(request, limits)
        return places, {
            number: _Share(self._service, request, (), batch) for number, batch in batches.items()
        }

    def _allowed(self, limits: TopicLimits) -> Allowed:
        service = self._service
        return Allowed(service.wall_ms(), limits.max_record_bytes, service.broker.batch_format)

    async def _untouched(
        self, request: ProduceRequest, batch: bytes, limits: TopicLimits
    ) -> tuple[Sequence[int], _Shares]:
        """A batch is forwarded unchanged, so all its records go to one partition, whatever their keys."""
        header = check_if_light(batch, record_bytes_max=limits.max_record_bytes)
        if header is None:
            await self._packed(request, limits)
            header = codec.decode_header(batch)
        if request.deliver_at_ms is not None:
            check_can_wait(header)
        if header.is_idempotent:
            raise needs_partition("the producer that the batch names", request.topic)
        number = next(self._turn) % limits.partitions
        return [number] * header.count, {number: _Share(self._service, request, (), batch, header)}

    async def _packed(self, request: ProduceRequest, limits: TopicLimits) -> Packed:
        """Pack a heavy body off the event loop."""
        keyless = next(self._turn) % limits.partitions
        division = Division(partitions=limits.partitions, keyless=keyless)
        return await request.body.pack(self._allowed(limits), division, timeout_s=request.timeout_s)

    def _shared_out(self, request: ProduceRequest, limits: TopicLimits) -> tuple[Sequence[int], _Shares]:
        """The partition of every record in the order sent, and what goes to each partition."""
        allowed = self._allowed(limits)
        found = request.body.read(allowed)
        places = places_of(found, limits.partitions, lambda: next(self._turn) % limits.partitions)
        service = self._service
        parts = shares_of(found, places).items()
        if request.is_plain and request.body.size <= _SMALL_BYTES_MAX:
            return places, {number: _Share(service, request, records) for number, records in parts}
        return places, {
            number: _Share(service, request, (), *packed(records, NOBODY, allowed.batch_format))
            for number, records in parts
        }

    async def _send(self, request: ProduceRequest, topic_id: int, shares: _Shares) -> dict[int, Outcome]:
        service = self._service
        partitions = {
            number: await service.topics.partition(request.topic, number, topic_id) for number in shares
        }
        if len(shares) == 1:
            ((number, share),) = shares.items()
            return {number: await self._outcome(partitions[number], share, request.timeout_s)}
        outcomes = await asyncio.gather(
            *(self._outcome(partitions[number], share, request.timeout_s) for number, share in shares.items())
        )
        return dict(zip(shares, outcomes, strict=True))

    async def _outcome(self, partition: Partition, share: _Share, timeout_s: float) -> Outcome:
        try:
            return (await at_leader(self._service, partition, share.store, timeout_s=timeout_s))[0]
        except FloodmarkError as error:
            return error


def needs_partition(what: str, topic: str) -> InvalidRequest:
    """The refusal of what only holds within one partition."""
    return InvalidRequest(
        f"{what} holds within one partition, and this path chooses partitions for each request: "
        f"post to /v1/topics/{topic}/partitions/N/records with a fixed N"
    )
