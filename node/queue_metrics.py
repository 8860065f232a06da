"""Figures of the queues whose shards a node leads, for Prometheus, and why they do not deliver."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from floodmark.errors import FloodmarkError
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.coordinator.delivery import describing
from node.coordinator.delivery.queue_lead import QueueLead
from node.coordinator.delivery.queue_leads import QueueLeads
from node.coordinator.queues import description
from node.coordinator.queues.requests import QueueInfo
from node.coordinator.queues.values import CLOSED, HALF_OPEN
from node.coordinator.shards import Shards

LISTED_MAX: Final = 200
"""Queues of one node that have rows of their own, in order of name."""
WARNED_MAX: Final = 5
LOOK_S: Final = 15.0
"""Ends of topics, and how old records are, are looked at again after so long; and only if somebody asks."""
LOOK_TIMEOUT_S: Final = 2.0
_GAUGES: Final = (
    ("depth", "Records that are not settled."),
    ("in_flight", "Records that are delivered and not settled."),
    ("waiting", "Records that wait to be delivered again."),
    ("held", "Records that wait for an earlier one of their key."),
    ("delayed", "Records that wait for their time."),
    ("dying", "Records on their way to the dead letters."),
    ("dead", "Dead letters that are listed."),
)
_COUNTERS: Final = (
    ("settled", "Records that were settled."),
    ("redelivered", "Deliveries after the first."),
    ("lost", "Records that retention removed before they were settled."),
)
_BREAKER: Final = {CLOSED: 0, HALF_OPEN: 1}


class QueueCollector(Collector):
    """Reads them at every scrape. One for each node: a queue is told of by the node that leads its shard."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._looking: asyncio.Task[None] | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Gauges and counters by queue."""
        leads = list(islice(self._leads(), LISTED_MAX))
        self._look_soon(leads)
        found = [_info(lead) for lead in leads]
        for name, text in _GAUGES:
            gauge = GaugeMetricFamily(f"floodmark_queue_{name}", text, labels=["queue"])
            for info in found:
                gauge.add_metric([info.queue], getattr(info, name))
            yield gauge
        for name, text in _COUNTERS:
            counter = CounterMetricFamily(f"floodmark_queue_{name}", text, labels=["queue"])
            for info in found:
                counter.add_metric([info.queue], getattr(info, name))
            yield counter
        yield from self._more(leads, found)

    def _more(self, leads: list[QueueLead], found: list[QueueInfo]) -> Iterator[Metric]:
        oldest = GaugeMetricFamily(
            "floodmark_queue_oldest_seconds",
            "Age of the oldest record that is not settled; 0 where there is none.",
            labels=["queue"],
        )
        breaker = GaugeMetricFamily(
            "floodmark_queue_breaker", "0 closed, 1 half open, 2 open.", labels=["queue"]
        )
        reasons = GaugeMetricFamily(
            "floodmark_queue_stopped",
            "1 for each reason why it does not deliver.",
            labels=["queue", "reason"],
        )
        for lead, info in zip(leads, found, strict=True):
            age_ms = 0 if info.oldest_ms is None else lead.around.wall_ms() - info.oldest_ms
            oldest.add_metric([info.queue], max(0, age_ms) / 1_000)
            breaker.add_metric([info.queue], _BREAKER.get(info.breaker, 2))
            for reason in info.health:
                reasons.add_metric([info.queue, reason], 1)
        yield from (oldest, breaker, reasons)
        stored = sum(len(queues.names()) for queues in self._queues())
        yield GaugeMetricFamily("floodmark_queues", "Queues whose shards this node leads.", stored)

    def warnings(self) -> list[str]:
        """For /readyz: queues that do not deliver, and why. Only those with which something happens here."""
        stopped = ((lead.name, describing.health(lead)) for lead in self._here() if lead.view)
        found = [
            f"queue {name} does not deliver all of its records: {', '.join(reasons)}"
            for name, reasons in stopped
            if reasons
        ]
        more = len(found) - WARNED_MAX
        return found if more <= 0 else [*sorted(found)[:WARNED_MAX], f"and so do {more} other queues"]

    def _here(self) -> Iterator[QueueLead]:
        for queues in self._queues():
            yield from queues.here()

    def _queues(self) -> Iterator[QueueLeads]:
        return (queues for shard in self._shards.here if (queues := shard.queues) is not None)

    def _leads(self) -> Iterator[QueueLead]:
        """In order of name."""
        names = [(name, queues) for queues in self._queues() for name in queues.names()]
        for name, queues in sorted(names, key=lambda each: each[0]):
            try:
                lead = queues.of(name)
            except FloodmarkError:
                continue
            if lead.view:
                yield lead

    def _look_soon(self, leads: list[QueueLead]) -> None:
        loop = asyncio.get_running_loop()
        old = [lead for lead in leads if loop.time() - lead.looked_s > LOOK_S]
        if old and (self._looking is None or self._looking.done()):
            self._looking = loop.create_task(_look(old))


async def _look(leads: list[QueueLead]) -> None:
    for lead in leads:
        if lead.view:
            await describing.look(lead, LOOK_TIMEOUT_S)


def _info(lead: QueueLead) -> QueueInfo:
    return description.info(
        lead.view, ends=lead.ends, oldest_ms=lead.oldest_ms, health=describing.health(lead)
    )
