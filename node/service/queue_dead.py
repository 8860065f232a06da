"""A queue's dead letters: list, look at, replay, take off the list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

import msgspec
from floodmark.errors import InvalidRequest, OffsetOutOfRange, UnknownDeadLetter, UnknownTopic
from floodmark.format.names import check_name

from node.broker.queues import DeadLetter, DeadName, Place, Replay
from node.metadata.levels import QUEUES
from node.service.answer_budget import Hold
from node.service.at_coordinator import at_coordinator
from node.service.policy import Operation, queue, topic
from node.service.queue_admin import Purged
from node.service.queue_delivery import STEP_S
from node.service.queue_request import QueueRequest
from node.service.request_context import RequestContext
from node.service.topic_reader import TopicReader
from node.service.unpacking import Slice

if TYPE_CHECKING:
    from node.service.service import Service

PAGE: Final = 100
PAGE_MAX: Final = 1_000
NAMES_MAX: Final = 1_000
PER_SECOND_MIN: Final = 0.001
"""The last of a few billion letters is then due at a time that can still be stored."""
PER_SECOND_MAX: Final = 1_000_000.0
_NUMBER_MAX: Final = (1 << 63) - 1
_PARTITION_MAX: Final = (1 << 32) - 1
_ID: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,10})-([0-9]{1,19})", re.ASCII)


class DeadPlace(msgspec.Struct, frozen=True):
    """Where a record is. ``topic`` is null where it is gone."""

    topic: str | None
    topic_id: int
    partition: int
    offset: int


class DeadLetterListing(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter. ``topic``, ``partition`` and ``offset`` say where its record was first, and
    ``dead_letter`` where it is now."""

    id: str
    topic: str | None
    topic_id: int
    partition: int
    offset: int
    reason: str
    deliveries: int
    worker: str
    """The last one that had it."""
    first_delivered_ms: int
    died_ms: int
    replaying: bool
    """It is on its way through the queue again."""
    dead_letter: DeadPlace


class DeadLetterList(msgspec.Struct, frozen=True):
    """A page of dead letters, in order of partition and number."""

    dead: list[DeadLetterListing]


class Replayed(msgspec.Struct, frozen=True):
    """So many are delivered again."""

    replayed: int


class ListDeadLetters(QueueRequest[DeadLetterList], frozen=True, kw_only=True):
    """Dead letters behind ``after``, the id of the last one."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    after: str | None = None
    limit: int = PAGE

    def check(self) -> None:
        """Raises ``InvalidName``, ``InvalidRequest``."""
        QueueRequest.check(self)
        if self.after is not None:
            name_of(self.after)

    def is_repeatable(self) -> bool:
        """It only reads."""
        return True

    async def execute(self, at: Service, context: RequestContext) -> DeadLetterList:
        """At most ``PAGE_MAX``."""
        found = await at.broker.queues.dead_letters(
            self.queue,
            after=None if self.after is None else name_of(self.after),
            limit=min(self.limit, PAGE_MAX),
            timeout_s=context.left_s(),
        )
        return DeadLetterList([_listing(at, each) for each in found])


class FindDeadLetter(QueueRequest[DeadLetterListing], frozen=True, kw_only=True):
    """One of them, by its id."""

    operation: ClassVar[Operation] = Operation.READ

    id: str

    def is_repeatable(self) -> bool:
        """It only reads."""
        return True

    async def execute(self, at: Service, context: RequestContext) -> DeadLetterListing:
        """Raises ``UnknownDeadLetter``."""
        wanted = name_of(self.id)
        found = await at.broker.queues.dead_letters(
            self.queue, after=_before(wanted), limit=1, timeout_s=context.left_s()
        )
        if not found or _name(found[0]) != wanted:
            raise UnknownDeadLetter(
                f"queue {self.queue} lists no dead letter {self.id}: it was replayed and settled, or "
                "purged, or never was",
                queue=self.queue,
                id=self.id,
            )
        return _listing(at, found[0])


class ReplayDeadLetters(QueueRequest[Replayed], frozen=True, kw_only=True):
    """Deliver dead letters again: those of ``letters``, or all that the others fit."""

    operation: ClassVar[Operation] = Operation.ALTER
    stores: ClassVar[bool] = True

    letters: Sequence[str] | None = None
    key_prefix: bytes | None = None
    headers: dict[str, bytes] | None = None
    per_second: float = 0.0

    def check(self) -> None:
        """Raises ``InvalidName``, ``InvalidRequest``."""
        QueueRequest.check(self)
        names_of(self.letters)
        if self.per_second and not PER_SECOND_MIN <= self.per_second <= PER_SECOND_MAX:
            raise InvalidRequest(
                f"per_second is {PER_SECOND_MIN} to {PER_SECOND_MAX:.0f}, or 0, for no limit"
            )

    def is_repeatable(self) -> bool:
        """A letter that dies again has another name."""
        return self.letters is not None

    async def execute(self, at: Service, context: RequestContext) -> Replayed:
        """See ``QueueAdmin.replay``."""
        request = Replay(
            letters=names_of(self.letters),
            key_prefix=self.key_prefix,
            headers=self.headers,
            per_second=self.per_second,
        )
        return Replayed(await at.broker.queues.replay(self.queue, request, timeout_s=context.left_s()))


class PurgeDeadLetters(QueueRequest[Purged], frozen=True, kw_only=True):
    """Take dead letters off the list, or all of them."""

    operation: ClassVar[Operation] = Operation.ALTER
    stores: ClassVar[bool] = True

    letters: Sequence[str] | None = None

    def check(self) -> None:
        """Raises ``InvalidName``, ``InvalidRequest``."""
        QueueRequest.check(self)
        names_of(self.letters)

    def is_repeatable(self) -> bool:
        """No other letter gets the name of one that is gone."""
        return self.letters is not None

    async def execute(self, at: Service, context: RequestContext) -> Purged:
        """See ``QueueAdmin.purge_dead``."""
        letters = names_of(self.letters)
        return Purged(await at.broker.queues.purge_dead(self.queue, letters, timeout_s=context.left_s()))


class Shown(NamedTuple):
    """A dead letter, and its record in the topic of dead letters; None where retention removed it."""

    letter: DeadLetterListing
    record: Slice | None


async def show(at: Service, context: RequestContext, name: str, letter: str, hold: Hold) -> Shown:
    """A dead letter with its record, which is in ``hold`` then. Raises ``UnknownQueue``,
    ``UnknownDeadLetter``."""
    at.authorize(context, Operation.READ, queue(name))
    at.admit(context, Operation.READ, 0)
    check_name(name)
    name_of(letter)
    await at.check_level("a queue", QUEUES)
    found = (await at_coordinator(at, context.within(STEP_S), FindDeadLetter(queue=name, id=letter))).result
    where = found.dead_letter
    if where.topic is None:
        return Shown(found, None)
    resource = topic(where.topic)
    at.authorize(context, Operation.READ, resource)
    try:
        partition = await at.topics.partition(where.topic, where.partition, where.topic_id)
        reader = TopicReader(
            at,
            hold,
            where.topic_id,
            [partition],
            [str(where.offset)],
            permit=at.open_reads.permit(context, Operation.READ, resource),
            by_cursor=False,
            leader_s=at.fetching.leader_s(),
        )
        reader.begin(max_bytes=1)
        part = await reader.next()
    except (OffsetOutOfRange, UnknownTopic):
        return Shown(found, None)
    if part is None or part.first_offset != where.offset or part.records[0] is None:
        return Shown(found, None)
    return Shown(found, part._replace(records=part.records[:1]))


def name_of(text: str) -> DeadName:
    """What an id is of. Raises ``InvalidRequest``."""
    match = _ID.fullmatch(text)
    if match is not None:
        name = DeadName(int(match[1]), int(match[2]), int(match[3]))
        if max(name.topic_id, name.number) <= _NUMBER_MAX and name.partition <= _PARTITION_MAX:
            return name
    raise InvalidRequest(f"{text[:100]!r} is not a dead letter's id: they are listed, as in 7-0-3")


def names_of(letters: Sequence[str] | None) -> list[DeadName] | None:
    """What ids are of; None for all. Raises ``InvalidRequest``."""
    if letters is None:
        return None
    if not 0 < len(letters) <= NAMES_MAX:
        raise InvalidRequest(f"1 to {NAMES_MAX} ids at once, not {len(letters)}")
    return [name_of(text) for text in letters]


def _name(letter: DeadLetter) -> DeadName:
    return DeadName(letter.source.topic_id, letter.source.partition, letter.number)


def _before(name: DeadName) -> DeadName | None:
    """The greatest name that is less."""
    topic_id, partition, number = name
    if number:
        return DeadName(topic_id, partition, number - 1)
    if partition:
        return DeadName(topic_id, partition - 1, _NUMBER_MAX)
    return DeadName(topic_id - 1, _PARTITION_MAX, _NUMBER_MAX) if topic_id else None


def _listing(at: Service, letter: DeadLetter) -> DeadLetterListing:
    source = letter.source
    return DeadLetterListing(
        id="-".join(map(str, _name(letter))),
        topic=at.broker.groups.topic_name(source.topic_id),
        topic_id=source.topic_id,
        partition=source.partition,
        offset=source.offset,
        reason=letter.reason,
        deliveries=letter.deliveries,
        worker=letter.worker,
        first_delivered_ms=letter.first_delivered_ms,
        died_ms=letter.died_ms,
        replaying=letter.replaying,
        dead_letter=_place(at, letter.at),
    )


def _place(at: Service, place: Place) -> DeadPlace:
    return DeadPlace(at.broker.groups.topic_name(place.topic_id), *place)
