"""The rows of ``/metrics`` for each partition, made a few at a time.

Where there are many, all scrapes within a second get the same ones, so that frequent scrapes cost no more.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from node.broker import Broker
from node.service.topics import PARTITIONS_AT_ONCE, all_topics

KEPT_S: Final = 1.0
_MARK: Final = ("floodmark_partition_high_watermark", "Offset behind the last record.")
_START: Final = ("floodmark_partition_log_start_offset", "The first offset held.")
_LEADER: Final = ("floodmark_partition_leader", "1 where the partition is led.")


class PartitionRows:
    """One per application."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._making: asyncio.Task[bytes] | None = None
        self._made = b""
        self._made_at = float("-inf")
        self._are_many = False

    async def text(self) -> bytes:
        """The rows in Prometheus' text format."""
        if time.monotonic() - self._made_at < KEPT_S:
            return self._made
        if self._making is None:
            self._making = asyncio.create_task(self._make())
            self._making.add_done_callback(self._ended)
        # A cancelled scrape does not end it for the others.
        return await asyncio.shield(self._making)

    def _ended(self, task: asyncio.Task[bytes]) -> None:
        self._making = None
        if not task.cancelled() and task.exception() is None and self._are_many:
            self._made, self._made_at = task.result(), time.monotonic()

    async def _make(self) -> bytes:
        rows: dict[tuple[str, str], list[str]] = {_MARK: [], _START: [], _LEADER: []}
        async for topic in all_topics(self._broker):
            for info in topic.partitions:
                # Names of topics and nodes have no character that would have to be escaped.
                labels = f'topic="{topic.name}",partition="{info.partition}"'
                if info.high_watermark is not None:
                    rows[_MARK].append(f"{{{labels}}} {info.high_watermark}")
                if info.log_start_offset is not None:
                    rows[_START].append(f"{{{labels}}} {info.log_start_offset}")
                if info.leader is not None:
                    rows[_LEADER].append(f'{{{labels},node="{info.leader}"}} 1.0')
            await asyncio.sleep(0)
        self._are_many = len(rows[_LEADER]) > PARTITIONS_AT_ONCE
        text: list[str] = []
        for (name, help_text), found in rows.items():
            text += (f"# HELP {name} {help_text}", f"# TYPE {name} gauge")
            for begin in range(0, len(found), 10 * PARTITIONS_AT_ONCE):
                text.append("\n".join([name + row for row in found[begin : begin + 10 * PARTITIONS_AT_ONCE]]))
                await asyncio.sleep(0)
        return ("\n".join(text) + "\n").encode()
