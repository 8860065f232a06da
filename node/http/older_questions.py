"""Asks nodes of older builds about themselves, over their public HTTP: see ``older_nodes.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from floodmark.errors import Unavailable

from node.broker import MoveInfo, NodeHealth, PartitionInfo
from node.http.forwarded import FORWARDED
from node.http.node_address import base_url
from node.node_query import DeletedThere, HealthThere, MovesThere, PartitionsThere, SizesThere
from node.service.answer_budget import Hold

if TYPE_CHECKING:
    from node.http.context import HttpContext

_PAUSE_S: Final = 0.01
"""Pause before a node is asked again whether it has applied a change."""
T = TypeVar("T")


class _Sizes(msgspec.Struct):
    sizes: dict[int, int]


class _Moves(msgspec.Struct):
    reassignments: list[MoveInfo]


class _Topic(msgspec.Struct):
    topic_id: int
    partitions: list[PartitionInfo] = []


class OlderQuestions:
    """``ways``: how each question is asked."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self.ways: dict[type, Callable[[str, Any, float, Hold | None], Awaitable[Any]]] = {
            HealthThere: self._health,
            SizesThere: self._sizes,
            MovesThere: self._moves,
            PartitionsThere: self._partitions,
            DeletedThere: self._deleted,
        }

    async def _get(self, node: str, path: str, found: type[T], timeout_s: float) -> T | None:
        """What ``node`` answers from what it knows by itself; None where it knows nothing of it."""
        context = self._context
        url = base_url(context.broker, node) + path
        try:
            async with (
                asyncio.timeout(timeout_s),
                context.session.get(
                    url, headers={FORWARDED: context.node_mark}, allow_redirects=False
                ) as answer,
            ):
                if answer.status == 404:
                    return None
                answer.raise_for_status()
                return msgspec.json.decode(await answer.read(), type=found, strict=False)
        except (aiohttp.ClientError, TimeoutError, ConnectionError, msgspec.MsgspecError) as error:
            raise Unavailable(f"node {node} did not answer", leader=node) from error

    async def _health(
        self, node: str, _request: HealthThere, timeout_s: float, _hold: Hold | None
    ) -> NodeHealth:
        found = await self._get(node, "/v1/cluster/health", NodeHealth, timeout_s)
        if found is None:
            raise Unavailable(f"node {node} does not tell")
        return found

    async def _sizes(
        self, node: str, _request: SizesThere, timeout_s: float, _hold: Hold | None
    ) -> dict[int, int]:
        found = await self._get(node, "/v1/cluster/rebalance", _Sizes, timeout_s)
        return {} if found is None else found.sizes

    async def _moves(
        self, node: str, _request: MovesThere, timeout_s: float, _hold: Hold | None
    ) -> list[MoveInfo]:
        found = await self._get(node, "/v1/reassignments", _Moves, timeout_s)
        return [] if found is None else found.reassignments

    async def _partitions(
        self, node: str, request: PartitionsThere, timeout_s: float, _hold: Hold | None
    ) -> list[PartitionInfo]:
        found = await self._get(node, f"/v1/topics/{quote(request.topic)}", _Topic, timeout_s)
        return found.partitions if found is not None and found.topic_id == request.topic_id else []

    async def _deleted(self, node: str, request: DeletedThere, timeout_s: float, _hold: Hold | None) -> None:
        while True:  # What is waited for happens on another node.
            found = await self._get(node, f"/v1/topics/{quote(request.topic)}", _Topic, timeout_s)
            if found is None or found.topic_id != request.topic_id:
                return
            await asyncio.sleep(_PAUSE_S)
