"""What is told of a queue: how far it is, what it holds, why it does not deliver."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from floodmark.errors import FloodmarkError

from node.coordinator.delivery.windows import a_window_is_full
from node.coordinator.queues import description
from node.coordinator.queues.leasing import BREAKER_OPEN, DELAYED_FULL, DELAYED_MAX, TOPIC_GONE, WINDOW_FULL
from node.coordinator.queues.requests import QueueInfo
from node.coordinator.queues.values import CLOSED

if TYPE_CHECKING:
    from node.coordinator.delivery.queue_lead import QueueLead

AT_ONCE: Final = 16
LOOK_S: Final = 2.0
UNWRITABLE: Final = "dead_letters_unwritable"


async def described(lead: QueueLead, *, deadline: float) -> QueueInfo:
    """The queue as it is decided. The ends of partitions that nobody leads now are as they were last seen.

    Raises ``UnknownQueue``.
    """
    lead.check_exists()
    left = min(LOOK_S, max(0.0, deadline - asyncio.get_running_loop().time()))
    await look(lead, left)
    lead.check_exists()
    return description.info(lead.view, ends=lead.ends, oldest_ms=lead.oldest_ms, health=health(lead))


def health(lead: QueueLead) -> Sequence[str]:
    """Why it does not deliver."""
    view = lead.view
    config = view.state.config
    reasons = []
    if view.state.breaker != CLOSED:
        reasons.append(BREAKER_OPEN)
    if a_window_is_full(view):
        reasons.append(WINDOW_FULL)
    if view.delayed >= DELAYED_MAX:
        reasons.append(DELAYED_FULL)
    if lead.letters.is_unwritable:
        reasons.append(UNWRITABLE)
    if not lead.around.records.partitions(config.topic_id):
        reasons.append(TOPIC_GONE)
    return reasons


async def look(lead: QueueLead, timeout_s: float) -> None:
    """Find out where the partitions of the queue's topic begin and end, and how old the oldest record is."""
    records, topic_id = lead.around.records, lead.view.state.config.topic_id
    ages: list[int] = []

    async def look_at(number: int) -> None:
        try:
            end = await _end_of([lead], topic_id, number, timeout_s)
            offset = description.oldest(lead.view, number, end)
            if offset is not None:
                chunk = await records.read(topic_id, number, offset, max_bytes=1)
                ages.extend(piece.append_time for piece in chunk.pieces[:1])
        except FloodmarkError:
            lead.ends.setdefault(number, lead.view.next_of(number))

    count = records.partitions(topic_id)
    for begin in range(0, count, AT_ONCE):
        await asyncio.gather(*(look_at(number) for number in range(begin, min(begin + AT_ONCE, count))))
    lead.oldest_ms = min(ages, default=None)
    lead.looked_s = asyncio.get_running_loop().time()


async def look_at_ends(leads: Sequence[QueueLead], timeout_s: float) -> None:
    """Find out where the partitions of these queues' topics begin and end, of each topic once."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    of_topic: dict[int, list[QueueLead]] = {}
    for lead in leads:
        of_topic.setdefault(lead.view.state.config.topic_id, []).append(lead)
    turn = asyncio.Semaphore(AT_ONCE)

    async def look_at(topic_id: int, number: int) -> None:
        async with turn:
            with contextlib.suppress(FloodmarkError):
                await _end_of(of_topic[topic_id], topic_id, number, max(0.0, deadline - loop.time()))

    await asyncio.gather(
        *(
            look_at(topic_id, number)
            for topic_id, its in of_topic.items()
            for number in range(its[0].around.records.partitions(topic_id))
        )
    )


async def _end_of(leads: Sequence[QueueLead], topic_id: int, number: int, timeout_s: float) -> int:
    """Where a partition ends, which all queues of its topic are told."""
    start, end = await leads[0].around.records.bounds(topic_id, number, timeout_s=timeout_s)
    for lead in leads:
        lead.ends[number] = end
        lead.passed(topic_id, number, start)
    return end
