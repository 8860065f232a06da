"""What a topic allows, kept for a moment: asking the broker builds the whole picture of a topic."""

from __future__ import annotations

import time
from typing import Final

from node.broker import Broker

_KEPT_S: Final = 1.0
_TOPICS_MAX: Final = 1_000


class LimitsOfTopics:
    """``max_record_bytes`` of topics, at most a second old."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._known: dict[str, tuple[float, int]] = {}

    def record_bytes_max(self, topic: str) -> int:
        """Raises ``UnknownTopic``."""
        now = time.monotonic()
        known = self._known.get(topic)
        if known is not None and now < known[0]:
            return known[1]
        limit = self._broker.topic(topic).config.max_record_bytes
        if len(self._known) >= _TOPICS_MAX:
            self._known.clear()
        self._known[topic] = now + _KEPT_S, limit
        return limit
