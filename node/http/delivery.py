"""``delay`` and ``deliver_at`` of a produce: when queues may deliver the records of its body."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from floodmark.errors import InvalidRequest

from node.http.query import duration_s
from node.service import timestamps

DELIVERY_QUERY: Final = frozenset({"delay", "deliver_at"})


def deliver_at_of(query: Mapping[str, str], now_ms: int) -> int | None:
    """Milliseconds since the Unix epoch; None where nothing is said. Raises ``InvalidRequest``.

    A delay counts from ``now_ms``, the clock of the node where the request came.
    """
    delay, moment = query.get("delay"), query.get("deliver_at")
    if delay is None:
        return None if moment is None else timestamps.of_query(moment)
    if moment is not None:
        raise InvalidRequest("give delay or deliver_at, not both")
    return now_ms + round(duration_s(delay, "delay", cap=math.inf) * 1000)
