"""Reads the partitions of a queue's topic ahead of what it has delivered: one task for all of them, and none
while nobody receives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from floodmark.errors import FloodmarkError, OffsetBelowStart, OffsetPastEnd, TooManyRequests, Unavailable

from node.coordinator.delivery.memory import Memory, Share
from node.coordinator.delivery.partition_ahead import AGAIN_MIN_S, PartitionAhead, Payload
from node.coordinator.delivery.ports import Chunk, RecordSource
from node.coordinator.queues.leasing import Seen

CHUNK_BYTES_MAX: Final = 256 << 10
CHUNK_BYTES_MIN: Final = 32 << 10
AT_ONCE: Final = 8
"""Partitions of one queue that are read at the same time."""
AGAIN_MAX_S: Final = 2.0
"""A partition that cannot be read is tried again so much later at most; others go on."""
WAIT_S: Final = 20.0
OVERHEAD: Final = 250
"""Bytes of memory that a record takes besides its own."""
LINGER_S: Final = 10.0
"""What was read is kept for so long after the last receive."""

_log = structlog.get_logger(__name__)


class ReadAhead:
    """Of one queue. ``look``: called when there is something new to deliver; it must not raise.

    ``is_needed``: whether somebody waits. ``wants``: whether anything more of a partition is of use at the
    moment. ``key_of``: the hash of a key; None where their order is nothing to the queue.
    """

    def __init__(
        self,
        source: RecordSource,
        memory: Memory,
        topic_id: int,
        *,
        look: Callable[[], None],
        wants: Callable[[PartitionAhead], bool],
        is_needed: Callable[[], bool],
        key_of: Callable[[bytes], int] | None,
    ) -> None:
        self._source = source
        self._key_of = key_of
        self._share = Share(memory)
        self.topic_id = topic_id
        self._look = look
        self._wants = wants
        self._is_needed = is_needed
        self.partitions: list[PartitionAhead] = []
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._behind: dict[int, int] = {}
        """What is watched: partitions that were read to their ends, with these."""
        self._nudged: asyncio.Future[None] | None = None
        self._looking: list[asyncio.Future[None]] = []
        self._needed_until = 0.0

    def set_partitions(self, firsts: Sequence[int]) -> None:
        """The topic has so many, to be read from these offsets on; those that are known go on as they are."""
        known = len(self.partitions)
        self.partitions += [PartitionAhead(known + more, first) for more, first in enumerate(firsts[known:])]

    def need(self) -> None:
        """Somebody waits for records: read, if it is not done already."""
        loop = asyncio.get_running_loop()
        self._needed_until = loop.time() + LINGER_S
        if self._task is None:
            self._task = loop.create_task(self._run())
            self._task.add_done_callback(self._ended)
        else:
            self.nudge()

    def nudge(self) -> None:
        """Something was taken, so that more may be read."""
        if self._nudged is not None and not self._nudged.done():
            self._nudged.set_result(None)

    def close(self) -> None:
        """Read nothing more, and hold nothing."""
        if self._task is not None:
            self._task.cancel()
        self._forget()

    def take(self, partition: PartitionAhead, below: int) -> tuple[list[Seen], list[Payload]]:
        """All records of a partition below an offset have been delivered, or noted to be delivered later."""
        taken = partition.take(below)
        seen = taken[0]
        if seen:
            self._share.take(-sum([each.size for each in seen]) - OVERHEAD * len(seen))
            self.nudge()
        return taken

    def go_back(self, partition: PartitionAhead, first: int) -> None:
        """Begin again at an offset."""
        self.take(partition, partition.next)
        partition.clear(first)
        self.nudge()

    def look_again(self) -> None:
        """What was read to its end may have more by now."""
        for partition in self.partitions:
            partition.has_more = True
        self.nudge()

    @property
    def is_running(self) -> bool:
        """Whether anything is read, or held."""
        return self._task is not None

    def caught_up(self) -> asyncio.Future[None]:
        """Done once there is nothing that could be read and delivered, or it cannot be read now."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._is_caught_up:
            done.set_result(None)
        else:
            self._looking.append(done)
        return done

    @property
    def _is_caught_up(self) -> bool:
        """Whether there is nothing that could be read and delivered now, as far as is known."""
        return not any(
            each.has_more and each.failure is None and not each.is_gone and self._wants(each)
            for each in self.partitions
        )

    def _tell(self) -> None:
        looking, self._looking = self._looking, []
        for done in looking:
            if not done.done():
                done.set_result(None)

    def _forget(self) -> None:
        self._tell()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        for partition in self.partitions:
            partition.clear(partition.first)
        self._share.free()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            if now >= self._needed_until:
                if not self._is_needed():
                    return
                self._needed_until = now + LINGER_S
            todo = self._todo(now)
            if todo:
                await asyncio.gather(*(self._read(partition) for partition in todo[:AT_ONCE]))
                self._look()
            else:
                await self._wait(now)
            if self._looking and self._is_caught_up:
                self._tell()

    def _todo(self, now: float) -> list[PartitionAhead]:
        if not self._share.has_room:
            return []
        return [
            each
            for each in self.partitions
            if each.has_more and each.again_at <= now and not each.is_gone and self._wants(each)
        ]

    async def _read(self, partition: PartitionAhead) -> None:
        at = partition.next
        size = self._share.limit // max(1, len(self.partitions))
        size = min(max(size, CHUNK_BYTES_MIN), CHUNK_BYTES_MAX)
        try:
            chunk = await self._source.read(self.topic_id, partition.number, at, max_bytes=size)
        except (OffsetBelowStart, OffsetPastEnd) as error:
            self._outside(partition, at, error)
        except FloodmarkError as error:
            self._failed(partition, error)
        else:
            partition.failure = None
            partition.again_s = AGAIN_MIN_S
            if partition.next == at:  # Else it began again elsewhere meanwhile.
                self._took(partition, chunk)

    def _took(self, partition: PartitionAhead, chunk: Chunk) -> None:
        key_of = self._key_of
        for piece in chunk.pieces:
            deliver_at, appended = piece.deliver_at_ms, piece.append_time
            seen: list[Seen] = []
            payloads: list[Payload] = []
            for offset, record in enumerate(piece.records, piece.first_offset):
                if record is None:
                    continue
                size = record.size if record.pairs else len(record.value or b"") + len(record.key or b"")
                key = 0 if key_of is None or record.key is None else key_of(record.key)
                seen.append(Seen(offset, key, deliver_at, size))
                payloads.append(Payload(record, appended, size))
            partition.add(seen, payloads)
            self._share.take(sum([each.size for each in seen]) + OVERHEAD * len(seen))
        partition.next = chunk.next_offset
        partition.end = chunk.high_watermark
        partition.start = max(partition.start, chunk.log_start_offset)
        partition.has_more = chunk.next_offset < chunk.high_watermark

    def _outside(self, partition: PartitionAhead, at: int, error: OffsetBelowStart | OffsetPastEnd) -> None:
        if partition.next != at:
            return
        if isinstance(error, OffsetBelowStart):
            partition.start = max(partition.start, int(error.fields.get("log_start_offset", at + 1)))
            self._look()
        else:
            self._failed(partition, error)  # A partition that was recovered with less; it may grow again.

    def _failed(self, partition: PartitionAhead, error: FloodmarkError) -> None:
        if partition.failure is None and not isinstance(error, Unavailable | TooManyRequests):
            _log.warning(
                "queue_cannot_read",
                topic_id=self.topic_id,
                partition=partition.number,
                offset=partition.next,
                reason=error.detail,
            )
        partition.failure = error
        partition.again_at = asyncio.get_running_loop().time() + partition.again_s
        partition.again_s = min(2 * partition.again_s, AGAIN_MAX_S)

    async def _wait(self, now: float) -> None:
        """Until something is new, was taken, or is to be tried again."""
        self._nudged = asyncio.get_running_loop().create_future()
        until = min([self._needed_until, *(each.again_at for each in self.partitions if each.again_at > now)])
        pending: set[asyncio.Future[None]] = {self._nudged}
        if (watching := self._watching()) is not None:
            pending.add(watching)
        try:
            await asyncio.wait(pending, timeout=max(0.0, until - now), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._nudged = None

    def _watching(self) -> asyncio.Task[None] | None:
        """The task that waits for what is new in the partitions that were read to their ends."""
        behind = {
            each.number: each.next
            for each in self.partitions
            if not each.has_more and each.failure is None and not each.is_gone and self._wants(each)
        }
        watch = self._watch
        if watch is not None and (watch.done() or behind != self._behind):
            watch.cancel()
            watch = None
        if watch is None and behind:
            watch = asyncio.get_running_loop().create_task(self._wait_for(behind))
        self._watch, self._behind = watch, behind
        return watch

    async def _wait_for(self, behind: dict[int, int]) -> None:
        try:
            news = await self._source.wait(self.topic_id, behind, wait_s=WAIT_S)
        except FloodmarkError:
            await asyncio.sleep(AGAIN_MIN_S)
            news = behind  # Reading says what it is.
        for number in news:
            if number < len(self.partitions):
                self.partitions[number].has_more = True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            _log.error("task_failed", exc_info=error)
        self._forget()
