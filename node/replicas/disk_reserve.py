"""Room on the disk that records never take, so that a node with a full disk can still be helped.

Below the reserve this node's leaders take no records and no topics. What the cluster
needs to recover goes on: votes, checkpoints, the metadata (DELETE, shorter retention), records accepted
before, and what other leaders send to the replicas here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from floodmark.errors import StorageFull
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.outcomes import FULL_RETRY_AFTER_S
from storage.filesystem import Space

LOOK_S: Final = 1.0
LOOK_S_NEAR: Final = 0.1
NEAR: Final = 4
"""With less than this many times the reserve free, the disk is checked more often."""
PART_MAX: Final = 0.05
"""On a small disk the reserve is at most this fraction of it."""

_log = structlog.get_logger(__name__)


class DiskReserve(Collector):
    """One per node. ``space`` asks the disk for its free space: now and then, never for a request."""

    def __init__(self, space: Callable[[], Space], reserve_bytes: int) -> None:
        self.space = space
        self._wanted = reserve_bytes
        self.kept_bytes = reserve_bytes
        """The reserve on this disk."""
        self.free_bytes = 0
        self.total_bytes = 0
        """Size of the disk; this and the free space are 0 until the first look."""
        self.is_short = False
        self.refused = 0

    async def run(self) -> None:
        """Check repeatedly, until cancelled. A disk that does not answer blocks nothing else."""
        while True:
            try:
                self.take(await asyncio.to_thread(self.space))
            except OSError as error:
                _log.warning("disk_space_unknown", reason=str(error))
            near = self.free_bytes < NEAR * self.kept_bytes
            await asyncio.sleep(LOOK_S_NEAR if near else LOOK_S)

    def take(self, space: Space) -> None:
        """Take in what the disk has now."""
        self.free_bytes, self.total_bytes = space.free_bytes, space.total_bytes
        self.kept_bytes = min(self._wanted, int(space.total_bytes * PART_MAX))
        is_short = self.free_bytes < self.kept_bytes
        if is_short != self.is_short:
            self.is_short = is_short
            if is_short:
                _log.error("disk_reserve_reached", free_bytes=self.free_bytes, reserve_bytes=self.kept_bytes)
            else:
                _log.info("disk_reserve_left", free_bytes=self.free_bytes, reserve_bytes=self.kept_bytes)

    def check(self) -> None:
        """Raises ``StorageFull`` while the disk is short of free space; called before anything grows."""
        if self.is_short:
            self.refused += 1
            raise StorageFull(
                f"{self._state()}; nothing was stored. Free space on this node: delete topics, shorten their "
                "retention, or give it a larger disk",
                retry_after_s=FULL_RETRY_AFTER_S,
            )

    @property
    def warnings(self) -> list[str]:
        """For /readyz."""
        return [f"{self._state()}: produces and new topics are refused here"] if self.is_short else []

    def _state(self) -> str:
        return (
            f"the disk of this node has {self.free_bytes >> 20} MiB free, less than the reserve of "
            f"{self.kept_bytes >> 20} MiB (storage.disk_reserve_bytes)"
        )

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """As of the last look."""
        yield GaugeMetricFamily(
            "floodmark_disk_free_bytes", "Free on the data folder's disk.", self.free_bytes
        )
        yield GaugeMetricFamily(
            "floodmark_disk_reserve_bytes", "Below this much free nothing is taken in.", self.kept_bytes
        )
        yield CounterMetricFamily(
            "floodmark_disk_refusals", "Produces and topics refused for want of free space.", self.refused
        )
