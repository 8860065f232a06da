"""What the leader of a queue needs of the topics, wherever they are led."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from floodmark.format.record import Record


class Piece(NamedTuple):
    """Records that were appended together, or some of them. None stands for one that compaction removed."""

    first_offset: int
    append_time: int
    deliver_at_ms: int
    """Before that no queue delivers them; 0 where they may be delivered at once."""
    records: Sequence[Record | None]

    @property
    def next_offset(self) -> int:
        """The offset behind the last of them."""
        return self.first_offset + len(self.records)


class Chunk(NamedTuple):
    """What a partition has from some offset on. Offsets that are in no piece hold no record."""

    pieces: Sequence[Piece]
    next_offset: int
    """Where to go on; the offset asked for where there is nothing."""
    log_start_offset: int
    high_watermark: int


class DeadSource(NamedTuple):
    """Whose dead letters they are. ``queue_number``: of no other queue, ever."""

    queue_number: int
    topic_id: int
    partition: int


class TakenOver(NamedTuple):
    """How far a source's dead letters are stored.

    ``partition``: of the dead letter topic, which takes the next ones, in ``epoch``. ``number``: of the next
    one. ``found_in``: where those before are; another one where the topic has more partitions since.
    """

    partition: int
    epoch: int
    number: int
    found_in: int


class RecordSource(Protocol):
    """Reads partitions of topics at their leaders.

    Topics are meant by their ids. Every method raises ``UnknownTopic`` for one that is gone; ``Unavailable``,
    ``TooManyRequests`` where it is to be tried again later.
    """

    def partitions(self, topic_id: int) -> int:
        """How many there are; 0 where the topic is gone, or not known here."""

    async def bounds(self, topic_id: int, partition: int, *, timeout_s: float) -> tuple[int, int]:
        """The first offset and the high watermark, which has all that was acknowledged before the call."""

    async def read(self, topic_id: int, partition: int, offset: int, *, max_bytes: int) -> Chunk:
        """About ``max_bytes`` of it, from the batch on that has ``offset``; at least one batch if there is
        any. All checksums are verified. Raises ``OffsetBelowStart``, ``OffsetPastEnd``, ``InvalidBatch``,
        ``TooNew``.
        """

    async def wait(self, topic_id: int, offsets: Mapping[int, int], *, wait_s: float) -> Collection[int]:
        """The partitions of those asked for that may have a record at their offset, once there is any;
        none when the time is up."""


class DeadLetterTarget(Protocol):
    """Stores dead letters, each once: a partition keeps how far it has those of a source, with the letters.

    Raises as ``RecordSource``.
    """

    async def take_over(self, topic_id: int, source: DeadSource) -> TakenOver:
        """Fence all earlier leaders of the queue's shard, and learn how far they came."""

    def record_bytes_max(self, topic_id: int) -> int:
        """What the topic allows a record to have, as this node knows it; what is added to a letter does not
        count. Raises ``UnknownTopic``."""

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
        """Append them, and with them that all before ``number`` are stored. Returns the first one's offset.

        One that fills a batch by itself is stored without what was added to it.

        ``sequence``: how many records were stored in this epoch before. Raises ``ProducerFenced``, and
        ``PositionConflict`` where they are stored already: take over again.
        """

    async def last_stored(
        self, topic_id: int, partition: int, source: DeadSource, number: int
    ) -> Piece | None:
        """The letters that were stored together last, with that all before ``number`` are; None where they
        are not there any more."""

    async def forget(self, topic_id: int, queue_number: int) -> None:
        """Keep nothing of a queue that is gone; its letters stay."""
