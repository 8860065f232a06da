"""Finds the metadata's leader, and retries until it has done what only it can do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from floodmark.errors import (
    LeaderNotAvailable,
    NotLeaderOrFollower,
    ReplicaNotAvailable,
    StorageUnavailable,
    Unavailable,
)

from node.service import refused_by
from node.service.request_context import RequestContext
from node.service.requests import Request, Served

if TYPE_CHECKING:
    from node.service.service import Service

RETRY_S: Final = 0.05
"""Pause between two looks for a leader: no event tells that there is one."""
R = TypeVar("R")


async def at_metadata_leader(service: Service, context: RequestContext, request: Request[R]) -> Served[R]:
    """Have the metadata's leader execute ``request``, here or elsewhere, before the deadline.

    ``Unavailable`` says that nothing was changed, so the next leader is asked. Raises whatever else the
    leader raises, and ``OutcomeUnknown`` where something may have been changed.
    """
    broker = service.broker
    refused: Unavailable | None = None
    first = True
    # However little time is left: where this node leads, try once.
    while (left := context.left_s()) > 0 or first:
        first = False
        if broker.metadata.leads_here:
            try:
                with refused_by.metadata_leader(broker.node_id):
                    done = await request.execute(service, context)
                return Served(done, broker.node_id, by_leader=True)
            except Unavailable as error:
                if broker.metadata.leads_here and not isinstance(error, NotLeaderOrFollower):
                    raise
                refused = error
        else:
            leader = await broker.metadata.wait_leader(timeout_s=left)
            if leader != broker.node_id:  # else: elected this moment, and not ready yet
                try:
                    with refused_by.metadata_leader(leader):
                        done = await service.inside.ask(leader, request, timeout_s=left)
                    return Served(done, leader, by_leader=True)
                except (StorageUnavailable, ReplicaNotAvailable):
                    raise
                except Unavailable as error:
                    broker.metadata.doubt_leader(leader)
                    refused = error
        await asyncio.sleep(RETRY_S)
    raise LeaderNotAvailable("no leader of the metadata answered in time") from refused
