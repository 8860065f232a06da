"""Dead letters that are delivered again: chosen by name, or by what their records are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from floodmark.format.record import Record

from node import outcomes
from node.coordinator.queues import dead_letters
from node.coordinator.queues.dead_letters import Letter
from node.coordinator.queues.leasing import key_hash
from node.coordinator.queues.limits import PAIRS_PER_STEP
from node.coordinator.queues.queue import dead_at
from node.coordinator.queues.requests import BY_KEY, DeadName, Place, Replay

if TYPE_CHECKING:
    from node.coordinator.delivery.queue_lead import QueueLead


async def replay(lead: QueueLead, request: Replay, *, deadline: float) -> int:
    """How many are on their way now. Each step of them is stored before the next one: after a failure the
    same may be asked again. Raises what reading and storing raise, ``OutcomeUnknown`` where some are on their
    way already."""
    view, now_ms = lead.view, lead.around.wall_ms()
    every_ms = 1_000 / request.per_second if request.per_second else 0.0
    needs_records = bool(
        request.key_prefix is not None or request.headers or view.state.config.ordering == BY_KEY
    )
    fits = _fitting(request)
    begun = 0
    for some in _parts(lead, request.letters):
        with outcomes.PartDone(is_begun=begun > 0):
            letters = [Letter(name, 0) for name, _ in some]
            if needs_records:
                read = await _read(lead, some)
                letters = [Letter(name, key_hash(record.key)) for name, record in read if fits(record)]
            if every_ms:
                letters = [
                    each._replace(due_ms=now_ms + int((begun + place) * every_ms))
                    for place, each in enumerate(letters)
                ]
            if letters:
                begun += await lead.decide(
                    lambda queue, letters=letters: dead_letters.replay(queue, letters),  # type: ignore[misc]
                    deadline=deadline,
                    is_sure=True,
                )
    with outcomes.PartDone(is_begun=begun > 0):
        await lead.confirm(deadline)
    return begun


async def purge(lead: QueueLead, names: Iterable[DeadName] | None, *, deadline: float) -> int:
    """Take them off the list; how many that were. Raises likewise."""
    gone = 0
    todo = list(lead.view.dead if names is None else dict.fromkeys(names))
    for begin in range(0, len(todo), PAIRS_PER_STEP):
        some = todo[begin : begin + PAIRS_PER_STEP]
        with outcomes.PartDone(is_begun=gone > 0):
            gone += await lead.decide(
                lambda queue, some=some: dead_letters.purge_dead(queue, some),  # type: ignore[misc]
                deadline=deadline,
                is_sure=True,
            )
    with outcomes.PartDone(is_begun=gone > 0):
        await lead.confirm(deadline)
    return gone


def _parts(lead: QueueLead, names: Iterable[DeadName] | None) -> Iterator[list[tuple[DeadName, Place]]]:
    """Those that are not on their way, in the order in which they are in their topic; none of a topic that is
    gone, where letters were sent before the queue had another one."""
    view, records = lead.view, lead.around.records
    found = [
        (name, dead_at(dead))
        for name in (list(view.dead) if names is None else dict.fromkeys(names))
        if (dead := view.dead.get(name)) is not None and not dead.replaying
    ]
    there = {topic_id for topic_id in {at.topic_id for _, at in found} if records.partitions(topic_id)}
    found = [each for each in found if each[1].topic_id in there]
    found.sort(key=lambda each: each[1])
    for begin in range(0, len(found), PAIRS_PER_STEP):
        yield found[begin : begin + PAIRS_PER_STEP]


def _fitting(request: Replay) -> Callable[[Record], bool]:
    prefix, headers = request.key_prefix, request.headers or {}

    def fits(record: Record) -> bool:
        if prefix is not None and not (record.key or b"").startswith(prefix):
            return False
        if not headers:
            return True
        there = set(record.headers.pairs)
        return all((name, value) in there for name, value in headers.items())

    return fits


async def _read(lead: QueueLead, some: list[tuple[DeadName, Place]]) -> list[tuple[DeadName, Record]]:
    """Those whose records are still there."""
    found = []
    for at, of_partition in groupby(some, key=lambda each: (each[1].topic_id, each[1].partition)):
        names = {place.offset: name for name, place in of_partition}
        async for offset, record in lead.dispatch.payloads.read_all(at, list(names)):
            found.append((names[offset], record))
    return found
