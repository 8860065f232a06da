"""Asking the cluster for the number of a producer."""

from __future__ import annotations

import msgspec

from floodmark.pacing import Deadline
from floodmark.transport import Request, Transport


class _Given(msgspec.Struct):
    producer_id: int
    producer_epoch: int


async def new_producer_id(transport: Transport, *, timeout_s: float) -> int:
    """A number that no producer has had. One that is given and not heard of is never used: it may be asked
    for again. Raises what the transport does; ``FeatureLevelNeeded``."""
    request = Request(method="POST", path="/v1/producers")
    answer = await transport.call(request, Deadline(timeout_s))
    return answer.convert(_Given).producer_id
