"""Topics: make, describe, list, alter, delete. Changes are made by the metadata group's leader."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Final

import msgspec
from aiohttp import web
from floodmark.errors import InvalidRequest, UnknownTopic
from floodmark.format.limits import BATCH_BYTES_MAX, PARTITIONS_MAX
from floodmark.format.names import check_name

from node.broker import PartitionInfo, TopicInfo
from node.http.body import read_body
from node.http.context import HttpContext
from node.http.forward import to_metadata_leader
from node.http.inside_line import FORWARDED
from node.http.json_guard import check_text
from node.http.partition_rows import all_topics
from node.http.produce import timeout_of
from node.http.query import OFFSET_MAX, capped, query_of, topic_name
from node.http.topic_id import TOPIC_ID, TOPIC_ID_QUERY, asked_id
from node.metadata.topic_config import TopicConfig

_QUERY: Final = frozenset({"timeout", TOPIC_ID_QUERY})
_DESCRIBE_QUERY: Final = frozenset({TOPIC_ID_QUERY})
_LIST_QUERY: Final = frozenset({"prefix", "after", "limit"})
_DESCRIBE_S: Final = 1.0
_PAGE: Final = 100
_PAGE_MAX: Final = 1_000
_JSON: Final = {"Content-Type": "application/json", "Cache-Control": "no-store", "Server": "floodmark"}
_ENCODER = msgspec.json.Encoder()
KEYS_MOVE: Final = (
    "with more partitions many keys go to other ones: records that a key had before stay where they are, "
    "so its order holds only for those from now on"
)
_Limit = int | None | msgspec.UnsetType


class _Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    retention_ms: _Limit = msgspec.UNSET
    retention_bytes: _Limit = msgspec.UNSET
    max_record_bytes: int | msgspec.UnsetType = msgspec.UNSET
    segment_bytes: int | msgspec.UnsetType = msgspec.UNSET

    def given(self) -> dict[str, Any]:
        """What was said, checked for range."""
        found = {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(self, name)) is not msgspec.UNSET
        }
        for name, value in found.items():
            highest = BATCH_BYTES_MAX if name == "max_record_bytes" else OFFSET_MAX
            if value is not None and not 1 <= value <= highest:
                raise InvalidRequest(f"{name} is 1 to {highest}, not {value}")
        return found


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    partitions: int | None = None
    replication_factor: int | None = None
    config: _Config = _Config()


class _Changes(msgspec.Struct, forbid_unknown_fields=True):
    config: _Config | None = None
    partitions: int | None = None
    replication_factor: int | None = None


_WANTED = msgspec.json.Decoder(_Wanted)
_CHANGES = msgspec.json.Decoder(_Changes)


class Topics:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def put(self, request: web.Request) -> web.StreamResponse:
        """201 when made now, 200 when it was there like this, 409 when it was there otherwise.

        What is left out takes the default for a new topic, and matches anything in one that exists.
        """
        name = topic_name(request)
        timeout_s, answer = await self._begin(request, f"/v1/topics/{name}")
        if answer is not None:
            return answer
        body = await self._body(request)
        await self._check_id(request)
        wanted = _decode(_WANTED, body or b"{}")
        given = wanted.config.given()
        existing = self._existing(name)
        config = {} if existing is None else _config(existing.config)
        partitions = wanted.partitions
        if partitions is None:
            partitions = 1 if existing is None else len(existing.partitions)
        factor = wanted.replication_factor
        if factor is None:
            factor = 0 if existing is None else existing.replication_factor
        elif factor < 1:
            raise InvalidRequest("replication_factor is at least 1")
        if not 1 <= partitions <= PARTITIONS_MAX:
            raise InvalidRequest(f"a topic has 1 to {PARTITIONS_MAX} partitions, not {partitions}")
        topic, created = await self._context.broker.create_topic(
            name,
            partitions=partitions,
            replication_factor=factor,
            config=TopicConfig(**{**config, **given}),
            timeout_s=timeout_s,
        )
        headers = {**_head(topic), "Location": f"/v1/topics/{name}"}
        return web.Response(
            status=201 if created else 200,
            body=_document(topic, self._context.broker.batch_format),
            headers=headers,
        )

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The topic, each partition as its leader sees it; another node that asks gets this one's view."""
        name = topic_name(request)
        asked = asked_id(request, query_of(request, _DESCRIBE_QUERY))
        if asked is not None:  # No other node is asked that could know better.
            await self._context.broker.catch_up(timeout_s=_DESCRIBE_S)
        topic = await self._context.service.topic(name, asked)
        if FORWARDED not in request.headers:
            topic = await self._context.broker.describe_topic(topic.name, timeout_s=_DESCRIBE_S)
        return web.Response(body=_document(topic, self._context.broker.batch_format), headers=_head(topic))

    async def patch(self, request: web.Request) -> web.StreamResponse:
        """Change some of the configuration (null takes a limit away), or how many there are of something."""
        name = topic_name(request)
        timeout_s, answer = await self._begin(request, f"/v1/topics/{name}")
        if answer is not None:
            return answer
        changes = _decode(_CHANGES, await self._body(request))
        given = [field for field in changes.__struct_fields__ if getattr(changes, field) is not None]
        if len(given) != 1:
            raise InvalidRequest(
                "change one thing at a time: config, partitions or replication_factor, not "
                f"{' and '.join(given) or 'none'}"
            )
        config = changes.config.given() if changes.config is not None else {}
        await self._check_id(request)
        broker, added = self._context.broker, False
        if changes.partitions is not None:
            topic, added = await broker.add_partitions(name, changes.partitions, timeout_s=timeout_s)
        elif changes.replication_factor is not None:
            factor = changes.replication_factor
            topic = await broker.change_replication_factor(name, factor, timeout_s=timeout_s)
        else:
            topic = await broker.alter_topic(name, config, timeout_s=timeout_s)
        members = _members(topic, broker.batch_format)
        if added:
            members["warning"] = KEYS_MOVE
        return web.Response(body=_ENCODER.encode(members) + b"\n", headers=_head(topic))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Remove the topic and its data everywhere."""
        name = topic_name(request)
        timeout_s, answer = await self._begin(request, f"/v1/topics/{name}")
        if answer is not None:
            return answer
        await self._check_id(request)
        await self._context.broker.delete_topic(name, timeout_s=timeout_s)
        return web.Response(status=204, headers={"Server": "floodmark"})

    async def list(self, request: web.Request) -> web.StreamResponse:
        """Topics in order of name, a page at a time: go on with ``after`` the last one's name."""
        query = query_of(request, _LIST_QUERY)
        prefix, after = query.get("prefix", ""), query.get("after", "")
        for text in (prefix, after):
            if text:
                check_name(text if text.strip(".") else f"{text}a")
        limit = capped(query, "limit", default=_PAGE, cap=_PAGE_MAX)
        self._context.broker.check_current()
        found: list[bytes] = []
        async for topic in all_topics(self._context.broker, prefix=prefix, after=after):
            found.append(_ENCODER.encode(_members(topic, self._context.broker.batch_format)))
            if len(found) == limit:
                break
        return web.Response(body=b'{"topics":[' + b",".join(found) + b"]}\n", headers=_JSON)

    async def _begin(self, request: web.Request, path: str) -> tuple[float, web.StreamResponse | None]:
        """The time there is, and the answer if another node has given it."""
        timeout_s = timeout_of(query_of(request, _QUERY).get("timeout"), self._context)
        if self._context.broker.metadata_leads_here:
            return timeout_s, None
        return timeout_s, await to_metadata_leader(self._context, request, path, timeout_s=timeout_s)

    async def _check_id(self, request: web.Request) -> None:
        """A change that names a topic's id is made to that topic only. Nothing is awaited behind this."""
        asked = asked_id(request, query_of(request, _QUERY))
        if asked is not None:
            await self._context.service.topic_limits(topic_name(request), asked)

    async def _body(self, request: web.Request) -> bytes:
        with ExitStack() as held:
            body = await read_body(request, self._context, held)
        check_text(body)
        return body

    def _existing(self, name: str) -> TopicInfo | None:
        try:
            return self._context.broker.topic(name)
        except UnknownTopic:
            return None


def _decode(decoder: Any, body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not what is expected here: {error}") from error


def _config(config: TopicConfig) -> dict[str, Any]:
    return {
        "retention_ms": config.retention_ms,
        "retention_bytes": config.retention_bytes,
        "max_record_bytes": config.max_record_bytes,
        "segment_bytes": config.segment_bytes,
    }


def _head(topic: TopicInfo) -> dict[str, str]:
    return {**_JSON, TOPIC_ID: str(topic.topic_id)}


def _members(topic: TopicInfo, batch_format: int) -> dict[str, Any]:
    return {
        "topic": topic.name,
        "topic_id": topic.topic_id,
        "id": topic.uuid,
        "replication_factor": topic.replication_factor,
        "config": _config(topic.config),
        "batch_format": batch_format,
        "partitions": [_partition(info) for info in topic.partitions],
    }


def _partition(info: PartitionInfo) -> dict[str, Any]:
    return {
        "partition": info.partition,
        "leader": info.leader,
        "replicas": info.replicas,
        "in_sync": info.in_sync,
        "high_watermark": info.high_watermark,
        "log_start_offset": info.log_start_offset,
        "term": info.term,
        # The term of that leader: while there is none, the term may be of elections that nobody wins.
        "leader_epoch": None if info.leader is None else info.term,
    }


def _document(topic: TopicInfo, batch_format: int) -> bytes:
    return _ENCODER.encode(_members(topic, batch_format)) + b"\n"
