"""Reads all that is stored, slowly and repeatedly: damage is found while other replicas can still mend it.

A start reads only what is behind the checkpoint, and consumers rarely read old records. Everything is read
from the disk, bypassing the memory of the process and of the operating system. Damage is mended from another
replica; votes and checkpoints from their other copies.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from floodmark.errors import Unavailable
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consensus.host.group_host import GroupHost

SLICE_BYTES: Final = 256 << 10
"""Read in one piece, while nothing else works on the replica's log."""
BYTES_PER_S: Final = 32 << 20
REST: Final = 19.0
"""How many times longer it rests than it works, so that it takes at most a twentieth of a core."""


class Scrub(Collector):
    """One task for all replicas of a node; ``groups``: those that run now."""

    def __init__(self, *, host: GroupHost, groups: Callable[[], Iterable[int]], interval_s: float) -> None:
        self._host = host
        self._groups = groups
        self._interval_s = interval_s
        self.passes = 0
        self.bytes_read = 0
        """By all passes."""
        self.damage_found = 0
        self._ended_at: float | None = None
        """When the last pass ended, in seconds since the Unix epoch."""
        self._todo = 0
        """Replicas still to be read in this pass, the present one included."""
        self._of = 0

    async def run(self) -> None:
        """Read all of them, rest, and begin again, until cancelled."""
        while True:
            await self.once()
            await asyncio.sleep(self._interval_s)

    async def once(self) -> None:
        """One pass."""
        groups = sorted(self._groups())
        self._todo = self._of = len(groups)
        for group in groups:
            await self.read_through(group)
            self._todo -= 1
        self.passes += 1
        self._ended_at = time.time()

    async def read_through(self, group: int) -> None:
        """Read what one replica has applied when this begins; ends early if the replica closes."""
        loop = asyncio.get_running_loop()
        index = 0
        try:
            await self._host.disk.verify_files(group)
            while True:
                began = loop.time()
                verified = await self._host.disk.verify(group, index, max_bytes=SLICE_BYTES)
                self.bytes_read += verified.size
                self.damage_found += verified.damage is not None
                if verified.after == index:
                    return
                index = verified.after
                rest = 0.0 if verified.damage is not None else REST * (loop.time() - began)
                await asyncio.sleep(max(rest, SLICE_BYTES / BYTES_PER_S))
        except Unavailable:
            return

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Progress, and when the last pass ended."""
        for name, text, count in (
            ("passes", "Readings of all that is stored that have ended.", self.passes),
            ("bytes", "Bytes read back from the disk.", self.bytes_read),
            ("damage_found", "Slices that a bad frame was found in.", self.damage_found),
        ):
            yield CounterMetricFamily(f"floodmark_scrub_{name}", text, value=count)
        done = 1.0 if not self._of else 1.0 - self._todo / self._of
        yield GaugeMetricFamily(
            "floodmark_scrub_progress", "Part of the replicas that this pass has read.", done
        )
        if self._ended_at is not None:
            yield GaugeMetricFamily(
                "floodmark_scrub_last_pass_timestamp_seconds",
                "When the last pass ended, in seconds since the Unix epoch.",
                self._ended_at,
            )
