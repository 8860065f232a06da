"""Lists of what all shards of the coordinator keep: a page in order of name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from floodmark.errors import UnknownTopic

from node.service.at_coordinator import at_coordinator, coordinator_limits
from node.service.coordinator_request import ShardRequest
from node.service.request_context import RequestContext

if TYPE_CHECKING:
    from node.service.service import Service

L = TypeVar("L")
OfShard = Callable[[int, str, int], ShardRequest[list[L]]]
"""The request for a shard's page: the shard's number, the name that it begins behind, how many at most."""


async def listed(
    at: Service,
    context: RequestContext,
    of_shard: OfShard[L],
    may: Callable[[L], bool],
    *,
    name: Callable[[L], str],
    after: str,
    limit: int,
) -> list[L]:
    """Up to ``limit`` that may be shown, behind ``after``. Empty where there is no coordinator yet.

    Raises ``Unavailable`` where a shard has no leader.
    """
    try:
        shards = (await coordinator_limits(at)).partitions
    except UnknownTopic:
        return []
    found: list[L] = []
    while len(found) < limit:
        asked = [at_coordinator(at, context, of_shard(number, after, limit)) for number in range(shards)]
        pages = [served.result for served in await asyncio.gather(*asked)]
        together = sorted((each for page in pages for each in page), key=name)[:limit]
        if not together:
            break
        after = name(together[-1])
        found += [each for each in together if may(each)]
    return found[:limit]
