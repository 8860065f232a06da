"""Records that a queue has passed and is to deliver now, or again: those that were held are kept for a while,
all others are read once more.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final

import structlog
from floodmark.errors import FloodmarkError, OffsetBelowStart, StorageUnavailable, Unavailable, UnknownTopic
from floodmark.format.record import Record

from node.coordinator.delivery.memory import Memory, Share
from node.coordinator.delivery.partition_ahead import Payload
from node.coordinator.delivery.ports import RecordSource
from node.coordinator.delivery.read_ahead import OVERHEAD
from node.coordinator.keys import TopicPartition
from node.coordinator.queues.requests import Place
from node.coordinator.tasks import KeyedTasks

BYTES_MAX: Final = 16 << 20
"""Of one queue: the oldest ones are forgotten, and read again when they are needed."""
CHUNK_BYTES: Final = 32 << 10
MANY_BYTES: Final = 256 << 10
MANY: Final = 32
"""Records that are wanted of one partition: then more is read at once."""
READ_MAX: Final = 1_000
AGAIN_S: Final = 0.2
FAILING_S: Final = 2.0

_log = structlog.get_logger(__name__)


class Payloads:
    """Of one queue. ``look``: called when more are there. ``is_of_use``: whether a record that was read along
    with others may be delivered soon. ``gone``: for records that compaction has removed.
    ``passed``: with topic's id, partition and its first offset, where retention has removed some.
    """

    def __init__(
        self,
        source: RecordSource,
        memory: Memory,
        *,
        look: Callable[[], None],
        is_of_use: Callable[[Place], bool],
        gone: Callable[[Sequence[Place]], None],
        passed: Callable[[int, int, int], None],
    ) -> None:
        self._source = source
        self._share = Share(memory, BYTES_MAX)
        self._look = look
        self._is_of_use = is_of_use
        self._gone = gone
        self._passed = passed
        self._kept: OrderedDict[Place, Payload] = OrderedDict()
        self._wanted: dict[TopicPartition, dict[int, None]] = {}
        self._tasks = KeyedTasks(self._read, lambda _: self._look())
        self.failing: set[Place] = set()
        """Those that could not be read a moment ago, as they are damaged: the others go before."""

    def keep(self, place: Place, payload: Payload) -> None:
        """It may be delivered soon."""
        before = self._kept.pop(place, None)
        if before is not None:
            self._share.take(-_size(before))
        self._kept[place] = payload
        self._share.take(_size(payload))
        while len(self._kept) > 1 and not self._share.has_room:
            _, oldest = self._kept.popitem(last=False)
            self._share.take(-_size(oldest))

    def get(self, place: Place) -> Payload | None:
        """If it is there."""
        return self._kept.get(place)

    def __contains__(self, place: Place) -> bool:
        """Whether it is there."""
        return place in self._kept

    @property
    def are_read(self) -> bool:
        """Whether some are being read."""
        return bool(self._tasks.running)

    def pop(self, place: Place) -> Payload | None:
        """It is delivered."""
        payload = self._kept.pop(place, None)
        if payload is not None:
            self._share.take(-_size(payload))
        return payload

    def want(self, places: Iterable[Place]) -> None:
        """Read them: ``look`` is called as they come."""
        for place in places:
            at = (place.topic_id, place.partition)
            self._wanted.setdefault(at, {})[place.offset] = None
            self._tasks.begin(at)

    @property
    def reading(self) -> list[asyncio.Task[None]]:
        """What is under way of ``want``."""
        return [task for task in self._tasks.running if not task.done()]

    async def read(self, place: Place) -> Payload | None:
        """One record, if it is still there. Raises what reading raises."""
        kept = self._kept.get(place)
        if kept is not None:
            return kept
        found, _ = await self._chunk((place.topic_id, place.partition), [place.offset])
        return found.get(place.offset)

    async def read_all(self, at: TopicPartition, offsets: Sequence[int]) -> AsyncIterator[tuple[int, Record]]:
        """Those of these records (in order) that are still there. Raises what reading raises."""
        place = 0
        while place < len(offsets):
            found, _ = await self._chunk(at, offsets[place : place + READ_MAX])
            place += len(found)
            for offset in sorted(found):
                payload = found[offset]
                if payload is not None:
                    yield offset, payload.record

    def close(self) -> None:
        """Read nothing more, and hold nothing."""
        self._tasks.cancel()
        self._kept.clear()
        self._share.free()

    async def _read(self, at: TopicPartition) -> None:
        await asyncio.sleep(0)  # All that one look wants is there then.
        while wanted := self._wanted.get(at):
            offsets = sorted(wanted)
            try:
                found, others = await self._chunk(at, offsets)
            except UnknownTopic:
                found, others = dict.fromkeys(offsets), []
            except FloodmarkError as error:
                _log.info("queue_cannot_read", topic_id=at[0], partition=at[1], reason=error.detail)
                if isinstance(error, Unavailable) and not isinstance(error, StorageUnavailable):
                    await asyncio.sleep(AGAIN_S)
                    continue
                # It alone may be damaged: the others go on, and it is asked for again.
                del wanted[offsets[0]]
                place = Place(*at, offsets[0])
                self.failing.add(place)
                asyncio.get_running_loop().call_later(FAILING_S, self._try_again, place)
                continue
            gone = []
            for offset, payload in found.items():
                wanted.pop(offset, None)
                place = Place(*at, offset)
                if payload is None:
                    gone.append(place)
                else:
                    self.keep(place, payload)
            for place, payload in others:
                if self._share.has_room and place not in self._kept and self._is_of_use(place):
                    self.keep(place, payload)
            if gone:
                self._gone(gone)
            self._look()

    async def _chunk(
        self, at: TopicPartition, offsets: Sequence[int]
    ) -> tuple[dict[int, Payload | None], list[tuple[Place, Payload]]]:
        """Some of these (in order), the first one always: None where it is gone. And what came along."""
        topic_id, partition = at
        first = offsets[0]
        try:
            size = MANY_BYTES if len(offsets) > MANY else CHUNK_BYTES
            chunk = await self._source.read(topic_id, partition, first, max_bytes=size)
        except OffsetBelowStart as error:
            start = int(error.fields.get("log_start_offset", first + 1))
            self._passed(topic_id, partition, start)
            return {offset: None for offset in offsets if offset < max(start, first + 1)}, []
        if chunk.next_offset <= first:
            raise Unavailable(f"offset {first} of partition {partition} is not there yet")
        found: dict[int, Payload | None] = {offset: None for offset in offsets if offset < chunk.next_offset}
        others: list[tuple[Place, Payload]] = []
        for piece in chunk.pieces:
            for offset, record in enumerate(piece.records, piece.first_offset):
                if record is None:
                    continue
                payload = Payload(record, piece.append_time, record.size)
                if offset in found:
                    found[offset] = payload
                else:
                    others.append((Place(*at, offset), payload))
        return found, others

    def _try_again(self, place: Place) -> None:
        self.failing.discard(place)
        self._look()


def _size(payload: Payload) -> int:
    return payload.size + OVERHEAD
