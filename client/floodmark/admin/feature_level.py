"""The cluster's feature level, and the error for what needs a higher one."""

from __future__ import annotations

from typing import Final

import msgspec

from floodmark.errors import FeatureLevelNeeded, NotFound
from floodmark.transport.http import Request, Transport
from floodmark.transport.pacing import Deadline

BATCH_FORMAT_2: Final = 2
"""The level from which on a cluster takes record batches of format 2."""
QUEUES: Final = 6
"""The level from which on there are queues, and records that they deliver later."""


class _Features(msgspec.Struct):
    level: int


async def feature_level(transport: Transport, *, timeout_s: float) -> int:
    """The level as a majority has it: a node that may lag behind asks the others. Raises what the
    transport does."""
    request = Request(method="GET", path="/v1/cluster/features")
    try:
        answer = await transport.call(request, Deadline(timeout_s))
    except NotFound:  # Nodes of builds without feature levels.
        return 1
    return answer.convert(_Features).level


def needs_format_2(what: str, level: int) -> FeatureLevelNeeded:
    """The error for what record batch format 1 cannot hold."""
    return FeatureLevelNeeded(
        f"{what} needs feature level {BATCH_FORMAT_2}; the cluster is at {level}: once every node runs a "
        f"build that knows it, raise it with `floodmark cluster upgrade --finalize {BATCH_FORMAT_2}`",
        level=level,
        needs=BATCH_FORMAT_2,
    )
