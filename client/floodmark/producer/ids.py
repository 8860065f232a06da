"""The request to the cluster for a producer id."""

from __future__ import annotations

from typing import Final

import msgspec

from floodmark.errors import NotUsable, OutcomeUnknown, TransportError, Unavailable
from floodmark.transport.http import Request, Transport
from floodmark.transport.pacing import Deadline

WAIT_S: Final = 2.0
"""The metadata's leader assigns the numbers. If there is no leader for this long, a producer does without."""


class _Given(msgspec.Struct):
    producer_id: int
    producer_epoch: int


async def new_producer_id(transport: Transport, *, timeout_s: float) -> int | None:
    """A new producer id; None if there is no answer within half of the time, or ``WAIT_S``.

    A number whose answer is lost is never used, so the request can be repeated. Raises ``NotUsable``,
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
