"""When queues may deliver what is produced: after a delay, or at a time."""

from __future__ import annotations

import datetime as dt
import math
from typing import Final, NamedTuple

from floodmark.admin.feature_level import QUEUES
from floodmark.errors import FeatureLevelNeeded, InvalidRequest
from floodmark.format.delivery import DELIVER_AT_MAX
from floodmark.format.values import Timestamp, timestamp_of

Delay = float | dt.timedelta | None
"""Seconds, or a ``timedelta``. It counts from when the records leave, by the clock of the node that gets
them."""
_MILLISECONDS: Final = dt.timedelta(milliseconds=1)


class Later(NamedTuple):
    """As a parameter of a request, for all records of its batch."""

    name: str
    value: str


def later_of(delay: Delay, deliver_at: Timestamp) -> Later | None:
    """None where neither is said. Raises ``InvalidRequest`` for what no node takes."""
    if deliver_at is not None:
        if delay is not None:
            raise InvalidRequest("give delay or deliver_at, not both")
        at_ms = timestamp_of(deliver_at)
        if not 0 <= at_ms <= DELIVER_AT_MAX:
            raise InvalidRequest("deliver_at is between the years 1970 and 9999")
        return Later("deliver_at", str(at_ms))
    if delay is None:
        return None
    delay_ms = delay / _MILLISECONDS if isinstance(delay, dt.timedelta) else delay * 1000
    if not 0 <= delay_ms <= DELIVER_AT_MAX:  # Also not for what is no number.
        raise InvalidRequest(f"a delay is 0 seconds or more, and ends before the year 10000, not {delay}")
    return Later("delay", f"{math.ceil(delay_ms)}ms")


def needs_queues(level: int) -> FeatureLevelNeeded:
    """The error of a cluster that knows no delays yet."""
    return FeatureLevelNeeded(
        f"a delay needs feature level {QUEUES}; the cluster is at {level}: once every node runs a build that "
        f"knows it, raise it with `floodmark cluster upgrade --finalize {QUEUES}`",
        level=level,
        needs=QUEUES,
    )
