"""The audit of one node: what it tells of, and how a flood of it stays small.

Events go to the log channel ``floodmark.audit``, and into a queue for the internal topic
(``audit_topic.py``). The queue is bounded and nobody waits for it: what does not fit is dropped and counted.
Refusals are counted instead of told of one by one where one principal from one address causes many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec
import structlog
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from node.service.auditing import AuditEvent

QUEUE_MAX: Final = 10_000
"""Events that wait for the topic; each has some hundred bytes, none more than some thousand."""
WINDOW_S: Final = 60.0
REFUSALS_EACH: Final = 20
"""So many refusals of one principal from one address are told of in a window; the others are counted."""
SOURCES_MAX: Final = 1_000
"""Principals and addresses that are told apart in a window; all others are counted together."""
_OTHERS: Final = ("", "")


class Kept(NamedTuple):
    """An event and when it was, in milliseconds since 1970."""

    event: AuditEvent
    at_ms: int


class _Refusals:
    """Of one principal and address within one window."""

    __slots__ = ("last", "more", "told")

    def __init__(self) -> None:
        self.told = 0
        self.more = 0
        self.last: AuditEvent | None = None


class AuditLog(Collector):
    """Implements ``node.service.auditing.Audit``."""

    def __init__(
        self,
        *,
        wall_ms: Callable[[], int],
        now_s: Callable[[], float],
        log: bool = True,
        topic: bool = True,
        reads: bool = False,
    ) -> None:
        self.reads = reads
        self.queue: deque[Kept] = deque()
        self.more = asyncio.Event()
        """Set when something is queued, or is to be told of at the end of a window."""
        self.stored = self.dropped = self.counted = 0
        self._wall_ms = wall_ms
        self._now_s = now_s
        self._logs = log
        self._queues = topic
        self._log = structlog.get_logger("floodmark.audit")
        self._window_ends = 0.0
        self._refusals: dict[tuple[str, str], _Refusals] = {}

    def tell(self, event: AuditEvent) -> None:
        """See ``Audit``."""
        if event.allowed or self._is_told(event):
            self._keep(event)

    def close_window(self) -> None:
        """Tell of what was only counted in a window that is over."""
        if self._now_s() < self._window_ends:
            return
        refusals, self._refusals = self._refusals, {}
        for (principal, address), found in refusals.items():
            if found.last is not None:
                of_all = msgspec.structs.replace(found.last, repeated=found.more)
                if (principal, address) == _OTHERS:
                    of_all = msgspec.structs.replace(of_all, principal="(several)", address="", credential="")
                self._keep(of_all)

    def drop(self, count: int) -> None:
        """So many are lost to the topic."""
        self.dropped += count

    def collect(self) -> Iterable[Metric]:
        """For Prometheus."""
        family = CounterMetricFamily(
            "floodmark_audit_events",
            "Audit events: stored in the topic, dropped, or only counted since there were too many alike.",
            labels=("fate",),
        )
        for fate in ("stored", "dropped", "counted"):
            family.add_metric((fate,), getattr(self, fate))
        return [family]

    def _is_told(self, event: AuditEvent) -> bool:
        now = self._now_s()
        if now >= self._window_ends:
            self.close_window()
            self._window_ends = now + WINDOW_S
        source = (event.principal, event.address)
        if source not in self._refusals and len(self._refusals) >= SOURCES_MAX:
            source = _OTHERS
        found = self._refusals.setdefault(source, _Refusals())
        if found.told < REFUSALS_EACH:
            found.told += 1
            return True
        found.more += 1
        found.last = event
        self.counted += 1
        self.more.set()
        return False

    def _keep(self, event: AuditEvent) -> None:
        if self._logs:
            self._log.info("audit", **msgspec.to_builtins(event))
        if not self._queues:
            return
        if len(self.queue) >= QUEUE_MAX:
            if not self.dropped:
                self._log.error("audit_events_dropped", waiting=len(self.queue))
            self.dropped += 1
            return
        self.queue.append(Kept(event, self._wall_ms()))
        self.more.set()
