"""A queue's settings as users give and see them: topics by name, and what is left out stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from floodmark.errors import InvalidRequest
from floodmark.format.names import check_name

from node.broker.queues import Breaker, QueueConfig
from node.coordinator.queues import limits, requests

RANGES: Final[dict[str, tuple[int, int]]] = {
    "visibility_timeout_ms": limits.VISIBILITY_MS,
    "max_deliveries": limits.DELIVERIES,
    "max_in_flight": limits.IN_FLIGHT,
    "max_in_flight_per_worker": limits.IN_FLIGHT,
    "window": limits.WINDOW,
}
"""The lowest and the highest value of each number."""
BACKOFF_RANGE: Final = limits.DELAY_MS
BACKOFF_STEPS: Final = limits.BACKOFF_STEPS
BREAKER_RANGES: Final[dict[str, tuple[int, int]]] = {
    "failures": limits.SHARE,
    "deliveries": limits.IN_FLIGHT,
    "window_ms": limits.WINDOW_MS,
    "pause_ms": limits.PAUSE_MS,
}
ORDERINGS: Final = requests.ORDERINGS
STARTS: Final = requests.STARTS
DEAD_SUFFIX: Final = ".dead"
"""Behind a queue's name: the topic of its dead letters, where none is named."""
_GIVEN: Final = (*RANGES, "ordering", "start")
_Number = int | msgspec.UnsetType
_UNSET: Final = msgspec.UNSET


class BreakerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See ``Breaker``."""

    failures: int = Breaker().failures
    deliveries: int = Breaker().deliveries
    window_ms: int = Breaker().window_ms
    pause_ms: int = Breaker().pause_ms


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As they are given. ``dead_letter_topic`` null: none, and what is dead is dropped."""

    topic: str
    visibility_timeout_ms: _Number = _UNSET
    max_deliveries: _Number = _UNSET
    backoff_ms: list[int] | msgspec.UnsetType = _UNSET
    ordering: str | msgspec.UnsetType = _UNSET
    max_in_flight: _Number = _UNSET
    max_in_flight_per_worker: _Number = _UNSET
    dead_letter_topic: str | msgspec.UnsetType | None = _UNSET
    start: str | msgspec.UnsetType = _UNSET
    window: _Number = _UNSET
    breaker: BreakerSettings | msgspec.UnsetType = _UNSET

    def check(self) -> None:
        """Raises ``InvalidName``, ``InvalidRequest``."""
        check_name(self.topic)
        _check_ranges(self, RANGES)
        if self.backoff_ms is not _UNSET:
            _check_backoff(self.backoff_ms)
        _check_choice("ordering", self.ordering, ORDERINGS)
        _check_choice("start", self.start, STARTS)
        if isinstance(self.dead_letter_topic, str):
            check_name(self.dead_letter_topic)
            if self.dead_letter_topic == self.topic:
                raise InvalidRequest("dead letters go to another topic than the queue's own")
        if self.breaker is not _UNSET:
            _check_ranges(self.breaker, BREAKER_RANGES)

    def config(self, before: QueueConfig | None, *, topic_id: int, dead: tuple[str, int]) -> QueueConfig:
        """The whole. ``before``: of a queue that is there. ``dead``: the dead letters' topic, and its id."""
        given: dict[str, Any] = {
            name: value for name in _GIVEN if (value := getattr(self, name)) is not _UNSET
        }
        if self.backoff_ms is not _UNSET:
            given["backoff_ms"] = tuple(self.backoff_ms)
        if self.breaker is not _UNSET:
            given["breaker"] = Breaker(**msgspec.structs.asdict(self.breaker))
        kept = {} if before is None else {name: getattr(before, name) for name in before.__slots__}
        topics = {
            "topic": self.topic,
            "topic_id": topic_id,
            "dead_letter_topic": dead[0],
            "dead_letter_topic_id": dead[1],
        }
        return QueueConfig(**{**kept, **given, **topics})


class ShownSettings(msgspec.Struct, frozen=True, kw_only=True):
    """As they are in force: what ``QueueSettings`` takes."""

    topic: str
    visibility_timeout_ms: int
    max_deliveries: int
    backoff_ms: list[int]
    ordering: str
    max_in_flight: int
    max_in_flight_per_worker: int
    dead_letter_topic: str | None
    start: str
    window: int
    breaker: BreakerSettings


def shown(config: QueueConfig) -> ShownSettings:
    """As users see them."""
    breaker = config.breaker
    return ShownSettings(
        topic=config.topic,
        visibility_timeout_ms=config.visibility_timeout_ms,
        max_deliveries=config.max_deliveries,
        backoff_ms=list(config.backoff_ms),
        ordering=config.ordering,
        max_in_flight=config.max_in_flight,
        max_in_flight_per_worker=config.max_in_flight_per_worker,
        dead_letter_topic=config.dead_letter_topic or None,
        start=config.start,
        window=config.window,
        breaker=BreakerSettings(breaker.failures, breaker.deliveries, breaker.window_ms, breaker.pause_ms),
    )


def _check_ranges(given: msgspec.Struct, ranges: Mapping[str, tuple[int, int]]) -> None:
    for name, (lowest, highest) in ranges.items():
        value = getattr(given, name)
        if value is not _UNSET and not lowest <= value <= highest:
            raise InvalidRequest(f"{name} is {lowest} to {highest}, not {value}")


def _check_choice(name: str, value: str | msgspec.UnsetType, known: Sequence[str]) -> None:
    if value is not _UNSET and value not in known:
        raise InvalidRequest(f"{name} is one of {', '.join(known)}, not {value[:100]!r}")


def _check_backoff(backoff_ms: list[int]) -> None:
    lowest, highest = BACKOFF_RANGE
    least, most = BACKOFF_STEPS
    if not least <= len(backoff_ms) <= most:
        raise InvalidRequest(f"backoff_ms has {least} to {most} delays, not {len(backoff_ms)}")
    for value in backoff_ms:
        if not lowest <= value <= highest:
            raise InvalidRequest(f"a delay in backoff_ms is {lowest} to {highest}, not {value}")
