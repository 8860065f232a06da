"""What the leaders of queues read of topics and store in them, wherever these are led."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from floodmark.errors import TooLarge, UnknownTopic
from floodmark.format.batch import CODEC_NONE, CODEC_ZSTD, BatchHeader, encode_with_header, producer_id_of
from floodmark.format.frame import FrameHeader, walk
from floodmark.format.frame_attributes import Attribute, attributes
from floodmark.format.frame_records import has_records, header_in, records_in
from floodmark.format.position import Position, Source, position_in
from floodmark.format.record import Record

from node.broker import Acks, Appended, Bounds, Partition, SourcePosition, TopicLimits
from node.coordinator.delivery.dead_letters import without_added
from node.coordinator.delivery.ports import Chunk, DeadSource, Piece, TakenOver
from node.service.inside_line import Found
from node.service.leaders import Leader
from node.service.router import at_leader

if TYPE_CHECKING:
    from node.service.service import Service

_LEADER_S: Final = 2.0
"""How long a leader is looked for, before the queue tries again later."""
_STORE_S: Final = 10.0
_INLINE_BYTES: Final = 256 << 10
"""Larger batches are decoded in a thread."""
_INLINE_RECORDS: Final = 2_000
_BACK_OFFSETS: Final = 1_000
"""How far back one read goes, where it is looked for what was stored last."""
_PARTY: Final = "queues"
_FORMAT: Final = 2


class QueueRecords:
    """Implements ``RecordSource`` and ``DeadLetterTarget``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def partitions(self, topic_id: int) -> int:
        """See ``RecordSource``."""
        try:
            return self._limits(topic_id).partitions
        except UnknownTopic:
            return 0

    def record_bytes_max(self, topic_id: int) -> int:
        """See ``DeadLetterTarget``."""
        return self._limits(topic_id).max_record_bytes

    async def bounds(self, topic_id: int, partition: int, *, timeout_s: float) -> tuple[int, int]:
        """See ``RecordSource``."""

        def look(leader: Leader, left_s: float) -> Awaitable[Bounds]:
            return leader.tail(timeout_s=left_s)

        there = await self._partition(topic_id, partition)
        found, _ = await at_leader(self._service, there, look, timeout_s=timeout_s)
        return found.log_start_offset, found.high_watermark

    async def read(self, topic_id: int, partition: int, offset: int, *, max_bytes: int) -> Chunk:
        """See ``RecordSource``."""
        service = self._service
        there = await self._partition(topic_id, partition)
        with service.answers.hold(_PARTY) as hold:

            def read(leader: Leader, _left_s: float) -> Awaitable[Found]:
                return leader.fetch(str(offset), max_bytes=max_bytes, verify=True, hold=hold)

            found, _ = await at_leader(service, there, read, timeout_s=_LEADER_S)
            fetched = found.fetched
            pieces = []
            for header, payload in walk(fetched.frames):
                if has_records(header) and header.next_offset > offset:
                    pieces.append(_from(offset, await _piece(header, payload)))
        bounds = fetched.bounds
        return Chunk(pieces, max(offset, fetched.next_offset), bounds.log_start_offset, bounds.high_watermark)

    async def wait(self, topic_id: int, offsets: Mapping[int, int], *, wait_s: float) -> Collection[int]:
        """See ``RecordSource``."""
        partitions = [await self._partition(topic_id, number) for number in offsets]
        return await self._service.watches.wait(partitions, list(offsets.values()), wait_s=wait_s)

    async def take_over(self, topic_id: int, source: DeadSource) -> TakenOver:
        """See ``DeadLetterTarget``.

        Partitions are never fewer than before: whichever took letters of this source has them still under way
        in its own name, until the epoch ends there too.
        """
        count = self._limits(topic_id).partitions
        chosen = source.partition % count
        number, found_in, epoch = 0, chosen, 0
        for partition in sorted({source.partition % each for each in range(1, count + 1)}):
            if partition != chosen and not await self._has_any(topic_id, partition, source):
                continue
            begun = await self._begin(topic_id, partition, source)
            if (begun.next_offset or 0) > number:
                number, found_in = begun.next_offset or 0, partition
            if partition == chosen:
                epoch = begun.producer_epoch
        return TakenOver(chosen, epoch, number, found_in)

    async def _has_any(self, topic_id: int, partition: int, source: DeadSource) -> bool:
        def look(leader: Leader, left_s: float) -> Awaitable[list[SourcePosition]]:
            return leader.positions(_source(source).group, timeout_s=left_s)

        there = await self._partition(topic_id, partition)
        found, _ = await at_leader(self._service, there, look, timeout_s=_LEADER_S)
        return any((each.topic_id, each.partition) == source[1:] for each in found)

    async def _begin(self, topic_id: int, partition: int, source: DeadSource) -> SourcePosition:
        def begin(leader: Leader, left_s: float) -> Awaitable[SourcePosition]:
            return leader.begin_epoch(_source(source), producer_id_of(_name(source)), timeout_s=left_s)

        there = await self._partition(topic_id, partition)
        begun, _ = await at_leader(
            self._service, there, begin, timeout_s=_STORE_S, is_recognised=lambda: True
        )
        return begun

    async def store(
        self,
        topic_id: int,
        partition: int,
        source: DeadSource,
        records: Sequence[Record],
        *,
        epoch: int,
        sequence: int,
        number: int,
    ) -> int:
        """See ``DeadLetterTarget``."""
        encode = partial(
            encode_with_header,
            producer_id=producer_id_of(_name(source)),
            producer_epoch=epoch,
            sequence=sequence,
            format=_FORMAT,
        )
        if sum([record.size for record in records]) > _INLINE_BYTES:
            batch, header = await asyncio.to_thread(_fitting, encode, records)
        else:
            batch, header = encode(records)
        position = Position(*_source(source), number)

        def append(leader: Leader, left_s: float) -> Awaitable[Appended]:
            return leader.append(batch, header, acks=Acks.QUORUM, timeout_s=left_s, position=position)

        there = await self._partition(topic_id, partition)
        stored, _ = await at_leader(
            self._service, there, append, timeout_s=_STORE_S, is_recognised=lambda: True
        )
        return stored.first_offset

    async def last_stored(
        self, topic_id: int, partition: int, source: DeadSource, number: int
    ) -> Piece | None:
        """See ``DeadLetterTarget``."""
        service = self._service
        there = await self._partition(topic_id, partition)
        start, end = await self.bounds(topic_id, partition, timeout_s=_LEADER_S)
        wanted = Position(*_source(source), number)
        before = end
        while before > start:
            offset = max(start, before - _BACK_OFFSETS)
            first, found = offset, None
            while offset < before:
                with service.answers.hold(_PARTY) as hold:

                    def read(leader: Leader, _left_s: float, offset: int = offset) -> Awaitable[Found]:
                        return leader.fetch(str(offset), max_bytes=_INLINE_BYTES, verify=True, hold=hold)

                    answer, _ = await at_leader(service, there, read, timeout_s=_LEADER_S)
                    for header, payload in walk(answer.fetched.frames):
                        if has_records(header) and position_in(header, payload) == wanted:
                            found = await _piece(header, payload)
                    if answer.fetched.next_offset <= offset:
                        break
                    offset = answer.fetched.next_offset
            if found is not None:
                return found
            before = first
        return None

    async def forget(self, topic_id: int, queue_number: int) -> None:
        """See ``DeadLetterTarget``."""
        group = _source(DeadSource(queue_number, topic_id, 0)).group

        def remove(leader: Leader, left_s: float) -> Awaitable[None]:
            return leader.remove_positions(group, timeout_s=left_s)

        for partition in range(self.partitions(topic_id)):
            there = await self._partition(topic_id, partition)
            await at_leader(self._service, there, remove, timeout_s=_STORE_S, is_recognised=lambda: True)

    def _limits(self, topic_id: int) -> TopicLimits:
        """As this node knows them. Raises ``UnknownTopic``."""
        limits = self._service.broker.topic_limits(self._named(topic_id))
        if limits.topic_id != topic_id:
            raise _gone(topic_id)
        return limits

    async def _partition(self, topic_id: int, partition: int) -> Partition:
        return await self._service.topics.partition(self._named(topic_id), partition, topic_id)

    def _named(self, topic_id: int) -> str:
        name = self._service.broker.groups.topic_name(topic_id)
        if name is None:
            raise _gone(topic_id)
        return name


def _gone(topic_id: int) -> UnknownTopic:
    return UnknownTopic(f"the topic with id {topic_id} is gone")


def _fitting(
    encode: Callable[..., tuple[bytes, BatchHeader]], records: Sequence[Record]
) -> tuple[bytes, BatchHeader]:
    """Records that are near the limit of a batch are compressed, and if need be without what was added: a
    record that could be stored once can be stored again."""
    for some in (records, [without_added(record) for record in records]):
        for codec in (CODEC_NONE, CODEC_ZSTD):
            try:
                return encode(some, codec=codec)
            except TooLarge as error:
                refusal = error
    raise refusal


async def _piece(header: FrameHeader, payload: memoryview) -> Piece:
    """All records of a frame. Raises ``InvalidBatch``, ``TooNew``."""
    said = header_in(header, payload)
    if said.raw_length > _INLINE_BYTES or said.count > _INLINE_RECORDS:
        records = await asyncio.to_thread(records_in, header, payload)
    else:
        records = records_in(header, payload)
    deliver_at = attributes(header, payload).get(int(Attribute.DELIVER_AT), 0) if header.flags else 0
    return Piece(
        header.first_offset,
        header.append_time,
        deliver_at if type(deliver_at) is int else 0,
        records,
    )


def _from(offset: int, piece: Piece) -> Piece:
    """Without what comes before ``offset``."""
    if piece.first_offset >= offset:
        return piece
    return piece._replace(first_offset=offset, records=piece.records[offset - piece.first_offset :])


def _source(source: DeadSource) -> Source:
    return Source(f"__floodmark_queue.{source.queue_number}", source.topic_id, source.partition)


def _name(source: DeadSource) -> str:
    """The same for every leader: a partition remembers one producer for each source."""
    return f"dead letters {source.queue_number} {source.topic_id} {source.partition}"
