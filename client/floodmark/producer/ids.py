"""Asking the cluster for the number of a producer."""

from __future__ import annotations

from typing import Final

import msgspec

from floodmark.errors import NotUsable, OutcomeUnknown, TransportError, Unavailable
from floodmark.transport.http import Request, Transport
from floodmark.transport.pacing import Deadline

WAIT_S: Final = 2.0
"""The metadata's leader gives the numbers. Where there is none for so long, a producer does without."""


class _Given(msgspec.Struct):
    producer_id: int
    producer_epoch: int


async def new_producer_id(transport: Transport, *, timeout_s: float) -> int | None:
    """A number that no producer has had; None when it cannot be had within half of the time, or ``WAIT_S``.

    One that is given and not heard of is never used: it may be asked for again. Raises ``NotUsable``,
    ``FeatureLevelNeeded``.
    """
    wait_s = min(WAIT_S, timeout_s / 2)
    query = {"timeout": f"{max(1, round(wait_s * 1000))}ms"}
    try:
        answer = await transport.call(
            Request(method="POST", path="/v1/producers", query=query), Deadline(wait_s)
        )
    except NotUsable:
        raise
    except (Unavailable, OutcomeUnknown, TransportError):
        return None
    return answer.convert(_Given).producer_id
