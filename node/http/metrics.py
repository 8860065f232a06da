"""Prometheus metrics of one application, in a registry of its own; labels only have values known here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.broker import Broker
from node.http.group_rows import GroupRows
from node.http.partition_rows import PartitionRows
from node.http.request_tally import RequestTally

UNMATCHED: Final = "unmatched"


class HttpMetrics:
    """Requests by route template, method and status class, and whatever else the node registers."""

    def __init__(self, broker: Broker) -> None:
        self.registry = CollectorRegistry()
        self.dropped = Counter(
            "floodmark_http_connections_dropped",
            "Connections that were refused or given up, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self._requests = RequestTally()
        self.register(self._requests)
        self.register(_BrokerCollector(broker))
        self._partitions = PartitionRows(broker)
        self.groups: GroupRows | None = None
        """Set once there is a service to ask."""

    def register(self, collector: Collector) -> None:
        """Add figures of the node's other rooms to ``/metrics``."""
        self.registry.register(collector)

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request was answered."""
        self._requests.observe(route, method, status, seconds)

    async def render(self) -> bytes:
        """The text exposition, made in slices: a thousand partitions would block the event loop too long."""
        head = generate_latest(self.registry)
        await asyncio.sleep(0)
        groups = b"" if self.groups is None else await self.groups.text()
        return head + await self._partitions.text() + groups


class _BrokerCollector(Collector):
    """Collected at every scrape, so that nothing has to be kept up to date between scrapes."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: the broker may not be ready when this is registered."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Cluster totals."""
        cluster = self._broker.cluster.show()
        for name, text, value in (
            ("floodmark_topics", "Topics.", cluster.topics),
            ("floodmark_partitions", "Partitions.", cluster.partitions),
            (
                "floodmark_partitions_leaderless",
                "Partitions without a leader.",
                cluster.leaderless_partitions,
            ),
            (
                "floodmark_partitions_under_replicated",
                "Partitions with replicas that are behind.",
                cluster.under_replicated_partitions,
            ),
            ("floodmark_nodes_alive", "Nodes that answer.", sum(node.alive for node in cluster.nodes)),
        ):
            yield GaugeMetricFamily(name, text, value)
