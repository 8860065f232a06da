"""The description of the API. Answers are derived from the types of the results, the rest is kept by hand.

Tests compare it with the routes, and answers of nodes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from node.broker import (
    AclDecision,
    ClusterHealth,
    ClusterInfo,
    CreatedToken,
    DrainInfo,
    Features,
    NodeHealth,
    QuotaInfo,
    RebalanceInfo,
    RemovalInfo,
    UserInfo,
)
from node.http import openapi_answers as answers
from node.http import openapi_bodies as bodies
from node.http.documents import (
    Alive,
    PartitionBounds,
    PartitionPage,
    Produced,
    ProducedRecords,
    Ready,
    ReadyPartitions,
    TopicPage,
    WhoAmI,
)
from node.http.media import ANSWERS, Media
from node.request_limits import RequestLimits
from node.service.acls import AclList, AddedAcls
from node.service.cluster import NodeList
from node.service.moves import Reassignments
from node.service.producer_ids import ProducerNumber
from node.service.quotas import QuotaList
from node.service.source_positions import BegunEpoch, SourcePositions
from node.service.tokens import TokenList
from node.service.topic_description import TopicDescription
from node.service.topics import TopicList
from node.service.users import UserList

_DURATION: Final = {"type": "string", "pattern": "^(0|[0-9]{1,15}(ms|s|m|h))$"}
_TIMEOUT: Final = {"type": "string", "pattern": "^[1-9][0-9]{0,14}(ms|s|m|h)$"}
_POSITIVE: Final = {"type": "integer", "minimum": 1}
_FROM: Final = {"type": "string", "description": "N, earliest, latest, -N or @time"}
_TEXT: Final = {"type": "string"}


def document(settings: RequestLimits) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    topic = _path("topic", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,249}$"})
    partition = _path("partition", {"type": "integer", "minimum": 0, "maximum": 999})
    node = _path("node", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"})
    user = _path("user", {"type": "string", "pattern": "^[A-Za-z0-9._@-]{1,64}$"})
    principal = _path("principal", {"type": "string", "pattern": "^([A-Za-z0-9._@-]{1,64}|[*])$"})
    timeout = _query("timeout", _TIMEOUT)
    view = _query(
        "view", {"type": "string", "enum": ["node"], "description": "Only what this very node knows"}
    )
    topic_id = {"type": "integer", "minimum": 0}
    pinned = [_header("Floodmark-Topic-Id", topic_id), _query("topic_id", topic_id)]
    acks = _query("acks", {"type": "string", "enum": ["quorum", "leader", "none"]})
    read = [
        _query("from", _FROM),
        _query("max_records", _POSITIVE),
        _query("max_bytes", _POSITIVE),
        _query("wait", _DURATION),
        _query("verify", {"type": "boolean", "description": "Check stored batches before they are sent"}),
        _query("follow", {"type": "boolean", "description": "Only in streaming forms (Accept)"}),
        _header("Last-Event-ID", _TEXT),
        *pinned,
    ]
    producer = [
        _header("Producer-Id", _TEXT),
        _header("Producer-Epoch", {"type": "integer", "minimum": 0, "maximum": (1 << 32) - 1}),
        _header("Producer-Seq", {"type": "integer", "minimum": 0}),
        _header("If-Offset", {"type": "integer", "minimum": 0}),
    ]
    position = _header("Floodmark-Position", bodies.POSITION)
    group = _path("group", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,249}$"})
    raw = [
        _header("Record-Key", _TEXT),
        _header("Record-Tombstone", {"type": "string", "enum": ["true", "false"]}),
    ]
    mode = _query(
        "mode",
        {"type": "string", "enum": ["copy"], "description": "The body is what was read: the same records"},
    )
    records = bodies.records_body()
    topic_records = "/v1/topics/{topic}/records"
    partition_records = "/v1/topics/{topic}/partitions/{partition}/records"
    listing = [_query("prefix", _TEXT), _query("after", _TEXT), _query("limit", _POSITIVE)]
    which = [
        *(_query(name, schema) for name, schema in bodies.ACL_FIELDS.items()),
        _query("allow", {"type": "boolean"}),
    ]
    shown = tuple(media for media in ANSWERS if media is not Media.BATCH)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Floodmark",
            "version": "1",
            "description": f"Bodies: {settings.body_bytes_max} bytes.",
        },
        "components": {"schemas": answers.COMPONENTS},
        "paths": {
            "/": {"get": _operation("Where to begin", answer="text/plain")},
            "/healthz": {"get": _operation("Whether the process is alive", result=Alive)},
            "/readyz": {"get": _operation("Whether the node can serve", result=Ready, also={"503": Ready})},
            "/metrics": {"get": _operation("Prometheus metrics", answer="text/plain")},
            "/openapi.json": {"get": _operation("This document")},
            "/v1/cluster": {"get": _operation("The cluster", result=ClusterInfo)},
            "/v1/cluster/health": {
                "get": _operation(
                    "What all nodes say is wrong, or one says of itself",
                    [view],
                    result=(ClusterHealth, NodeHealth),
                )
            },
            "/v1/cluster/features": {
                "get": _operation(
                    "The feature level, and which ones each node knows", [timeout], result=Features
                ),
                "post": _operation(
                    "Raise the feature level, for good", [timeout], body=bodies.level_body(), result=Features
                ),
            },
            "/v1/reassignments": {
                "get": _operation(
                    "Replicas on their way to other nodes", [timeout, view], result=Reassignments
                ),
                "post": _operation(
                    "Move replicas to other nodes",
                    [timeout],
                    body=bodies.reassignments_body(),
                    status="202",
                    result=Reassignments,
                ),
            },
            "/v1/nodes": {"get": _operation("The nodes", result=NodeList)},
            "/v1/nodes/{node}": {
                "delete": _operation(
                    "Take a node that has no replicas out of the cluster, for good; with force any (202)",
                    [node, timeout, _query("force", {"type": "boolean"})],
                    status="204",
                    result=None,
                    also={"202": DrainInfo},
                )
            },
            "/v1/nodes/{node}/removal": {
                "get": _operation(
                    "What would happen to its partitions without it", [node, timeout], result=RemovalInfo
                )
            },
            "/v1/nodes/{node}/replacement": {
                "post": _operation(
                    "Let another node take a dead one's place",
                    [node, timeout],
                    body=bodies.replacement_body(),
                    status="202",
                    result=DrainInfo,
                )
            },
            "/v1/nodes/{node}/drain": {
                "get": _operation("A drain's progress", [node, timeout], result=DrainInfo),
                "post": _operation(
                    "Move a node's replicas elsewhere", [node, timeout], status="202", result=DrainInfo
                ),
                "delete": _operation("Undo that", [node, timeout], status="202", result=DrainInfo),
            },
            "/v1/cluster/rebalance": {
                "get": _operation(
                    "A rebalance's moves, or those it would make", [timeout], result=RebalanceInfo
                ),
                "post": _operation(
                    "Even out replicas and leaders", [timeout], status="202", result=RebalanceInfo
                ),
                "delete": _operation(
                    "End a rebalance, and undo its moves under way",
                    [timeout],
                    status="202",
                    result=RebalanceInfo,
                ),
            },
            "/v1/quotas": {
                "get": _operation("How much each principal may ask for", [timeout], result=QuotaList),
            },
            "/v1/quotas/{principal}": {
                "put": _operation(
                    "Set a principal's limits, all at once",
                    [principal, timeout],
                    body=bodies.quota_body(),
                    result=QuotaInfo,
                ),
                "delete": _operation(
                    "Remove a principal's quota", [principal, timeout], status="204", result=None
                ),
            },
            "/v1/acls": {
                "get": _operation("Who may do what", [*which, timeout], result=AclList),
                "post": _operation(
                    "Allow or deny something", [timeout], body=bodies.acls_body(), result=AddedAcls
                ),
                "delete": _operation("Remove entries", [*which, timeout], result=AclList),
            },
            "/v1/acls/check": {
                "get": _operation(
                    "Whether a principal may do something, and by which entry",
                    [*(each for each in which if each["name"] not in ("allow", "pattern")), timeout],
                    result=AclDecision,
                )
            },
            "/v1/users": {
                "get": _operation("Users in order of name", [*listing, timeout], result=UserList),
                "post": _operation(
                    "Create a user",
                    [timeout],
                    body=bodies.user_body(),
                    status="201",
                    result=UserInfo,
                ),
            },
            "/v1/users/{user}": {
                "get": _operation("Describe a user", [user, timeout], result=UserInfo),
                "patch": _operation(
                    "Make a user an administrator, or undo that",
                    [user, timeout],
                    body=bodies.user_changes_body(),
                    result=UserInfo,
                ),
                "delete": _operation(
                    "Delete a user and its tokens", [user, timeout], status="204", result=None
                ),
            },
            "/v1/users/{user}/password": {
                "put": _operation(
                    "Set or remove a password",
                    [user, timeout],
                    body=bodies.password_body(),
                    result=UserInfo,
                ),
            },
            "/v1/users/{user}/tokens": {
                "get": _operation(
                    "A user's tokens, without their secrets", [user, timeout], result=TokenList
                ),
                "post": _operation(
                    "Create a token; its secret is in the answer and nowhere else",
                    [user, timeout],
                    body=bodies.token_body(),
                    status="201",
                    result=CreatedToken,
                ),
            },
            "/v1/users/{user}/tokens/{id}": {
                "delete": _operation(
                    "Revoke a token", [user, _path("id", _TEXT), timeout], status="204", result=None
                ),
            },
            "/v1/login": {
                "post": _operation(
                    "Exchange a password for a token that is valid for 12 hours",
                    [timeout],
                    body=bodies.login_body(),
                    status="201",
                    result=CreatedToken,
                )
            },
            "/v1/me": {"get": _operation("Who the client is", [timeout], result=WhoAmI)},
            "/v1/topics": {"get": _operation("Topics in order of name", listing, result=TopicList)},
            "/v1/topics/{topic}": {
                "get": _operation("Describe a topic", [topic, view, *pinned], result=TopicDescription),
                "put": _operation(
                    "Make a topic",
                    [topic, timeout, *pinned],
                    body=bodies.topic_body(),
                    status="201",
                    result=TopicDescription,
                    also={"200": TopicDescription},
                ),
                "patch": _operation(
                    "Change its configuration, partitions or replication factor",
                    [topic, timeout, *pinned],
                    body=bodies.changes_body(),
                    result=TopicDescription,
                ),
                "delete": _operation("Delete it and its data", [topic, timeout, *pinned], status="204"),
            },
            "/v1/producers": {
                "post": _operation(
                    "An id for a producer, or its next epoch",
                    [timeout],
                    body=bodies.producer_body(),
                    result=ProducerNumber,
                )
            },
            topic_records: {
                "get": _operation(
                    "Read all partitions",
                    [topic, _query("cursor", _TEXT), *read],
                    answer=shown,
                    result=TopicPage,
                ),
                "post": _operation(
                    "Produce, routed by key",
                    [topic, acks, timeout, mode, *raw, *pinned],
                    body=records,
                    result=ProducedRecords,
                    also={"207": ProducedRecords},
                ),
            },
            "/v1/topics/{topic}/wait": {
                "get": _operation(
                    "Wait for records behind a cursor, without reading them",
                    [topic, _query("cursor", _TEXT), _query("wait", _DURATION), *pinned],
                    result=ReadyPartitions,
                )
            },
            partition_records: {
                "get": _operation(
                    "Read a partition", [topic, partition, *read], answer=ANSWERS, result=PartitionPage
                ),
                "post": _operation(
                    "Produce one atomic batch",
                    [topic, partition, acks, timeout, mode, *producer, position, *raw, *pinned],
                    body=records,
                    result=Produced,
                ),
            },
            "/v1/topics/{topic}/partitions/{partition}/tail": {
                "get": _operation(
                    "The partition's bounds, confirmed",
                    [topic, partition, timeout, *pinned],
                    result=PartitionBounds,
                )
            },
            "/v1/topics/{topic}/partitions/{partition}/positions/{group}": {
                "get": _operation(
                    "How far a group has processed what this partition was made from, confirmed",
                    [topic, partition, group, timeout, *pinned],
                    result=SourcePositions,
                ),
                "post": _operation(
                    "Begin the next producer epoch of a source",
                    [topic, partition, group, timeout, *pinned],
                    body=bodies.source_body(),
                    result=BegunEpoch,
                ),
                "delete": _operation(
                    "Forget how far a group has got",
                    [topic, partition, group, timeout, *pinned],
                    status="204",
                    result=None,
                ),
            },
        },
    }


def _operation(
    summary: str,
    parameters: list[dict[str, Any]] | None = None,
    *,
    body: dict[str, Any] | None = None,
    answer: str | tuple[Media, ...] = "application/json",
    result: type | tuple[type, ...] | None = None,
    status: str = "200",
    also: Mapping[str, type] = MappingProxyType({}),
) -> dict[str, Any]:
    """``result``: the type of an answer in JSON, or several. ``also``: other statuses but problems."""
    medias = [answer] if isinstance(answer, str) else [str(media) for media in answer]
    responses: dict[str, Any] = {
        code: answers.response(code, medias, kind) for code, kind in {status: result, **also}.items()
    }
    responses["default"] = answers.PROBLEM
    found: dict[str, Any] = {"summary": summary, "parameters": parameters or [], "responses": responses}
    if body is not None:
        found["requestBody"] = body
    return found


def _path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


def _header(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": schema}
