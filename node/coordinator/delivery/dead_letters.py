"""Sends a queue's dead letters, each exactly once: in the order of their numbers, one batch of a source at a
time, with the number behind it as a position that the dead letter topic's partition keeps for ever.

A leader first takes a source over, so that nothing of an earlier leader is stored any more, and learns how
far it came. What is stored already is only noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
import structlog
from floodmark.errors import FloodmarkError, OutOfOrderSequence, PositionConflict, ProducerFenced, TooLarge
from floodmark.format.record import Record

from node.coordinator.delivery.ports import DeadLetterTarget, DeadSource, TakenOver
from node.coordinator.keys import TopicPartition
from node.coordinator.queues.requests import Place
from node.coordinator.tasks import KeyedTasks

BATCH_RECORDS: Final = 100
BATCH_BYTES: Final = 1 << 20
AGAIN_MIN_S: Final = 0.1
AGAIN_MAX_S: Final = 10.0
UNWRITABLE_S: Final = 2.0
"""A dead letter topic that could not be written to for so long is told of."""
PREFIX: Final = "floodmark-dead-"
"""Of the headers that say what became of a record; they come after its own."""
NUMBER: Final = f"{PREFIX}number"
ORIGIN: Final = (f"{PREFIX}topic", f"{PREFIX}partition", f"{PREFIX}offset")

_log = structlog.get_logger(__name__)


def without_added(record: Record) -> Record:
    """As it was before it died: without the headers that a letter has more."""
    pairs = [(name, value) for name, value in record.headers.pairs if not name.startswith(PREFIX)]
    return msgspec.structs.replace(record, pairs=pairs or None)


class Dying(NamedTuple):
    """A record on its way."""

    place: Place
    number: int
    reason: str
    deliveries: int
    worker: str
    first_delivered_ms: int
    died_ms: int


class LetterSource(Protocol):
    """The queue whose letters they are."""

    name: str

    @property
    def topic_id(self) -> int:
        """Where records come from, but for letters that are delivered again."""

    @property
    def dead_letter_topic_id(self) -> int:
        """Where they go; 0: nowhere."""

    def dead_source(self, source: TopicPartition) -> DeadSource:
        """Under which they are sent."""

    def topic_name(self, topic_id: int) -> str:
        """For people; "" for a topic that the queue has nothing to do with any more."""

    def dying(self, source: TopicPartition, limit: int) -> Sequence[Dying]:
        """The first ones, in order of number."""

    async def decided(self) -> None:
        """Returns once it is stored that those died of whom it was told. Of what may not be stored nobody may
        ever know: another leader might deliver that record again."""

    async def payload(self, place: Place) -> Record | None:
        """What is to be sent; None where retention has removed it."""

    async def noted(self, source: TopicPartition, letters: Sequence[tuple[Dying, Place | None]]) -> None:
        """They are where they are said to be, or nowhere; returns once that is stored."""


class DeadLetters:
    """Of one queue at its leader. A task for each source partition that has any, while it has."""

    def __init__(self, queue: LetterSource, target: DeadLetterTarget) -> None:
        self._queue = queue
        self._target = target
        self._tasks = KeyedTasks(self._send_all, self._no_more)
        self._taken: dict[TopicPartition, _Taken] = {}
        self._failing_since: dict[TopicPartition, float] = {}
        self.failure = ""
        """Why the last attempt that failed did."""

    @property
    def is_unwritable(self) -> bool:
        """Whether letters have waited for long because they could not be stored."""
        if not self._failing_since:
            return False
        return asyncio.get_running_loop().time() - min(self._failing_since.values()) > UNWRITABLE_S

    def look(self, sources: Collection[TopicPartition]) -> None:
        """These have letters to be sent."""
        for source in sources:
            self._tasks.begin(source)

    def close(self) -> None:
        """Send nothing more."""
        self._tasks.cancel()

    async def _send_all(self, source: TopicPartition) -> None:
        again_s = AGAIN_MIN_S
        loop = asyncio.get_running_loop()
        while letters := self._queue.dying(source, BATCH_RECORDS):
            try:
                await self._send(source, letters)
            except FloodmarkError as error:
                if isinstance(error, ProducerFenced | PositionConflict | OutOfOrderSequence):
                    self._taken.pop(source, None)
                self._failing_since.setdefault(source, loop.time())
                if self.failure != error.detail:
                    self.failure = error.detail
                    _log.warning("dead_letters_not_stored", queue=self._queue.name, reason=error.detail)
                await asyncio.sleep(again_s)
                again_s = min(2 * again_s, AGAIN_MAX_S)
            else:
                self._failing_since.pop(source, None)
                again_s = AGAIN_MIN_S

    async def _send(self, source: TopicPartition, letters: Sequence[Dying]) -> None:
        await self._queue.decided()
        topic_id = self._queue.dead_letter_topic_id
        name = self._queue.dead_source(source)
        taken = self._taken.get(source)
        if taken is not None and taken.in_doubt is not None:
            topic_id = taken.topic_id  # What may be in one topic goes to no other one.
        if not topic_id:  # There was one when they died.
            await self._queue.noted(source, [(letter, None) for letter in letters])
            return
        if taken is None or taken.topic_id != topic_id:
            over = await self._target.take_over(topic_id, name)
            taken = self._taken[source] = _Taken(topic_id, over)
        stored = [letter for letter in letters if letter.number < taken.over.number]
        if stored:
            await self._note(taken, source, stored)
            return
        if taken.in_doubt is None:
            taken.in_doubt = await self._next_batch(topic_id, source, letters)
            if taken.in_doubt is None:
                return
        batch = taken.in_doubt
        partition = taken.over.partition
        first = await self._target.store(
            topic_id,
            partition,
            name,
            [record for _, record in batch],
            epoch=taken.over.epoch,
            sequence=taken.sequence,
            number=batch[-1][0].number + 1,
        )
        taken.in_doubt = None
        taken.sequence += len(batch)
        places = [(letter, Place(topic_id, partition, first + at)) for at, (letter, _) in enumerate(batch)]
        await self._queue.noted(source, places)

    async def _next_batch(
        self, topic_id: int, source: TopicPartition, letters: Sequence[Dying]
    ) -> list[tuple[Dying, Record]] | None:
        """The first ones; None where their records are gone. Raises ``TooLarge`` for the first of all: what
        comes behind it waits, as letters are stored in order."""
        bytes_max = self._target.record_bytes_max(topic_id)
        gone: list[tuple[Dying, Place | None]] = []
        batch: list[tuple[Dying, Record]] = []
        size = 0
        refusal: TooLarge | None = None
        for letter in letters:
            record = await self._queue.payload(letter.place)
            if record is None:
                if batch:
                    break  # It is told of in its turn, once those before it are stored.
                gone.append((letter, None))
                continue
            own = without_added(record)
            if own.size > bytes_max:
                refusal = TooLarge(
                    f"a dead letter has {own.size} bytes of key, value and headers; topic "
                    f"{self._queue.topic_name(topic_id)} allows {bytes_max}: raise its max_record_bytes",
                    limit=bytes_max,
                )
                break
            if batch and size + record.size > BATCH_BYTES:
                break
            size += record.size
            batch.append((letter, self._letter(letter, record, own)))
        if gone:
            await self._queue.noted(source, gone)
        if refusal is not None and not batch:
            raise refusal
        return batch or None

    async def _note(self, taken: _Taken, source: TopicPartition, letters: Sequence[Dying]) -> None:
        """An earlier leader has stored these, and did not come to say so."""
        over = taken.over
        name = self._queue.dead_source(source)
        piece = await self._target.last_stored(taken.topic_id, over.found_in, name, over.number)
        found: dict[bytes | None, int] = {}
        if piece is not None:
            for index, record in enumerate(piece.records):
                if record is not None:
                    found[dict(record.headers.pairs).get(NUMBER)] = piece.first_offset + index
            # The position says what the last one's number is. If it was too large for a header, it is alone.
            found[str(over.number - 1).encode()] = piece.next_offset - 1
        places: list[tuple[Dying, Place | None]] = []
        for letter in letters:
            offset = found.get(str(letter.number).encode())
            places.append((letter, None if offset is None else Place(taken.topic_id, over.found_in, offset)))
        await self._queue.noted(source, places)

    def _letter(self, letter: Dying, record: Record, own: Record) -> Record:
        place = letter.place
        said = {
            "queue": self._queue.name,
            "topic": self._queue.topic_name(place.topic_id),
            "partition": str(place.partition),
            "offset": str(place.offset),
            "number": str(letter.number),
            "reason": letter.reason,
            "deliveries": str(letter.deliveries),
            "worker": letter.worker,
            "first-delivered": str(letter.first_delivered_ms),
            "died": str(letter.died_ms),
        }
        about = {f"{PREFIX}{name}": text.encode() for name, text in said.items()}
        if place.topic_id != self._queue.topic_id:
            # It was a dead letter before: it comes from where it came from then.
            pairs = record.headers.pairs
            about |= {name: value for name, value in pairs if name in ORIGIN and value is not None}
        return msgspec.structs.replace(own, pairs=[*own.headers.pairs, *about.items()])

    def _no_more(self, source: TopicPartition) -> None:
        self._failing_since.pop(source, None)


class _Taken:
    """A source taken over. ``sequence``: records stored in its epoch. ``in_doubt``: sent, and not known to be
    stored: the same is sent again until it is."""

    __slots__ = ("in_doubt", "over", "sequence", "topic_id")

    def __init__(self, topic_id: int, over: TakenOver) -> None:
        self.topic_id = topic_id
        self.over = over
        self.sequence = 0
        self.in_doubt: list[tuple[Dying, Record]] | None = None
