"""Groups over HTTP: list, describe, delete, how far they are behind, and their members."""

from __future__ import annotations

import uuid
from typing import Annotated, Final

import msgspec
from aiohttp import web
from floodmark.errors import InvalidRequest

from node.http.answers import TIMEOUT, Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.query import capped, flag, number, query_of
from node.http.request_context import request_context
from node.service.group_admin import PAGE, PAGE_MAX, DeleteGroup, DescribeGroup, ListGroups
from node.service.group_lag import DescribeLag
from node.service.group_members import HeartbeatGroup, JoinGroup, LeaveGroup

_LISTING: Final = TIMEOUT | {"prefix", "after", "limit"}
_LEAVING: Final = TIMEOUT | {"member_epoch", "instance_id", "for_a_while"}
_EPOCH_MAX: Final = (1 << 31) - 1
_Whole = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=_EPOCH_MAX)]


class JoinBody(msgspec.Struct, forbid_unknown_fields=True):
    """A new member. Without ``member_id`` it gets one."""

    topics: tuple[str, ...] = ()
    pattern: str | None = None
    member_id: str | None = None
    instance_id: str | None = None
    assignor: str = ""
    session_timeout_ms: _Milliseconds = 45_000
    rebalance_timeout_ms: _Milliseconds = 300_000


class OwnedBody(msgspec.Struct, forbid_unknown_fields=True):
    """Partitions of one topic that a member has."""

    topic_id: _Whole
    partitions: list[_Whole]


class HeartbeatBody(msgspec.Struct, forbid_unknown_fields=True):
    """A member lives."""

    member_epoch: Annotated[int, msgspec.Meta(ge=0, le=_EPOCH_MAX)]
    owned: list[OwnedBody] | None = None
    instance_id: str | None = None
    topics: tuple[str, ...] | None = None
    pattern: str | None = None


_JOIN = msgspec.json.Decoder(JoinBody)
_HEARTBEAT = msgspec.json.Decoder(HeartbeatBody)


def group_name(request: web.Request) -> str:
    """The group in the path."""
    return request.match_info["group"]


class Groups:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def list(self, request: web.Request) -> web.StreamResponse:
        """Groups in order of name, a page at a time: for the next page, ``after`` is the last one's name."""
        query = query_of(request, _LISTING)
        asked = ListGroups(
            prefix=query.get("prefix", ""),
            after=query.get("after", ""),
            limit=capped(query, "limit", default=PAGE, cap=PAGE_MAX),
        )
        return await self._desk.show(request, asked, known=_LISTING)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """A group with its members."""
        return await self._desk.show(request, DescribeGroup(group=group_name(request)))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete a group and its offsets: 204."""
        return await self._desk.show(request, DeleteGroup(group=group_name(request)))

    async def lag(self, request: web.Request) -> web.StreamResponse:
        """How far it is behind."""
        return await self._desk.show(request, DescribeLag(group=group_name(request)))

    async def join(self, request: web.Request) -> web.StreamResponse:
        """Become a member."""
        timeout_s = self._desk.timeout_of(request)
        wanted, size = await read_document(request, self._context, _JOIN, '{"topics": ["orders"]}')
        who = request_context(request)
        asked = JoinGroup(
            group=group_name(request),
            member_id=uuid.uuid4().hex if wanted.member_id is None else wanted.member_id,
            instance_id=wanted.instance_id,
            topics=wanted.topics,
            pattern=wanted.pattern,
            assignor=wanted.assignor,
            session_timeout_ms=wanted.session_timeout_ms,
            rebalance_timeout_ms=wanted.rebalance_timeout_ms,
            client_id=who.client_id[:255],
            address=who.address,
        )
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))

    async def heartbeat(self, request: web.Request) -> web.StreamResponse:
        """A member lives, and is told what it may read now."""
        timeout_s = self._desk.timeout_of(request)
        example = '{"member_epoch": 1, "owned": [{"topic_id": 7, "partitions": [0]}]}'
        said, size = await read_document(request, self._context, _HEARTBEAT, example)
        owned = None
        if said.owned is not None:
            owned = [(topic.topic_id, partition) for topic in said.owned for partition in topic.partitions]
        asked = HeartbeatGroup(
            group=group_name(request),
            member_id=request.match_info["member"],
            epoch=said.member_epoch,
            instance_id=said.instance_id,
            owned=owned,
            topics=said.topics,
            pattern=said.pattern,
        )
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))

    async def leave(self, request: web.Request) -> web.StreamResponse:
        """A member goes: 204."""
        query = query_of(request, _LEAVING)
        epoch = query.get("member_epoch")
        for_a_while = flag(query, "for_a_while")
        if for_a_while and "instance_id" not in query:
            raise InvalidRequest("only a member with an instance_id can leave for a while")
        asked = LeaveGroup(
            group=group_name(request),
            member_id=request.match_info["member"],
            epoch=None if epoch is None else number(epoch, "member_epoch", highest=_EPOCH_MAX),
            instance_id=query.get("instance_id"),
            for_a_while=for_a_while,
        )
        return await self._desk.show(request, asked, known=_LEAVING)
