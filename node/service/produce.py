"""Producing into one partition: an atomic batch, with everything a producer may ask for.

A body is decoded and judged at the node where it arrived. What its leader gets, here or elsewhere, is a
batch, or at this node also small records that share one with others'.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from floodmark.errors import (
    FeatureLevelNeeded,
    InvalidRequest,
    OutcomeUnknown,
    SequenceReused,
    Unavailable,
)
from floodmark.format import batch as codec
from floodmark.format.batch import BatchHeader
from floodmark.format.batch_check import check_if_light
from floodmark.format.batch_header import BatchFlag
from floodmark.format.record import Record

from node.broker import Acks, Appended, Partition
from node.metadata.levels import BATCH_FORMAT_2, GROUPS
from node.service import policy
from node.service.data_requests import Allowed, Produced, ProduceRequest
from node.service.delivery import check_can_wait, check_deliver_at
from node.service.division import NOBODY, Division, of_partition, packed
from node.service.forward_batcher import ForwardBatcher
from node.service.leaders import Leader, LeaderHere
from node.service.policy import Operation
from node.service.repeated_batches import Repeats
from node.service.request_context import RequestContext
from node.service.router import at_leader
from node.service.turns import Turns

if TYPE_CHECKING:
    from node.service.service import Service

T = TypeVar("T")


class Made:
    """What was made of a body for the first leader that was asked, and is sent to the next one as well."""

    __slots__ = ("header", "packed")

    def __init__(self) -> None:
        self.header: BatchHeader | None = None
        """Of a body that is a batch itself, once it is checked."""
        self.packed: tuple[bytes, BatchHeader] | None = None
        """Of any other body."""

    @property
    def is_recognised(self) -> bool:
        """Whether a leader that is sent it again knows it: it is the same, and in a producer's name."""
        header = self.header if self.packed is None else self.packed[1]
        return header is not None and header.is_idempotent


class Producing:
    """One per service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._turns = Turns()
        self._repeats = Repeats()
        self._batcher = ForwardBatcher(service)

    def admit(self, context: RequestContext, request: ProduceRequest) -> None:
        """The first steps of every produce, whichever way it takes. Raises what the policy does."""
        self._service.authorize(context, Operation.WRITE, policy.topic(request.topic))
        if request.position is not None:
            self._service.authorize(context, Operation.READ, policy.group(request.position.group))
        self._service.admit(context, Operation.WRITE, request.body.size)

    async def produce(self, context: RequestContext, request: ProduceRequest) -> Produced:
        """Store the records in the partition that is named. Raises as ``Partition.produce`` does."""
        assert request.partition is not None, "keys choose in produce_topic.py"
        self.admit(context, request)
        if request.position is not None:
            request.position.check()
            await self._service.check_level("a position", GROUPS)
        if request.deliver_at_ms is not None:
            await check_deliver_at(self._service, request.deliver_at_ms, request.topic, request.topic_id)
        partition = await self._service.topics.partition(request.topic, request.partition, request.topic_id)
        return await self.at_leader(partition, request, request.timeout_s)

    async def at_leader(
        self,
        partition: Partition,
        request: ProduceRequest,
        timeout_s: float,
        made: Made | None = None,
        after: Unavailable | OutcomeUnknown | None = None,
    ) -> Produced:
        """Store an admitted request's records wherever the leader is.

        ``made``: what ``begin_here`` was given, and ``after`` what came of it.
        """
        made = Made() if made is None else made

        def store(leader: Leader, left: float) -> Awaitable[Appended]:
            return self._service.once_level_known(lambda: self._begin(leader, request, left, made))

        return Produced(
            *await at_leader(
                self._service,
                partition,
                store,
                timeout_s=timeout_s,
                here_only=request.here_only,
                is_recognised=lambda: made.is_recognised and request.acks is Acks.QUORUM,
                after=after,
            )
        )

    def begin_here(self, partition: Partition, request: ProduceRequest, made: Made) -> Awaitable[Appended]:
        """Begin to store an admitted request's records in a partition that this node leads.

        Raises what the body is refused for, at once or when it is awaited. ``Unavailable`` and
        ``OutcomeUnknown`` are no answers yet: ``at_leader`` tells, given ``made``.
        """
        body = request.body
        if body.batch is None and request.is_plain and not body.is_heavy:
            return self._store_shared(partition, request, request.timeout_s)
        return self._begin(LeaderHere(partition), request, request.timeout_s, made)

    def _begin(
        self, leader: Leader, request: ProduceRequest, timeout_s: float, made: Made
    ) -> Awaitable[Appended]:
        body = request.body
        if body.batch is not None:
            return self._store_batch(leader, request, body.batch, timeout_s, made)
        if isinstance(leader, LeaderHere) and request.is_plain and not body.is_heavy:
            return self._store_shared(leader.partition, request, timeout_s)
        return self._service.once_level_known(lambda: self._store_packed(leader, request, timeout_s, made))

    def _store_shared(
        self, partition: Partition, request: ProduceRequest, timeout_s: float
    ) -> Awaitable[Appended]:
        """In one batch with those of others."""
        body = request.body
        found = body.read(self._allowed(partition))
        records = of_partition(found, partition.number, are_copies=body.are_copies)
        return partition.produce_records(records, size=body.size, timeout_s=timeout_s)

    def share(self, partition: Partition, request: ProduceRequest) -> Awaitable[Produced]:
        """Store small plain records, led elsewhere, in one batch with others' on their way there."""
        body = request.body
        if body.is_heavy:  # Many records in few bytes, which have a batch of their own.
            return self.at_leader(partition, request, request.timeout_s)
        try:
            found = body.read(self._allowed(partition))
        except FeatureLevelNeeded:
            return self.at_leader(partition, request, request.timeout_s)
        records = of_partition(found, partition.number, are_copies=body.are_copies)
        return self._batcher.produce(partition, records, body.size)

    def _store_batch(
        self, leader: Leader, request: ProduceRequest, batch: bytes, timeout_s: float, made: Made
    ) -> Awaitable[Appended]:
        if request.producer is not NOBODY:
            raise InvalidRequest("a record batch names its producer itself; leave out the Producer headers")
        if made.header is not None:  # It was checked for the leader before.
            return _append(leader, request, batch, made.header, timeout_s)
        partition = leader.partition
        header = check_if_light(batch, record_bytes_max=self._record_bytes_max(partition))
        if header is None:
            return self._store_checked_elsewhere(leader, request, batch, timeout_s, made)
        made.header = header
        if header.is_idempotent and self._turns.is_waited_for(_name(partition, header.producer_id)):
            return self._append_in_turn(leader, request, batch, header, timeout_s)
        return _append(leader, request, batch, header, timeout_s)

    async def _store_checked_elsewhere(
        self, leader: Leader, request: ProduceRequest, batch: bytes, timeout_s: float, made: Made
    ) -> Appended:
        began = time.monotonic()
        header = codec.decode_header(batch)
        checking = request.body.pack(self._allowed(leader.partition), Division(), timeout_s=timeout_s)
        await self._in_turn(leader.partition, header.producer_id, checking)
        made.header = header
        return await _append(leader, request, batch, header, _left(timeout_s, began))

    async def _append_in_turn(
        self, leader: Leader, request: ProduceRequest, batch: bytes, header: BatchHeader, timeout_s: float
    ) -> Appended:
        began = time.monotonic()
        await self._in_turn(leader.partition, header.producer_id, asyncio.sleep(0))
        return await _append(leader, request, batch, header, _left(timeout_s, began))

    async def _store_packed(
        self, leader: Leader, request: ProduceRequest, timeout_s: float, made: Made
    ) -> Appended:
        """A batch of its own for what is none yet, perhaps in a producer's name."""
        began = time.monotonic()
        partition = leader.partition
        if made.packed is None:
            packing = self._batch_of(partition, request, timeout_s)
            made.packed = await self._in_turn(partition, request.producer[0], packing)
        batch, header = made.packed
        try:
            return await _append(leader, request, batch, header, _left(timeout_s, began))
        except FeatureLevelNeeded:
            made.packed = None  # Another form of it may do, once it is known which.
            raise
        except SequenceReused as refusal:

            async def read_at(now_ms: int) -> list[Record]:
                again, _ = await self._batch_of(partition, request, _left(timeout_s, began), now_ms)
                return await asyncio.to_thread(_decoded, again)

            before = await self._repeats.stored_before(
                self._service, leader, refusal, header.count, read_at, timeout_s=_left(timeout_s, began)
            )
            if before is None:
                raise
            return before

    async def _batch_of(
        self,
        partition: Partition,
        request: ProduceRequest,
        timeout_s: float,
        again_at_ms: int | None = None,
    ) -> tuple[bytes, BatchHeader]:
        """One for all records of a body that is none yet, and its header.

        A heavy body is packed where it holds nobody up.
        """
        body, number = request.body, partition.number
        allowed = self._allowed(partition, again_at_ms)
        if not body.is_heavy:
            records = of_partition(body.read(allowed), number, are_copies=body.are_copies)
            return packed(records, request.producer, allowed.batch_format)
        result = await body.pack(allowed, Division(number, request.producer), timeout_s=timeout_s)
        batch = result.batches[number]
        return batch, codec.decode_header(batch)

    async def _in_turn(self, partition: Partition, producer_id: bytes, work: Awaitable[T]) -> T:
        """The result of ``work``, not before those of the same producer that came earlier."""
        if producer_id == codec.NO_PRODUCER:
            return await work
        return await self._turns.take(_name(partition, producer_id), work)

    def _allowed(self, partition: Partition, again_at_ms: int | None = None) -> Allowed:
        """``again_at_ms``: as the body says them itself, at another time."""
        service = self._service
        return Allowed(
            service.wall_ms() if again_at_ms is None else again_at_ms,
            self._record_bytes_max(partition),
            service.broker.batch_format,
            again_at_ms is not None,
        )

    def _record_bytes_max(self, partition: Partition) -> int:
        return self._service.broker.topic_limits(partition.topic).max_record_bytes


def _decoded(batch: bytes) -> list[Record]:
    """Of a batch that was just made, from which nothing was removed."""
    return [record for record in codec.decode(batch) if record is not None]


def _name(partition: Partition, producer_id: bytes) -> tuple[str, int, bytes]:
    return partition.topic, partition.number, producer_id


def _append(
    leader: Leader, request: ProduceRequest, batch: bytes, header: BatchHeader, timeout_s: float
) -> Awaitable[Appended]:
    if request.position is not None:
        _check_carries(header)
    if request.deliver_at_ms is not None:
        check_can_wait(header)
    return leader.append(
        batch,
        header,
        acks=request.acks,
        timeout_s=timeout_s,
        expected_offset=request.expected_offset,
        position=request.position,
        deliver_at_ms=request.deliver_at_ms,
    )


def _check_carries(header: BatchHeader) -> None:
    """Raises ``InvalidRequest`` for a batch that cannot have a position."""
    if not header.is_idempotent:
        raise InvalidRequest(
            "a position needs an idempotent producer, whose epoch fences earlier ones: send Producer-Id, "
            "Producer-Epoch and Producer-Seq, or a record batch that names its producer"
        )
    if header.format != BATCH_FORMAT_2 or header.flags & BatchFlag.TRANSACTIONAL:
        raise InvalidRequest("a position goes with a record batch of format 2 that is in no transaction")


def _left(timeout_s: float, began: float) -> float:
    return max(0.0, timeout_s - (time.monotonic() - began))
