"""A partition that has a replica on this node: what the service layer asks of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final

from floodmark.errors import FloodmarkError, OffsetBelowStart, OffsetPastEnd, OutcomeUnknown
from floodmark.format import batch as codec
from floodmark.format.batch import BatchHeader, ProducerKind
from floodmark.format.frame import first_damaged
from floodmark.format.position import Position, Source
from floodmark.format.record import Record

from consensus.host import waiting
from consensus.host.group_host import GroupHost
from consensus.host.host_types import Waiters
from consensus.types import Proposal
from node import outcomes
from node.broker import Acks, Appended, Bounds, Fetched, SourcePosition, Unreadable
from node.metadata.state import PartitionEntry, TopicEntry
from node.partition.appender import Appender
from node.partition.batch_format import BatchFormat
from node.partition.coalescer import SHARE_BYTES_MAX, Coalescer
from node.partition.confirmed import REFUSALS, Confirmed
from node.partition.leader_wait import wait_leader
from node.partition.positions_led import PositionsLed
from node.partition.producers import Remembered
from node.partition.remote_partition import RemotePartition
from node.partition.sequences import Flying
from node.partition.slices import offset_reaching
from node.replicas.replica_here import ReplicaHere
from storage.errors import OutOfRange, StorageError
from storage.reader import Slice

_DEAF_S: Final = 1.0
"""How often one that waits for its batch checks whether this replica can learn its outcome. By then a leader
that hears nobody has stepped down."""
CONFIRM_S_MAX: Final = 10.0
"""How long a read may wait until a majority has confirmed what it is refused for."""
INLINE_READ_BYTES: Final = 256 << 10
"""Reads up to this size are faster done inline than handed to a thread."""


@dataclass(frozen=True, slots=True)
class Replica(ReplicaHere):
    """This node's copy of one partition of records."""

    appender: Appender
    coalescer: Coalescer
    flushed: Waiters
    """Woken after every fsync of the log."""
    batch_format: BatchFormat


class LocalPartition:
    """Implements ``node.broker.Partition`` over the local replica."""

    def __init__(
        self,
        topic: TopicEntry,
        entry: PartitionEntry,
        replica: Replica,
        host: GroupHost,
        others: RemotePartition,
    ) -> None:
        self.topic = topic.name
        self.topic_id = topic.topic_id
        self.number = entry.number
        self.raft_group = entry.raft_group
        self.replica = replica
        self._group = replica.group
        self._log = replica.log
        self._format = replica.batch_format
        self._host = host
        self._others = others
        self._confirmed = Confirmed(host, entry.raft_group, replica.group, replica.appender)
        self._positions = PositionsLed(replica.group, self._confirmed, replica.appender)

    @property
    def leader(self) -> str | None:
        """Node id of the leader, as far as this replica knows."""
        return self._group.leader

    @property
    def leads_here(self) -> bool:
        """Elected, and its own first entry is committed and applied."""
        return self._group.is_ready_leader

    async def wait_leader(self, *, deadline_s: float) -> str:
        """Wait for an election to end; where this node wins, until it can serve."""
        return await wait_leader(self._host, self._group, self._others, deadline_s=deadline_s)

    def doubt_leader(self, node: str) -> None:
        """Wake the group if it sleeps: it elects a leader if there is none."""
        self._host.doubt_leader(self.raft_group, node)
        self._others.doubt_leader(node)

    async def produce(
        self,
        batch: bytes,
        header: BatchHeader,
        *,
        acks: Acks,
        timeout_s: float,
        expected_offset: int | None = None,
        position: Position | None = None,
        deliver_at_ms: int | None = None,
    ) -> Appended:
        """See ``node.broker.Partition``."""
        confirmed = self._confirmed
        confirmed.check_leads()
        if header.format > self._format.highest:
            await self._format.check(header)
        try:
            placed = confirmed.admit(
                batch,
                header,
                expected_offset=expected_offset,
                position=position,
                deliver_at_ms=deliver_at_ms,
            )
        except REFUSALS:
            began = time.monotonic()
            placed = await confirmed.admit_after_refusal(
                batch,
                header,
                expected_offset=expected_offset,
                position=position,
                deliver_at_ms=deliver_at_ms,
                timeout_s=timeout_s,
            )
            timeout_s = max(0.0, timeout_s - (time.monotonic() - began))
        if isinstance(placed, Remembered):
            return self._appended(placed.first_offset, placed.count, duplicate=True)
        proposal = placed.proposal if isinstance(placed, Flying) else placed
        if acks is Acks.NONE:
            return Appended(-1, -1, self._group.high_watermark)
        if acks is Acks.QUORUM and header.producer_kind is not ProducerKind.NONE:
            first_offset = await self._place_unless_deaf(proposal, timeout_s)
        else:
            first_offset = await self._place(proposal, acks, timeout_s)
        return self._appended(first_offset, header.count, duplicate=placed is not proposal)

    def produce_records(
        self, records: Sequence[Record], *, size: int, timeout_s: float
    ) -> Awaitable[Appended]:
        """See ``node.broker.Partition``."""
        if size > SHARE_BYTES_MAX:
            # Large enough for a batch of its own: if that is refused, only this request fails.
            batch, header = codec.encode_with_header(records, format=self._format.highest)
            return self.produce(batch, header, acks=Acks.QUORUM, timeout_s=timeout_s)
        self._confirmed.check_leads()
        count = len(records)
        replica = self.replica
        replica.appender.check_wait(
            waiting=replica.coalescer.waiting, waiting_bytes=replica.coalescer.waiting_bytes
        )
        return replica.coalescer.produce(
            records,
            size,
            timeout_s=timeout_s,
            answer=lambda first_offset: self._appended(first_offset, count, duplicate=False),
        )

    async def _place(self, proposal: Proposal, acks: Acks, timeout_s: float) -> int:
        """The first offset, once as many replicas have it on disk as were asked for."""
        if acks is Acks.QUORUM:
            return (await waiting.stored(proposal, deadline_s=timeout_s)).first_offset
        flushed = self.replica.flushed
        proposal.add_done_callback(lambda _outcome: flushed.changed())
        settled = await waiting.condition(flushed, lambda: self._on_disk(proposal), timeout_s=timeout_s)
        if settled is None:
            raise outcomes.unknown(f"no answer within {timeout_s:g} s")
        return settled if settled >= 0 else (await waiting.stored(proposal, deadline_s=0)).first_offset

    async def _place_unless_deaf(self, proposal: Proposal, timeout_s: float) -> int:
        """The same for an idempotent batch. Where this replica no longer leads, and hears too few others to
        learn the outcome, give up early: the next leader can tell it at once.
        """
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > _DEAF_S:
            try:
                return (await waiting.stored(proposal, deadline_s=_DEAF_S)).first_offset
            except OutcomeUnknown:
                if proposal.outcome is not None:
                    raise
            if self._group.leader is None and not self._others.hears_enough:
                raise outcomes.unknown("this node no longer leads, and does not hear the others")
        return (await waiting.stored(proposal, deadline_s=max(0.0, left))).first_offset

    def _on_disk(self, proposal: Proposal) -> int | None:
        """The first offset once this disk has the entry; -1 when its outcome is known before that."""
        log, index = self._log, proposal.index
        if index and log.base_index <= index <= log.durable_index and log.term_at(index) == proposal.term:
            return proposal.first_offset
        return -1 if proposal.outcome is not None else None

    def _appended(self, first_offset: int, count: int, *, duplicate: bool) -> Appended:
        return Appended(first_offset, first_offset + count, self._group.high_watermark, duplicate)

    async def wait_records(self, offset: int, *, wait_s: float) -> bool:
        """See ``node.broker.Partition``."""
        self._confirmed.check_leads()
        await self._check_bounds(offset)
        if offset == self._group.high_watermark:
            await self._host.wait_high_watermark(self.raft_group, offset, timeout_s=wait_s)
            self._confirmed.check_leads()
            await self._check_bounds(offset)
        return offset < self._group.high_watermark

    async def fetch(self, offset: int, *, max_bytes: int, verify: bool = False) -> Fetched:
        """See ``node.broker.Partition``."""
        self._confirmed.check_leads()
        await self._check_bounds(offset)
        end = self._group.high_watermark
        if offset == end:
            return Fetched(b"", offset, self.bounds())
        try:
            if max_bytes <= INLINE_READ_BYTES:
                found = self._read(offset, end, max_bytes, verify=verify)
            else:
                found = await asyncio.to_thread(self._read, offset, end, max_bytes, verify=verify)
        except OutOfRange as error:
            # Retention removed it meanwhile; the bounds say so now.
            await self._check_bounds(offset)
            raise self._unreadable(error) from error
        except StorageError as error:
            raise self._unreadable(error) from error
        return Fetched(found.frames, found.next_offset, self.bounds())

    def _read(self, offset: int, end: int, max_bytes: int, *, verify: bool) -> Slice:
        found = self._log.read(offset, end_offset=end, max_bytes=max_bytes)
        if verify and (damaged := first_damaged(found.frames)) is not None:
            # Reading the frame itself finds the same damage, and reports where.
            for _ in self._log.stored(damaged.index, damaged.index):
                found = self._log.read(offset, end_offset=end, max_bytes=max_bytes)
        return found

    def bounds(self) -> Bounds:
        """As this replica knows them."""
        return Bounds(self._log.start_offset, self._group.high_watermark)

    async def tail(self, *, timeout_s: float) -> Bounds:
        """The bounds, with leadership confirmed by a majority after the call began."""
        await self._host.read_index(self.raft_group, deadline_s=timeout_s)
        return self.bounds()

    async def positions(self, group: str, *, timeout_s: float) -> list[SourcePosition]:
        """See ``node.broker.Partition``."""
        return await self._positions.of_group(group, timeout_s=timeout_s)

    async def begin_epoch(self, source: Source, producer: bytes, *, timeout_s: float) -> SourcePosition:
        """See ``node.broker.Partition``."""
        return await self._positions.begin_epoch(source, producer, timeout_s=timeout_s)

    async def move_position(
        self, position: Position, epoch: int, producer: bytes, *, timeout_s: float
    ) -> None:
        """See ``node.broker.Partition``."""
        await self._positions.move(position, epoch, producer, timeout_s=timeout_s)

    async def remove_positions(self, group: str, *, timeout_s: float) -> None:
        """See ``node.broker.Partition``."""
        await self._positions.remove(group, timeout_s=timeout_s)

    async def offset_at_time(self, timestamp_ms: int) -> int:
        """The high watermark when no committed record is that late."""
        try:
            return await asyncio.to_thread(self._offset_at_time, timestamp_ms, self._group.high_watermark)
        except StorageError as error:
            raise self._unreadable(error) from error

    def _offset_at_time(self, timestamp_ms: int, high_watermark: int) -> int:
        while True:
            first = self._log.offset_at_time(timestamp_ms)
            if first >= high_watermark:
                return high_watermark
            try:
                item = self._log.frame(self._log.index_at_offset(first))
            except OutOfRange:
                if first >= self._log.start_offset:
                    raise
                continue  # Retention removed it meanwhile.
            return offset_reaching(item, timestamp_ms)

    def _unreadable(self, error: StorageError) -> FloodmarkError:
        """A replica that cannot read its log hands the leadership over, and is opened again."""
        if isinstance(error, OutOfRange):
            return outcomes.translated(error)
        self._host.disk.failed(self.raft_group, error)
        return Unreadable(f"this replica cannot be read: {error}", retry_after_s=outcomes.RETRY_AFTER_S)

    async def _check_bounds(self, offset: int) -> None:
        """Raises ``OffsetBelowStart``, ``OffsetPastEnd`` once this node's leadership is confirmed."""
        if self._outside(offset) is not None:
            await self._confirmed.lead(deadline_s=CONFIRM_S_MAX)
            if (refusal := self._outside(offset)) is not None:
                raise refusal

    def _outside(self, offset: int) -> FloodmarkError | None:
        bounds = self.bounds()
        if bounds.log_start_offset <= offset <= bounds.high_watermark:
            return None
        known = {"log_start_offset": bounds.log_start_offset, "high_watermark": bounds.high_watermark}
        if offset < bounds.log_start_offset:
            return OffsetBelowStart(
                f"offset {offset} is gone: retention has removed all before {bounds.log_start_offset}",
                **known,
            )
        return OffsetPastEnd(
            f"offset {offset} is past the end: the next record gets {bounds.high_watermark}", **known
        )
