"""Look after groups: list, describe and delete them, their offsets, and how far they are behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from floodmark.format import json_text
from floodmark.groups.paths import group_path
from floodmark.groups.shapes import (
    CommittedOffset,
    Group,
    GroupLag,
    GroupListing,
    Reset,
    TopicPartition,
)
from floodmark.transport.http import Answer, Request, Transport
from floodmark.transport.pacing import Deadline

T = TypeVar("T")
_PAGE = 1000


class Groups:
    """``client.groups``. Each call takes ``timeout_s``, by default the client's own."""

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        self._transport = transport
        self._timeout_s = timeout_s

    async def list(self, prefix: str = "", *, timeout_s: float | None = None) -> AsyncIterator[GroupListing]:
        """Groups whose names begin with ``prefix``, in order of name, fetched page by page."""
        after = ""
        while True:
            query: dict[str, str | int] = {"prefix": prefix, "after": after, "limit": _PAGE}
            page = (await self._call("GET", "/v1/groups", timeout_s=timeout_s, **query)).convert(_Page)
            for group in page.groups:
                yield group
            if len(page.groups) < _PAGE:
                return
            after = page.groups[-1].group

    async def describe(self, group: str, *, timeout_s: float | None = None) -> Group:
        """A group with its members. Raises ``UnknownGroup``."""
        return (await self._call("GET", group_path(group), timeout_s=timeout_s)).convert(Group)

    async def delete(self, group: str, *, timeout_s: float | None = None) -> None:
        """Delete a group and its offsets. Raises ``UnknownGroup``, ``GroupNotEmpty`` while it has members."""
        await self._call("DELETE", group_path(group), timeout_s=timeout_s)

    async def offsets(
        self, group: str, topic: str | None = None, *, timeout_s: float | None = None
    ) -> Sequence[CommittedOffset]:
        """What is committed, in one topic or in all; nothing of a group that does not exist."""
        query = {} if topic is None else {"topic": topic}
        answer = await self._call("GET", group_path(group, "/offsets"), timeout_s=timeout_s, **query)
        return answer.convert(_Offsets).offsets

    async def commit(
        self, group: str, offsets: Mapping[TopicPartition, int], *, timeout_s: float | None = None
    ) -> None:
        """Commit for a group without members: a program that chooses its partitions itself.

        Raises ``GroupNotEmpty`` while it has members: they commit for themselves.
        """
        body = {"offsets": [_place(place, offset=offset) for place, offset in offsets.items()]}
        await self._call("POST", group_path(group, "/offsets"), body, timeout_s=timeout_s)

    async def delete_offsets(
        self, group: str, topic: str, partition: int | None = None, *, timeout_s: float | None = None
    ) -> None:
        """Forget what is committed in a topic, or in one partition of it. Raises ``UnknownGroup``, and
        ``GroupNotEmpty`` while members read that topic."""
        query: dict[str, str | int] = {"topic": topic}
        if partition is not None:
            query["partition"] = partition
        await self._call("DELETE", group_path(group, "/offsets"), timeout_s=timeout_s, **query)

    async def reset(
        self,
        group: str,
        to: str | int | Mapping[TopicPartition, int],
        *,
        topics: Sequence[str] = (),
        partitions: Sequence[TopicPartition] = (),
        dry_run: bool = False,
        force: bool = False,
        timeout_s: float | None = None,
    ) -> Sequence[Reset]:
        """Have a group go on elsewhere, and say where from and where to.

        ``to``: an offset, ``earliest``, ``latest``, ``@time`` (``@2026-01-31T10:00Z``, ``@milliseconds``), a
        shift (``+10``, ``-10``), or an offset for each partition. Without ``topics`` and ``partitions``, all
        that the group has offsets in. ``dry_run``: only say. Raises ``GroupNotEmpty`` while the group has
        members; with ``force`` they go on there, and what they commit of what they did before is refused.
        """
        body: dict[str, Any] = {"dry_run": dry_run, "force": force}
        if isinstance(to, Mapping):
            body["offsets"] = [_place(place, offset=offset) for place, offset in to.items()]
        else:
            body["to"] = str(to)
        if topics:
            body["topics"] = list(topics)
        if partitions:
            body["partitions"] = [_place(place) for place in partitions]
        answer = await self._call("POST", group_path(group, "/offsets/reset"), body, timeout_s=timeout_s)
        return answer.convert(_Resets).offsets

    async def lag(self, group: str, *, timeout_s: float | None = None) -> GroupLag:
        """How far a group is behind, in offsets and in time. Raises ``UnknownGroup``."""
        return (await self._call("GET", group_path(group, "/lag"), timeout_s=timeout_s)).convert(GroupLag)

    async def _call(
        self, method: str, path: str, body: Any = None, *, timeout_s: float | None, **query: str | int
    ) -> Answer:
        request = Request(
            method=method,
            path=path,
            query=query,
            headers={} if body is None else {"Content-Type": "application/json"},
            body=None if body is None else json_text.encode(body),
        )
        return await self._transport.call(
            request, Deadline(self._timeout_s if timeout_s is None else timeout_s)
        )


class _Page(msgspec.Struct):
    groups: list[GroupListing]


class _Offsets(msgspec.Struct):
    offsets: list[CommittedOffset]


class _Resets(msgspec.Struct):
    offsets: list[Reset]


def _place(place: TopicPartition, **more: int) -> dict[str, Any]:
    topic, partition = place
    return {"topic": topic, "partition": partition, **more}
