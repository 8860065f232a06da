"""Committed offsets of groups over HTTP: get, commit, delete, reset."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from aiohttp import web
from floodmark.errors import InvalidRequest

from node.http.answers import TIMEOUT, Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.groups import group_name
from node.http.query import OFFSET_MAX, number, query_of
from node.http.topic_id import note_ids
from node.service.group_offsets import CommitOffsets, FetchOffsets, OffsetOf, PartitionOf
from node.service.group_reset import DeleteOffsets, ResetOffsets

_QUERY: Final = TIMEOUT | {"topic", "partition"}
_Whole = Annotated[int, msgspec.Meta(ge=0, le=OFFSET_MAX)]
_Epoch = Annotated[int, msgspec.Meta(ge=-1, le=(1 << 31) - 1)]


class PartitionBody(msgspec.Struct, forbid_unknown_fields=True):
    """A partition. ``topic_id``: which topic of this name is meant; the one that there is now without it."""

    topic: str
    partition: _Whole
    topic_id: _Whole = 0


class OffsetBody(PartitionBody, forbid_unknown_fields=True, kw_only=True):
    """The next offset to read in a partition."""

    offset: _Whole
    leader_epoch: _Epoch = -1
    metadata: str = ""


class CommitBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is committed, by a member or while there are none."""

    offsets: list[OffsetBody]
    member_id: str = ""
    member_epoch: _Epoch = -1
    instance_id: str | None = None
    partial: bool = False
    """Store what may be stored, and say what was refused."""
    back: bool = False
    """Whether offsets may go back."""


class ResetBody(msgspec.Struct, forbid_unknown_fields=True):
    """Where a group is to go on."""

    to: str | None = None
    offsets: tuple[OffsetBody, ...] = ()
    topics: tuple[str, ...] = ()
    partitions: tuple[PartitionBody, ...] = ()
    dry_run: bool = False
    force: bool = False


_COMMIT = msgspec.json.Decoder(CommitBody)
_RESET = msgspec.json.Decoder(ResetBody)
_EXAMPLE: Final = '{"offsets": [{"topic": "orders", "partition": 0, "offset": 42}]}'
_RESET_EXAMPLE: Final = '{"to": "earliest", "topics": ["orders"], "dry_run": true}'


class GroupOffsets:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """What is committed: all of it, of a topic, or of a partition."""
        query = query_of(request, _QUERY)
        partitions = None
        if (topic := query.get("topic")) is not None:
            if "partition" in query:
                numbers = [number(query["partition"], "partition", highest=OFFSET_MAX)]
            else:
                found = await self._context.service.topics.limits(topic)
                numbers = list(range(found.partitions))
            partitions = [PartitionOf(topic, each) for each in numbers]
        elif "partition" in query:
            raise InvalidRequest("partition needs topic: which topic's?")
        asked = FetchOffsets(group=group_name(request), partitions=partitions)
        return await self._desk.show(request, asked, known=_QUERY)

    async def commit(self, request: web.Request) -> web.StreamResponse:
        """Commit offsets; the answer has what is committed now."""
        timeout_s = self._desk.timeout_of(request)
        said, size = await read_document(request, self._context, _COMMIT, _EXAMPLE)
        note_ids(request, (each.topic_id for each in said.offsets))
        asked = CommitOffsets(
            group=group_name(request),
            offsets=[_offset(each) for each in said.offsets],
            member_id=said.member_id,
            epoch=said.member_epoch,
            instance_id=said.instance_id,
            partial=said.partial,
            back=said.back,
        )
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Forget what is committed in a topic, or in a partition: 204."""
        query = query_of(request, _QUERY)
        if "topic" not in query:
            raise InvalidRequest("say of which topic: ?topic=orders, and for one partition &partition=0")
        partition = query.get("partition")
        asked = DeleteOffsets(
            group=group_name(request),
            topic=query["topic"],
            partition=None if partition is None else number(partition, "partition", highest=OFFSET_MAX),
        )
        return await self._desk.show(request, asked, known=_QUERY)

    async def reset(self, request: web.Request) -> web.StreamResponse:
        """Have the group go on elsewhere, or say what that would change."""
        timeout_s = self._desk.timeout_of(request)
        said, size = await read_document(request, self._context, _RESET, _RESET_EXAMPLE)
        note_ids(request, (each.topic_id for each in (*said.offsets, *said.partitions)))
        asked = ResetOffsets(
            group=group_name(request),
            to=said.to,
            offsets=tuple(_offset(each) for each in said.offsets),
            topics=said.topics,
            partitions=tuple(
                PartitionOf(each.topic, each.partition, each.topic_id) for each in said.partitions
            ),
            dry_run=said.dry_run,
            force=said.force,
        )
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))


def _offset(said: OffsetBody) -> OffsetOf:
    return OffsetOf(
        topic=said.topic,
        partition=said.partition,
        offset=said.offset,
        topic_id=said.topic_id,
        leader_epoch=said.leader_epoch,
        metadata=said.metadata,
    )
