"""Queues, where this node leads the shards of the coordinator that keep them."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping, Sequence
from typing import Protocol

from floodmark.errors import UnknownTopic

from node.broker.queues import (
    DeadLetter,
    DeadName,
    QueueConfig,
    QueueInfo,
    QueueListed,
    Receive,
    Received,
    Replay,
    Settled,
    Settlement,
)
from node.coordinator.delivery import describing, replaying
from node.coordinator.delivery.around import QueuesAround
from node.coordinator.delivery.queue_lead import QueueLead
from node.coordinator.delivery.queue_leads import QueueLeads
from node.coordinator.queues import administration, dead_letters, description
from node.coordinator.queues.administration import Put

BOUNDS_AT_ONCE = 16


class Keeper(Protocol):
    """One shard, at its leader (``coordinator/lead.py``)."""

    @property
    def queues(self) -> QueueLeads:
        """Its queues."""


class Keepers(Protocol):
    """The shards that this node leads (``coordinator/shards.py``)."""

    def lead_of(self, name: str) -> Keeper:
        """The one that keeps a queue. Raises ``Unavailable``."""

    def lead(self, number: int) -> Keeper:
        """The one of this number. Raises ``Unavailable``."""


class LocalQueues:
    """Implements ``node.broker.QueueAdmin``."""

    def __init__(self, *, shards: Keepers, around: QueuesAround) -> None:
        self._shards = shards
        self._around = around

    async def put(self, queue: str, config: QueueConfig, *, timeout_s: float) -> tuple[QueueInfo, bool]:
        """See ``QueueAdmin``."""
        deadline = _deadline(timeout_s)
        leads = self._leads(queue)
        lead = await leads.opened(queue, deadline)
        begins: Mapping[int, int] = {}
        if lead.view.header is None:
            leads.check_room()
            begins = await self._begins(config, timeout_s)
        request = Put(config, self._around.number(), begins)
        lead = await self._at(queue, deadline)
        was_made = await lead.decide(
            lambda view: administration.put(view, request, now_ms=self._around.wall_ms()), deadline=deadline
        )
        return await describing.described(await self._at(queue, deadline), deadline=deadline), was_made

    async def delete(self, queue: str, *, timeout_s: float) -> None:
        """See ``QueueAdmin``."""
        await self._leads(queue).delete(queue, deadline=_deadline(timeout_s))

    async def purge(self, queue: str, *, timeout_s: float) -> int:
        """See ``QueueAdmin``."""
        deadline = _deadline(timeout_s)
        lead = await self._existing(queue, deadline)
        ends = await self._ends(lead.view.state.config, timeout_s)
        records = 0
        while True:
            removed = await lead.decide(lambda view: administration.purge(view, ends), deadline=deadline)
            records += removed.records
            if not removed.more:
                return records

    async def describe(self, queue: str, *, timeout_s: float) -> QueueInfo:
        """See ``QueueAdmin``."""
        deadline = _deadline(timeout_s)
        lead = await self._existing(queue, deadline)
        await lead.confirm(deadline)
        return await describing.described(lead, deadline=deadline)

    async def page(
        self, shard: int, *, prefix: str, after: str, limit: int, timeout_s: float
    ) -> Sequence[QueueListed]:
        """See ``QueueAdmin``."""
        deadline = _deadline(timeout_s)
        leads = self._shards.lead(shard).queues
        await leads.confirm(deadline)
        wanted = (name for name in leads.names() if name.startswith(prefix) and name > after)
        found = []
        for name in heapq.nsmallest(limit, wanted):
            lead = await leads.opened(name, deadline)
            if lead.view:
                found.append(lead)
        left = deadline - asyncio.get_running_loop().time()
        await describing.look_at_ends(found, min(describing.LOOK_S, max(0.0, left)))
        return [description.row(lead.view, ends=lead.ends) for lead in found if lead.view]

    async def receive(self, queue: str, request: Receive, *, timeout_s: float) -> Received:
        """See ``QueueAdmin``."""
        deadline = _deadline(timeout_s + request.wait_s)
        lead = await self._existing(queue, deadline)
        return await lead.receive(request, deadline=deadline)

    async def settle(
        self, queue: str, settlements: Sequence[Settlement], *, timeout_s: float
    ) -> Sequence[Settled]:
        """See ``QueueAdmin``."""
        deadline = _deadline(timeout_s)
        lead = await self._existing(queue, deadline)
        return await lead.settle(settlements, deadline=deadline)

    async def dead_letters(
        self, queue: str, *, after: DeadName | None, limit: int, timeout_s: float
    ) -> Sequence[DeadLetter]:
        """See ``QueueAdmin``."""
        deadline = _deadline(timeout_s)
        lead = await self._existing(queue, deadline)
        await lead.confirm(deadline)
        return dead_letters.listed(lead.view, after=after, limit=limit)

    async def replay(self, queue: str, request: Replay, *, timeout_s: float) -> int:
        """See ``QueueAdmin``."""
        deadline = _deadline(timeout_s)
        return await replaying.replay(await self._existing(queue, deadline), request, deadline=deadline)

    async def purge_dead(self, queue: str, letters: Sequence[DeadName] | None, *, timeout_s: float) -> int:
        """See ``QueueAdmin``."""
        deadline = _deadline(timeout_s)
        return await replaying.purge(await self._existing(queue, deadline), letters, deadline=deadline)

    def _leads(self, queue: str) -> QueueLeads:
        return self._shards.lead_of(queue).queues

    async def _at(self, queue: str, deadline: float) -> QueueLead:
        return await self._leads(queue).opened(queue, deadline)

    async def _existing(self, queue: str, deadline: float) -> QueueLead:
        """Raises ``UnknownQueue`` once it is certain that there is none."""
        lead = await self._at(queue, deadline)
        if not lead.view:
            await lead.confirm(deadline)
            lead = await self._at(queue, deadline)
            lead.check_exists()
        return lead

    async def _begins(self, config: QueueConfig, timeout_s: float) -> Mapping[int, int]:
        bounds = await self._bounds(config, timeout_s)
        return {number: each[config.start == "latest"] for number, each in bounds.items()}

    async def _ends(self, config: QueueConfig, timeout_s: float) -> Mapping[int, int]:
        return {number: end for number, (_, end) in (await self._bounds(config, timeout_s)).items()}

    async def _bounds(self, config: QueueConfig, timeout_s: float) -> dict[int, tuple[int, int]]:
        records = self._around.records
        count = records.partitions(config.topic_id)
        if not count:
            raise UnknownTopic(f"topic {config.topic} is gone", topic=config.topic)
        found: dict[int, tuple[int, int]] = {}
        for begin in range(0, count, BOUNDS_AT_ONCE):
            some = range(begin, min(begin + BOUNDS_AT_ONCE, count))
            asked = (records.bounds(config.topic_id, number, timeout_s=timeout_s) for number in some)
            found.update(zip(some, await asyncio.gather(*asked), strict=True))
        return found


def _deadline(timeout_s: float) -> float:
    return asyncio.get_running_loop().time() + timeout_s
