"""Asks other nodes: each knows best about itself and about the partitions that it leads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from floodmark.errors import FloodmarkError, UnknownTopic

from node.broker import MoveInfo, NodeHealth, PartitionInfo, TopicInfo
from node.service.inside_answers import Asked, InsideAnswers
from node.service.inside_line import Line
from node.service.inside_requests import InsideRequest, R, register

TIMEOUT_S: Final = 1.0


class HealthThere(InsideRequest[NodeHealth], frozen=True):
    """What a node says of itself."""


class SizesThere(InsideRequest[dict[int, int]], frozen=True):
    """Bytes of the partitions that a node leads, by group id."""


class MovesThere(InsideRequest[list[MoveInfo]], frozen=True):
    """The moves of partitions that a node leads."""


class PartitionsThere(InsideRequest[list[PartitionInfo]], frozen=True):
    """A topic's partitions as a node sees them; empty where it does not know a topic of this id."""

    topic: str
    topic_id: int


class DeletedThere(InsideRequest[None], frozen=True):
    """Answered once the node no longer knows a topic of this id."""

    topic: str
    topic_id: int


register("node_health", HealthThere, NodeHealth)
register("sizes_led", SizesThere, dict[int, int])
register("moves_led", MovesThere, list[MoveInfo])
register("partitions", PartitionsThere, list[PartitionInfo])
register("deleted", DeletedThere, None)


class NodeQuery:
    """``line`` carries the requests. A node that does not answer in time counts as silent."""

    def __init__(self) -> None:
        self.line: Line
        """Set before the node starts."""

    async def health(self, node: str) -> NodeHealth | None:
        """What ``node`` says of itself; None when it does not answer."""
        return await self._ask(node, HealthThere())

    async def sizes(self, node: str) -> Mapping[int, int]:
        """Bytes of the partitions that ``node`` leads, by group id."""
        return await self._ask(node, SizesThere()) or {}

    async def moves(self, node: str) -> Sequence[MoveInfo]:
        """The moves of partitions that ``node`` leads."""
        return await self._ask(node, MovesThere()) or []

    async def partitions(self, node: str, topic: str, topic_id: int) -> list[PartitionInfo]:
        """The partitions as ``node`` sees them; empty when it does not answer, or knows another topic."""
        return await self._ask(node, PartitionsThere(topic, topic_id)) or []

    async def leader(self, node: str, topic: str, topic_id: int, partition: int) -> str | None:
        """The leader of one partition as ``node`` sees it."""
        found = await self.partitions(node, topic, topic_id)
        return found[partition].leader if partition < len(found) else None

    async def wait_deleted(self, node: str, topic: str, topic_id: int) -> None:
        """Wait until ``node`` no longer knows a topic of this id, or does not answer."""
        await self._ask(node, DeletedThere(topic, topic_id))

    async def _ask(self, node: str, request: InsideRequest[R]) -> R | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self.line.ask(node, request, timeout_s=TIMEOUT_S)
        except (FloodmarkError, TimeoutError):
            return None


class NodeAnswers:
    """This node's answers to these requests, from what it knows; it asks no other node."""

    def __init__(
        self,
        *,
        health: Callable[[], NodeHealth],
        sizes: Callable[[], dict[int, int]],
        moves: Callable[[], Awaitable[list[MoveInfo]]],
        topic: Callable[[str], TopicInfo],
        when_deleted: Callable[[str, int, Callable[[], None]], Callable[[], None]],
    ) -> None:
        self._health = health
        self._sizes = sizes
        self._moves = moves
        self._topic = topic
        self._when_deleted = when_deleted

    def register(self, answers: InsideAnswers) -> None:
        """Register the handlers of all of them."""
        answers.on(HealthThere, self._say_health)
        answers.on(SizesThere, self._say_sizes)
        answers.on(MovesThere, self._say_moves)
        answers.on(PartitionsThere, self._say_partitions)
        answers.on(DeletedThere, self._say_deleted)

    async def _say_health(self, _request: HealthThere, _asked: Asked) -> NodeHealth:
        return self._health()

    async def _say_sizes(self, _request: SizesThere, _asked: Asked) -> dict[int, int]:
        return self._sizes()

    async def _say_moves(self, _request: MovesThere, _asked: Asked) -> list[MoveInfo]:
        return await self._moves()

    async def _say_partitions(self, request: PartitionsThere, _asked: Asked) -> list[PartitionInfo]:
        try:
            topic = self._topic(request.topic)
        except UnknownTopic:
            return []
        return list(topic.partitions) if topic.topic_id == request.topic_id else []

    async def _say_deleted(self, request: DeletedThere, _asked: Asked) -> None:
        try:
            if self._topic(request.topic).topic_id != request.topic_id:
                return
        except UnknownTopic:
            return
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        undo = self._when_deleted(
            request.topic, request.topic_id, lambda: None if gone.done() else gone.set_result(None)
        )
        try:
            await gone
        finally:
            undo()


def merged(topic: TopicInfo, seen: dict[str, list[PartitionInfo]]) -> TopicInfo:
    """``topic`` with each partition as its leader described it, or else as a node that knows a leader did."""
    partitions = list(topic.partitions)
    for node, infos in seen.items():
        for number, info in enumerate(infos[: len(partitions)]):
            if info.leader == node or (partitions[number].leader is None and info.leader is not None):
                partitions[number] = info
    return replace(topic, partitions=partitions)
