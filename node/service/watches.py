"""Waiting until any of many partitions has something new, wherever they are led. Nothing is read meanwhile.

Partitions of one topic that another node leads are waited for with one request to it, shared by all that wait
for the same offsets: most readers of a topic have read all of it. So a node sends each other node one request
per topic, however many partitions the topic has and however many readers wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from floodmark.errors import FloodmarkError, TooManyRequests, Unavailable

from node.broker import Partition
from node.service import cursor

if TYPE_CHECKING:
    from node.service.service import Service

_RETRY_S: Final = 1.0
"""When to retry partitions without a leader, and nodes that do not answer."""
_AGAIN_S: Final = 0.05
"""After this pause another node may lead."""
_TASKS_MAX: Final = 64
_POLL_S: Final = 0.25
"""How often partitions led here are polled, where there are more than ``_TASKS_MAX``."""
_PARTITIONS_PER_REQUEST: Final = 500
"""More offsets might not fit into the head of a request."""
_ASK_S: Final = 20.0
_AT_ONCE: Final = 16
_ENDLESS_S: Final = 1e6
_News = Collection[int] | None
"""Numbers of partitions that have new records; None where that cannot be told at the moment."""


class _Asked(NamedTuple):
    """The key of a shared request to another node."""

    leader: str
    topic: str
    topic_id: int
    cursor: str


class Watches:
    """One per application."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._asking: dict[_Asked, asyncio.Task[_News]] = {}
        self._users: dict[_Asked, int] = {}

    @property
    def asking(self) -> int:
        """How many requests wait at other nodes."""
        return len(self._asking)

    async def wait(
        self, partitions: Sequence[Partition], offsets: Sequence[int], *, wait_s: float
    ) -> Collection[int]:
        """Wait until a record is committed at the offset of one of them; returns the numbers of those with
        one.

        Empty when the time is up first; all of them when there is another reason to look again. An offset
        below 0 is not resolved yet. Raises ``TopicDeleted``.
        """
        deadline = time.monotonic() + wait_s
        every = [partition.number for partition in partitions]
        here, there, all_known = await self._placed(partitions, offsets)
        asked = [key for leader, placed in there.items() for key in _requests(leader, partitions, placed)]
        own = asyncio.create_task(_wait_here(here)) if here else None
        pending = {self._join(key) for key in asked} | ({own} if own is not None else set())
        try:
            while pending:
                left = deadline - time.monotonic()
                done, pending = await asyncio.wait(
                    pending,
                    timeout=left if all_known else min(left, _RETRY_S),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                news = [task.result() for task in done]
                if found := {number for numbers in news if numbers for number in numbers}:
                    return found
                if not done:
                    return every if time.monotonic() < deadline else ()
                all_known = False
            await asyncio.sleep(max(0.0, min(_RETRY_S, deadline - time.monotonic())))
            return every if time.monotonic() < deadline else ()
        finally:
            if own is not None:
                own.cancel()
                await asyncio.gather(own, return_exceptions=True)
            for key in asked:
                self._leave(key)

    async def wait_one(self, partition: Partition, offset: int, *, wait_s: float) -> bool:
        """Wait until a record is committed at ``offset``, or there is another reason to look again.

        False when the time is up. Raises as ``Partition.wait_records``, and ``TopicDeleted``.
        """
        partition = self._service.topics.current(partition)
        if not partition.leads_here:
            return bool(await self.wait([partition], [offset], wait_s=wait_s))
        try:
            return await partition.wait_records(offset, wait_s=wait_s)
        except Unavailable:
            await asyncio.sleep(_AGAIN_S)
            return True

    async def _placed(
        self, partitions: Sequence[Partition], offsets: Sequence[int]
    ) -> tuple[list[tuple[Partition, int]], dict[str, dict[int, int]], bool]:
        """Those led here, those led elsewhere by leader (index -> offset), and whether these are all."""
        here: list[tuple[Partition, int]] = []
        there: dict[str, dict[int, int]] = {}
        unknown: list[int] = []
        current = [self._service.topics.current(partition) for partition in partitions]
        for index, (partition, offset) in enumerate(zip(current, offsets, strict=True)):
            if partition.leads_here:
                here.append((partition, offset))
            elif offset >= 0:
                unknown.append(index)
        lost = len(here) + len(unknown) < len(partitions)
        for begin in range(0, len(unknown), _AT_ONCE):
            group = unknown[begin : begin + _AT_ONCE]
            leaders = await asyncio.gather(*(_leader(current[index]) for index in group))
            for index, leader in zip(group, leaders, strict=True):
                if leader is None or leader == self._service.broker.node_id:
                    lost = True
                else:
                    there.setdefault(leader, {})[index] = offsets[index]
        return here, there, not lost

    def _join(self, key: _Asked) -> asyncio.Task[_News]:
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key))
            self._asking[key] = task
            self._users[key] = 0
            task.add_done_callback(lambda task: self._ended(key, task))
        self._users[key] += 1
        return task

    def _leave(self, key: _Asked) -> None:
        if key in self._users:
            self._users[key] -= 1
            if not self._users[key]:
                self._asking[key].cancel()
                self._forget(key)

    def _ended(self, key: _Asked, task: asyncio.Task[_News]) -> None:
        if self._asking.get(key) is task:
            self._forget(key)

    def _forget(self, key: _Asked) -> None:
        del self._asking[key], self._users[key]

    async def _ask(self, key: _Asked) -> _News:
        """Ask a node until it has new records; None when it cannot tell."""
        inside = self._service.inside
        try:
            while True:
                news = await inside.wait(key.leader, key.topic, key.topic_id, key.cursor, wait_s=_ASK_S)
                if news:
                    return news
        except (Unavailable, TooManyRequests):
            return None


def _requests(leader: str, partitions: Sequence[Partition], placed: dict[int, int]) -> list[_Asked]:
    """The requests to a node: cursors with the offsets of the partitions that it leads, and of no others."""
    first = partitions[0]
    indexes = sorted(placed)
    found = []
    for begin in range(0, len(indexes), _PARTITIONS_PER_REQUEST):
        asked = indexes[begin : begin + _PARTITIONS_PER_REQUEST]
        # Offsets are told by the partitions' numbers, whichever of them this reader is interested in.
        offsets = [cursor.EARLIEST] * (max(partitions[index].number for index in asked) + 1)
        for index in asked:
            offsets[partitions[index].number] = placed[index]
        found.append(_Asked(leader, first.topic, first.topic_id, cursor.encode(first.topic_id, offsets)))
    return found


async def _leader(partition: Partition) -> str | None:
    try:
        return await partition.wait_leader(deadline_s=_RETRY_S)
    except Unavailable:
        return None


async def _wait_here(placed: Sequence[tuple[Partition, int]]) -> _News:
    """Wait for new records in partitions led here; None where one is no longer led here."""
    if len(placed) > _TASKS_MAX:
        while all(partition.leads_here for partition, _ in placed):
            if found := _ready(placed):
                return found
            await asyncio.sleep(_POLL_S)
        return None
    tasks = [asyncio.create_task(_wait_one(partition, max(0, offset))) for partition, offset in placed]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        told = {task.result() for task in done} - {None}
        return [number for number in {*told, *_ready(placed)} if number is not None] or None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _ready(placed: Sequence[tuple[Partition, int]]) -> list[int]:
    return [
        partition.number
        for partition, offset in placed
        if partition.leads_here and partition.bounds().high_watermark > offset
    ]


async def _wait_one(partition: Partition, offset: int) -> int | None:
    """The partition's number once it has a new record; None where this node no longer leads it."""
    try:
        await partition.wait_records(offset, wait_s=_ENDLESS_S)
    except Unavailable:
        return None
    except FloodmarkError:
        pass  # The reader gets the error.
    return partition.number
