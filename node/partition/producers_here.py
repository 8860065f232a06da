"""The producers that all partitions led by this node remember: how many, and room for more.

Replicas of partitions led elsewhere remember producers too. Those count at their leaders, since only a leader
can forget a producer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from consensus.types import GroupStopped, NotLeader
from node.partition.appender import Appender


class ProducersLed:
    """Implements ``newcomers.ProducersHere``. ``led``: the appenders of the partitions led by this node."""

    def __init__(self, led: Callable[[], Iterable[Appender]]) -> None:
        self._led = led

    @property
    def count(self) -> int:
        """How many."""
        return sum(appender.producers for appender in self._led())

    def forget(self, count: int, now_ms: int) -> int:
        """Begin to forget up to ``count`` that are silent at ``now_ms``; returns how many."""
        going = 0
        for appender in self._led():
            if going >= count:
                break
            try:
                going += appender.forget_silent(count - going, now_ms)
            except (NotLeader, GroupStopped):
                continue
        return going
