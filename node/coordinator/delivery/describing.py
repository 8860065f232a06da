"""What is told of a queue: how far it is, what it holds, why it does not deliver."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from floodmark.errors import FloodmarkError

from node.coordinator.delivery.dispatch import window_is_full
from node.coordinator.queues.leasing import BREAKER_OPEN, WINDOW_FULL
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import (
    DeadLetter,
    DeadName,
    Place,
    QueueInfo,
    QueueListed,
    QueuePartition,
)
from node.coordinator.queues.values import CLOSED, State

if TYPE_CHECKING:
    from node.coordinator.delivery.queue_lead import QueueLead

AT_ONCE: Final = 16
BOUNDS_S: Final = 2.0
TOPIC_GONE: Final = "topic_gone"
UNWRITABLE: Final = "dead_letters_unwritable"


async def described(lead: QueueLead, *, deadline: float) -> QueueInfo:
    """The queue as it is decided. The ends of partitions that nobody leads now are as they were last seen."""
    left = min(BOUNDS_S, max(0.0, deadline - asyncio.get_running_loop().time()))
    await _look_at_ends(lead, left)
    view, ends = lead.view, lead.ends
    lead.check_exists()
    state = view.state
    config = state.config
    partitions = [
        QueuePartition(
            partition=number,
            next=view.next_of(number),
            end=max(end, view.next_of(number)),
            unsettled=view.lane(config.topic_id, number).unsettled,
            lost=view.lane(config.topic_id, number).source.lost,
        )
        for number, end in sorted(ends.items())
    ]
    sources = [lane.source for lane in view.lanes.values()]
    unsettled = sum(lane.unsettled for lane in view.lanes.values())
    taken = sum(source.taken for source in sources)
    lost = sum(source.lost for source in sources)
    return QueueInfo(
        queue=view.name,
        config=config,
        created_ms=state.created_ms,
        depth=depth(lead),
        in_flight=view.counts[State.LEASED],
        waiting=view.counts[State.WAITING],
        held=view.counts[State.HELD],
        delayed=view.delayed,
        dying=view.counts[State.DYING],
        dead=len(view.dead),
        oldest_ms=lead.oldest_ms,
        redelivered=sum(source.redelivered for source in sources),
        settled=max(0, taken - lost - unsettled),
        lost=lost,
        breaker=state.breaker,
        breaker_until_ms=state.breaker_until_ms,
        health=health(lead),
        partitions=partitions,
    )


def listed(lead: QueueLead) -> QueueListed:
    """In short, by what is known."""
    view = lead.view
    return QueueListed(
        queue=view.name,
        topic=view.state.config.topic,
        depth=depth(lead),
        dead=len(view.dead),
        breaker=view.state.breaker,
    )


def depth(lead: QueueLead) -> int:
    """Records that are not settled, by the ends of partitions as they are known."""
    view = lead.view
    unsettled = sum(lane.unsettled for lane in view.lanes.values())
    return unsettled + sum(max(0, end - view.next_of(number)) for number, end in lead.ends.items())


def health(lead: QueueLead) -> Sequence[str]:
    """Why it does not deliver."""
    view = lead.view
    config = view.state.config
    reasons = []
    if view.state.breaker != CLOSED:
        reasons.append(BREAKER_OPEN)
    if any(window_is_full(view, number) for number in lead.ends):
        reasons.append(WINDOW_FULL)
    if lead.letters.is_unwritable:
        reasons.append(UNWRITABLE)
    if not lead.around.records.partitions(config.topic_id):
        reasons.append(TOPIC_GONE)
    return reasons


def dead_letters(view: Queue, after: DeadName | None, limit: int) -> list[DeadLetter]:
    """Some of those that are listed, in order of partition and number."""
    names: Iterable[DeadName] = sorted(name for name in view.dead if after is None or name > after)
    found = []
    for name in list(names)[:limit]:
        dead = view.dead[name]
        found.append(
            DeadLetter(
                source=Place(name.topic_id, name.partition, dead.offset),
                number=name.number,
                at=Place(dead.at_topic_id, dead.at_partition, dead.at_offset),
                reason=dead.reason,
                deliveries=dead.deliveries,
                worker=dead.worker,
                first_delivered_ms=dead.first_delivered_ms,
                died_ms=dead.died_ms,
                replaying=dead.replaying,
            )
        )
    return found


async def _look_at_ends(lead: QueueLead, timeout_s: float) -> None:
    lead.check_exists()
    records, topic_id = lead.around.records, lead.view.state.config.topic_id

    async def look(number: int) -> None:
        try:
            _, lead.ends[number] = await records.bounds(topic_id, number, timeout_s=timeout_s)
        except FloodmarkError:
            lead.ends.setdefault(number, lead.view.next_of(number))

    count = records.partitions(topic_id)
    for begin in range(0, count, AT_ONCE):
        await asyncio.gather(*(look(number) for number in range(begin, min(begin + AT_ONCE, count))))
