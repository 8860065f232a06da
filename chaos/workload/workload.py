"""All tasks of a workload, from the first to the last operation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, Final

from chaos.workload.consumers import follow, reread, watch_tail
from chaos.workload.members import take_part
from chaos.workload.producers import produce_idempotently, produce_later, produce_once
from chaos.workload.queue_workers import empty_queue, make_queue, work_off
from chaos.workload.racers import race
from chaos.workload.renewal import renew
from chaos.workload.replays import list_dead, replay_all, replay_now_and_then
from chaos.workload.sampler import Sampler
from chaos.workload.site import Site
from chaos.workload.topic_admin import administrate

_DRAIN_S: Final = 20.0
"""Time for operations under way at the end of the workload: each has a much shorter deadline."""


@contextlib.asynccontextmanager
async def working(site: Site, sampler: Sampler, *, replication: int) -> AsyncIterator[None]:
    """Run the workload inside the context.

    On leaving, operations under way are awaited. A task that fails is a bug of ours and ends everything at
    once.
    """
    if site.queue_topic is not None:
        await make_queue(site)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in _works(site, replication)]
        pausing = group.create_task(site.pauses.play(site.recorder))
        breaking = group.create_task(site.downstream.play())
        sampling = group.create_task(sampler.run(site.stop))
        yield
        site.stop.set()
        pausing.cancel()
        breaking.cancel()
        async with asyncio.timeout(_DRAIN_S):
            await asyncio.gather(*tasks, sampling)
    if site.queue_topic is not None:
        await empty_queue(site)
        await replay_all(site)
        await empty_queue(site)
        await list_dead(site)


def _works(site: Site, replication: int) -> Iterator[Coroutine[Any, Any, None]]:
    workload = site.workload
    for number in range(1, workload.idempotent_producers + 1):
        yield produce_idempotently(site, number)
    for number in range(1, workload.plain_producers + 1):
        yield produce_once(site, workload.idempotent_producers + number)
    for place in site.places:
        yield watch_tail(site, "bounds", place)
        for number in range(1, workload.tailing_consumers + 1):
            yield follow(site, f"tailing-{number}", place)
        for number in range(1, workload.rereading_consumers + 1):
            yield reread(site, f"rereading-{number}", place)
    yield from _of_races(site)
    for number in range(1, workload.group_members + 1):
        yield take_part(site, number)
    if workload.group_members:
        yield renew(site, replication)
    yield from _of_queue(site)
    for number in range(1, workload.topic_admins + 1):
        yield administrate(site, f"admin-{number}", replication)


def _of_races(site: Site) -> Iterator[Coroutine[Any, Any, None]]:
    workload = site.workload
    if site.race is not None:
        others = workload.idempotent_producers + workload.plain_producers
        for number in range(1, workload.racers + 1):
            yield race(site, number, others + number)
        yield watch_tail(site, "bounds", site.race)
        yield follow(site, "tailing-race", site.race)


def _of_queue(site: Site) -> Iterator[Coroutine[Any, Any, None]]:
    workload = site.workload
    for number in range(1, workload.queue_workers + 1):
        yield work_off(site, number)
    if site.queue_topic is not None:
        yield replay_now_and_then(site)
    if site.queue_topic is not None and workload.delayed_per_s:
        others = workload.idempotent_producers + workload.plain_producers + workload.racers
        yield produce_later(site, others + 1)
