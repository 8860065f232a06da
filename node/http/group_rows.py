"""The rows of ``/metrics`` for each partition that a group reads, of groups that this node coordinates.

There are as many groups as clients make, so only so many rows are shown, and a row says whether that is
all. Leaders of other nodes are asked for them, so all scrapes within some seconds get the same ones.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from floodmark.errors import FloodmarkError

from node.service.group_lag import PartitionLag, lags_led_here
from node.service.service import Service

ROWS_MAX: Final = 500
KEPT_S: Final = 15.0
_PATIENCE_S: Final = 2.0
"""How long a scrape waits for new rows; it gets the last ones then."""
_MAKE_S: Final = 10.0
_LAG: Final = ("floodmark_group_lag", "Records that a group has not read.")
_BEHIND: Final = ("floodmark_group_lag_seconds", "How long ago the first of these was stored.")
_CUT: Final = ("floodmark_group_lag_cut", "1 where groups of this node are left out, as there are too many.")


class GroupRows:
    """One per application."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._making: asyncio.Task[bytes] | None = None
        self._made = b""
        self._made_at = float("-inf")

    async def text(self) -> bytes:
        """The rows in Prometheus' text format; none where there is no coordinator."""
        if time.monotonic() - self._made_at >= KEPT_S:
            if self._making is None:
                self._making = asyncio.create_task(self._make())
                self._making.add_done_callback(self._ended)
            await asyncio.wait((self._making,), timeout=_PATIENCE_S)
        return self._made

    def _ended(self, task: asyncio.Task[bytes]) -> None:
        self._making = None
        if task.cancelled() or isinstance(task.exception(), FloodmarkError):
            return  # A shard changed hands meanwhile: the next scrape asks again.
        self._made, self._made_at = task.result(), time.monotonic()

    async def _make(self) -> bytes:
        found, is_all = await lags_led_here(self._service, limit=ROWS_MAX, timeout_s=_MAKE_S)
        if not found and is_all:
            return b""
        lag = [f"{_labels(group, one)} {one.lag}" for group, one in found if one.lag is not None]
        behind = [
            f"{_labels(group, one)} {one.lag_ms / 1000}" for group, one in found if one.lag_ms is not None
        ]
        text: list[str] = []
        for (name, help_text), rows in ((_LAG, lag), (_BEHIND, behind), (_CUT, [f" {int(not is_all)}"])):
            text += (f"# HELP {name} {help_text}", f"# TYPE {name} gauge", *(name + row for row in rows))
        return ("\n".join(text) + "\n").encode()


def _labels(group: str, one: PartitionLag) -> str:
    escaped = group.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{{group="{escaped}",topic="{one.topic}",partition="{one.partition}"}}'
