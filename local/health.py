"""Whether a cluster is healthy, according to all of its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp

from local.access import ANYBODY, Access
from local.errors import NotHealthy

PATH: Final = "/v1/cluster/health"
_ANSWER_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.2


async def unhealthy(urls: Mapping[str, str], access: Access = ANYBODY) -> list[str]:
    """Why the cluster is not healthy; empty if every node answers and reports no problem.

    Healthy means: all nodes are ready and reach each other, and every partition has a leader and all replicas
    in sync.
    """
    async with access.session(timeout_s=_ANSWER_S) as session:
        said = await asyncio.gather(*(_ask(session, node, url) for node, url in urls.items()))
    return list(dict.fromkeys(reason for reasons in said for reason in reasons))


async def wait_healthy(
    urls: Mapping[str, str],
    *,
    timeout_s: float,
    tell: Callable[[list[str]], None] = lambda _reasons: None,
    access: Access = ANYBODY,
) -> None:
    """Wait until the cluster is healthy; ``tell`` gets what it still lacks. Raises ``NotHealthy``."""
    reasons: list[str] = []
    try:
        async with asyncio.timeout(timeout_s):
            while reasons := await unhealthy(urls, access):
                tell(reasons)
                await asyncio.sleep(_LOOK_AGAIN_S)
    except TimeoutError:
        lacking = "; ".join(reasons) or "not all nodes answered"
        raise NotHealthy(f"the cluster is not healthy after {timeout_s:g} s: {lacking}") from None


async def _ask(session: aiohttp.ClientSession, node: str, url: str) -> list[str]:
    try:
        async with session.get(url + PATH) as answer:
            document: Any = await answer.json(content_type=None)
            if answer.status != 200:
                return [f"node {node} answers {answer.status}"]
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return [f"node {node} does not answer"]
    return [] if document["healthy"] else list(document["reasons"])
