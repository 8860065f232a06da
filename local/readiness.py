"""Waits until the nodes of a local cluster serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import aiohttp

from local.access import Access
from local.errors import NotReady
from local.folder import LocalNode

READY_TIMEOUT_S = 120.0
"""Long enough for a cold machine with much data to recover."""
_ASK_AGAIN_S = 0.1


async def wait_ready(
    nodes: Sequence[LocalNode],
    *,
    timeout_s: float = READY_TIMEOUT_S,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Return when every node is ready. Raises ``NotReady`` with what the last node lacked.

    ``look`` is called after every failed attempt; it raises if there is nothing to wait for any more.
    """
    async with Access(nodes[0].ca if nodes else None).session(timeout_s=5) as session:
        try:
            async with asyncio.timeout(timeout_s):
                for node in nodes:
                    await _wait_ready(session, node, look)
        except TimeoutError as error:
            lacking = [f"{node.name}: {await _ask(session, node)}" for node in nodes]
            raise NotReady(
                f"the cluster is not ready after {timeout_s:g} s; " + "; ".join(lacking),
                hint=f"see the nodes' logs in {nodes[0].log.parent}/n*.log",
            ) from error


async def _wait_ready(session: aiohttp.ClientSession, node: LocalNode, look: Callable[[], None]) -> None:
    while await _ask(session, node) is not None:
        look()
        await asyncio.sleep(_ASK_AGAIN_S)


async def _ask(session: aiohttp.ClientSession, node: LocalNode) -> str | None:
    """None if the node is ready, else what it says."""
    try:
        async with session.get(f"{node.url}/readyz") as answer:
            return None if answer.status == 200 else (await answer.text())[:300]
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"no answer ({error or type(error).__name__})"
