"""One member of a group: it joins, says that it lives and what it has, commits, and leaves."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from floodmark.errors import FencedMemberEpoch, FloodmarkError, UnknownMember, UnknownTopic
from floodmark.format import json_text
from floodmark.groups.options import ConsumeOptions
from floodmark.groups.paths import group_path
from floodmark.groups.shapes import CommittedOffset, Membership
from floodmark.transport.http import Answer, Request, Transport
from floodmark.transport.pacing import Deadline

T = TypeVar("T")
FENCED: Final = (UnknownMember, FencedMemberEpoch)
"""The group goes on without this member: what it had is others' now."""
_LEAVE_S: Final = 5.0


class ToCommit(msgspec.Struct, frozen=True):
    """A partition's next offset."""

    topic: str
    topic_id: int
    partition: int
    offset: int
    metadata: str = ""


class Member:
    """Requests about it follow each other, so that none carries an epoch that another one has just ended."""

    def __init__(self, transport: Transport, options: ConsumeOptions) -> None:
        self._transport = transport
        self._options = options
        self._lock = asyncio.Lock()
        self.path = group_path(options.group)
        self.id = ""
        self.epoch = 0
        """As the group has told it."""
        self.epoch_read = 0
        """Of what the program reads: commits are of that, so that none of it undoes a reset."""
        self.heartbeat_s = 1.0

    @property
    def has_joined(self) -> bool:
        """Whether the group may know it."""
        return bool(self.id)

    async def join(self) -> Membership:
        """Become a member, under a new id. Raises what the group refuses it for."""
        async with self._lock:
            # An id of its own choice: a join that is sent twice makes one member.
            self.id, self.epoch = uuid.uuid4().hex, 0
            options = self._options
            body: dict[str, Any] = {
                "member_id": self.id,
                "session_timeout_ms": round(options.session_timeout_s * 1000),
                "rebalance_timeout_ms": round(options.rebalance_timeout_s * 1000),
            }
            if options.pattern is None:
                body["topics"] = list(options.topics)
            else:
                body["pattern"] = options.pattern
            if options.instance_id is not None:
                body["instance_id"] = options.instance_id
            if options.assignor is not None:
                body["assignor"] = options.assignor
            return self._learn(await self._call("POST", "/members", body))

    async def heartbeat(self, owned: Iterable[tuple[int, int]]) -> Membership:
        """Say which partitions (topic id, number) it has. Raises ``UnknownMember``, ``FencedMemberEpoch``."""
        async with self._lock:
            by_topic: dict[int, list[int]] = {}
            for topic_id, partition in sorted(owned):
                by_topic.setdefault(topic_id, []).append(partition)
            body = {
                "member_epoch": self.epoch,
                "owned": [{"topic_id": topic, "partitions": found} for topic, found in by_topic.items()],
            }
            return self._learn(await self._call("POST", f"/members/{self.id}", body))

    def _learn(self, answer: Answer) -> Membership:
        found = answer.convert(Membership)
        self.id, self.epoch = found.member_id, found.member_epoch
        self.heartbeat_s = found.heartbeat_interval_ms / 1000
        return found

    async def commit(self, offsets: Sequence[ToCommit]) -> set[tuple[int, int]]:
        """Returns the partitions that are refused: they are not this member's any more, or were reset.

        Raises ``UnknownMember``, ``FencedMemberEpoch`` where others may read all of them by now.
        """
        async with self._lock:
            body = {
                "member_id": self.id,
                "member_epoch": self.epoch_read,
                "partial": True,
                "offsets": [msgspec.to_builtins(offset) for offset in offsets],
            }
            answer = await self._call("POST", "/offsets", body)
            return {(each.topic_id, each.partition) for each in answer.convert(_Committed).refused}

    async def offsets(self, topics: Iterable[str]) -> dict[tuple[int, int], int]:
        """What is committed in these topics, by topic id and partition."""
        found: dict[tuple[int, int], int] = {}
        for topic in sorted(topics):
            try:
                answer = await self._call("GET", "/offsets", None, topic=topic)
            except UnknownTopic:
                continue  # It was deleted a moment ago: the group will say so.
            for offset in answer.convert(_Offsets).offsets:
                found[offset.topic_id, offset.partition] = offset.offset
        return found

    async def leave(self) -> None:
        """Give everything up at once. A static member is kept until its session is over: it may come back."""
        if not self.has_joined:
            return
        async with self._lock:
            query: dict[str, str | int] = {"member_epoch": self.epoch}
            if self._options.instance_id is not None:
                query |= {"instance_id": self._options.instance_id, "for_a_while": "true"}
            try:
                await self._call("DELETE", f"/members/{self.id}", None, within_s=_LEAVE_S, **query)
            except FloodmarkError:
                pass  # It is gone already, or its session ends it.
            finally:
                self.id = ""

    async def _call(
        self, method: str, path: str, body: Any, *, within_s: float | None = None, **query: str | int
    ) -> Answer:
        request = Request(
            method=method,
            path=self.path + path,
            query=query,
            headers={} if body is None else {"Content-Type": "application/json"},
            body=None if body is None else json_text.encode(body),
            route=self.path,
        )
        return await self._transport.call(request, Deadline(within_s or self._options.timeout_s))


class _Offsets(msgspec.Struct):
    offsets: list[CommittedOffset]


class _Refused(msgspec.Struct):
    topic_id: int
    partition: int


class _Committed(msgspec.Struct):
    refused: list[_Refused] = []
