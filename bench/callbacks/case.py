"""One request, or a few, whose costliest callback is looked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import aiohttp


class Nodes(NamedTuple):
    """Whom to ask: base URLs of the leader of partition 0 of ``topic``, and of a node that follows."""

    session: aiohttp.ClientSession
    topic: str
    leader: str
    follower: str

    @property
    def partition_path(self) -> str:
        """Where the records of partition 0 are."""
        return f"/v1/topics/{self.topic}/partitions/0/records"

    @property
    def topic_path(self) -> str:
        """Where the records of the whole topic are."""
        return f"/v1/topics/{self.topic}/records"


class Case(NamedTuple):
    """``run`` sends the request, and returns a short description of the answer."""

    name: str
    run: Callable[[Nodes], Awaitable[str]]


async def ask(
    nodes: Nodes,
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """Send one request and read its whole answer: status and number of bytes, or how it failed."""
    try:
        async with nodes.session.request(method, url, data=body, headers=headers) as answer:
            size = len(await answer.read())
            return f"{answer.status}, {size:,} bytes"
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__
