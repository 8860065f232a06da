"""What a queue may be: bounds of its settings, and of what steps do at once."""

from __future__ import annotations

from typing import Final

from floodmark.errors import InvalidRequest

from node.coordinator.queues.requests import ORDERINGS, STARTS, QueueConfig

REASON_CHARACTERS_MAX: Final = 1_000
"""Of why a delivery failed; what is longer is cut."""
DEAD_MAX: Final = 100_000
"""Dead letters of one queue that are listed. Of those above the oldest ones are not listed any more; they
stay in their topic."""
PAIRS_PER_STEP: Final = 1_000
"""About as many are written at once where something large is removed."""

VISIBILITY_MS: Final = (1, 12 * 3_600_000)
DELIVERIES: Final = (1, 10_000)
BACKOFF_STEPS: Final = (0, 32)
DELAY_MS: Final = (0, 31 * 24 * 3_600_000)
IN_FLIGHT: Final = (1, 100_000)
WINDOW: Final = (1, 100_000)
"""The state has some 30 bytes for each record, and the leader's memory some 200."""
SHARE: Final = (0, 100)
WINDOW_MS: Final = (1_000, 3_600_000)
PAUSE_MS: Final = (100, 24 * 3_600_000)


def check(config: QueueConfig) -> None:
    """Raises ``InvalidRequest`` for settings that cannot be."""
    breaker = config.breaker
    for name, value, (least, most) in (
        ("visibility_timeout, in milliseconds,", config.visibility_timeout_ms, VISIBILITY_MS),
        ("max_deliveries", config.max_deliveries, DELIVERIES),
        ("the number of delays of backoff", len(config.backoff_ms), BACKOFF_STEPS),
        *(("a delay of backoff, in milliseconds,", delay, DELAY_MS) for delay in config.backoff_ms),
        ("max_in_flight", config.max_in_flight, IN_FLIGHT),
        ("max_in_flight_per_worker", config.max_in_flight_per_worker, IN_FLIGHT),
        ("window", config.window, WINDOW),
        ("the breaker's share of failures, in percent,", breaker.failures, SHARE),
        ("the breaker's number of deliveries", breaker.deliveries, IN_FLIGHT),
        ("the breaker's window, in milliseconds,", breaker.window_ms, WINDOW_MS),
        ("the breaker's pause, in milliseconds,", breaker.pause_ms, PAUSE_MS),
    ):
        if not least <= value <= most:
            raise InvalidRequest(f"{name} is {least} to {most}, not {value}")
    for what, word, known in (("ordering", config.ordering, ORDERINGS), ("start", config.start, STARTS)):
        if word not in known:
            raise InvalidRequest(f"{what} is one of {', '.join(known)}, not {word}")
    if config.dead_letter_topic_id == config.topic_id:
        raise InvalidRequest(f"the dead letters of topic {config.topic} cannot go to that topic itself")
