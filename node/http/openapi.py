"""The description of the API. Answers are derived from the types of the results, the rest is kept by hand.

Tests compare it with the routes, and answers of nodes with it.
"""

from __future__ import annotations

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
from node.http.openapi_groups import group_paths
from node.http.openapi_parts import DURATION, POSITIVE, TEXT, header, operation, path, query
from node.http.openapi_queues import queue_paths
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

_TIMEOUT: Final = {"type": "string", "pattern": "^[1-9][0-9]{0,14}(ms|s|m|h)$"}
_FROM: Final = {"type": "string", "description": "N, earliest, latest, -N or @time"}


def document(settings: RequestLimits) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    topic = path("topic", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,249}$"})
    partition = path("partition", {"type": "integer", "minimum": 0, "maximum": 999})
    node = path("node", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"})
    user = path("user", {"type": "string", "pattern": "^[A-Za-z0-9._@-]{1,64}$"})
    principal = path("principal", {"type": "string", "pattern": "^([A-Za-z0-9._@-]{1,64}|[*])$"})
    timeout = query("timeout", _TIMEOUT)
    view = query(
        "view", {"type": "string", "enum": ["node"], "description": "Only what this very node knows"}
    )
    topic_id = {"type": "integer", "minimum": 0}
    pinned = [header("Floodmark-Topic-Id", topic_id), query("topic_id", topic_id)]
    acks = query("acks", {"type": "string", "enum": ["quorum", "leader", "none"]})
    read = [
        query("from", _FROM),
        query("max_records", POSITIVE),
        query("max_bytes", POSITIVE),
        query("wait", DURATION),
        query("verify", {"type": "boolean", "description": "Check stored batches before they are sent"}),
        query("follow", {"type": "boolean", "description": "Only in streaming forms (Accept)"}),
        header("Last-Event-ID", TEXT),
        *pinned,
    ]
    producer = [
        header("Producer-Id", TEXT),
        header("Producer-Epoch", {"type": "integer", "minimum": 0, "maximum": (1 << 32) - 1}),
        header("Producer-Seq", {"type": "integer", "minimum": 0}),
        header("If-Offset", {"type": "integer", "minimum": 0}),
    ]
    position = header("Floodmark-Position", bodies.POSITION)
    group = path("group", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,249}$"})
    raw = [
        header("Record-Key", TEXT),
        header("Record-Tombstone", {"type": "string", "enum": ["true", "false"]}),
    ]
    mode = query(
        "mode",
        {"type": "string", "enum": ["copy"], "description": "The body is what was read: the same records"},
    )
    later = [
        query("delay", {**DURATION, "description": "Queues deliver the records after this time"}),
        query("deliver_at", {**TEXT, "description": "Or at this one: RFC 3339, or milliseconds since 1970"}),
    ]
    records = bodies.records_body()
    topic_records = "/v1/topics/{topic}/records"
    partition_records = "/v1/topics/{topic}/partitions/{partition}/records"
    listing = [query("prefix", TEXT), query("after", TEXT), query("limit", POSITIVE)]
    which = [
        *(query(name, schema) for name, schema in bodies.ACL_FIELDS.items()),
        query("allow", {"type": "boolean"}),
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
            "/": {"get": operation("Where to begin", answer="text/plain")},
            "/healthz": {"get": operation("Whether the process is alive", result=Alive)},
            "/readyz": {"get": operation("Whether the node can serve", result=Ready, also={"503": Ready})},
            "/metrics": {"get": operation("Prometheus metrics", answer="text/plain")},
            "/openapi.json": {"get": operation("This document")},
            "/v1/cluster": {"get": operation("The cluster", result=ClusterInfo)},
            "/v1/cluster/health": {
                "get": operation(
                    "What all nodes say is wrong, or one says of itself",
                    [view],
                    result=(ClusterHealth, NodeHealth),
                )
            },
            "/v1/cluster/features": {
                "get": operation(
                    "The feature level, and which ones each node knows", [timeout], result=Features
                ),
                "post": operation(
                    "Raise the feature level, for good", [timeout], body=bodies.level_body(), result=Features
                ),
            },
            "/v1/reassignments": {
                "get": operation(
                    "Replicas on their way to other nodes", [timeout, view], result=Reassignments
                ),
                "post": operation(
                    "Move replicas to other nodes",
                    [timeout],
                    body=bodies.reassignments_body(),
                    status="202",
                    result=Reassignments,
                ),
            },
            "/v1/nodes": {"get": operation("The nodes", result=NodeList)},
            "/v1/nodes/{node}": {
                "delete": operation(
                    "Take a node that has no replicas out of the cluster, for good; with force any (202)",
                    [node, timeout, query("force", {"type": "boolean"})],
                    status="204",
                    result=None,
                    also={"202": DrainInfo},
                )
            },
            "/v1/nodes/{node}/removal": {
                "get": operation(
                    "What would happen to its partitions without it", [node, timeout], result=RemovalInfo
                )
            },
            "/v1/nodes/{node}/replacement": {
                "post": operation(
                    "Let another node take a dead one's place",
                    [node, timeout],
                    body=bodies.replacement_body(),
                    status="202",
                    result=DrainInfo,
                )
            },
            "/v1/nodes/{node}/drain": {
                "get": operation("A drain's progress", [node, timeout], result=DrainInfo),
                "post": operation(
                    "Move a node's replicas elsewhere", [node, timeout], status="202", result=DrainInfo
                ),
                "delete": operation("Undo that", [node, timeout], status="202", result=DrainInfo),
            },
            "/v1/cluster/rebalance": {
                "get": operation(
                    "A rebalance's moves, or those it would make", [timeout], result=RebalanceInfo
                ),
                "post": operation(
                    "Even out replicas and leaders", [timeout], status="202", result=RebalanceInfo
                ),
                "delete": operation(
                    "End a rebalance, and undo its moves under way",
                    [timeout],
                    status="202",
                    result=RebalanceInfo,
                ),
            },
            "/v1/quotas": {
                "get": operation("How much each principal may ask for", [timeout], result=QuotaList),
            },
            "/v1/quotas/{principal}": {
                "put": operation(
                    "Set a principal's limits, all at once",
                    [principal, timeout],
                    body=bodies.quota_body(),
                    result=QuotaInfo,
                ),
                "delete": operation(
                    "Remove a principal's quota", [principal, timeout], status="204", result=None
                ),
            },
            "/v1/acls": {
                "get": operation("Who may do what", [*which, timeout], result=AclList),
                "post": operation(
                    "Allow or deny something", [timeout], body=bodies.acls_body(), result=AddedAcls
                ),
                "delete": operation("Remove entries", [*which, timeout], result=AclList),
            },
            "/v1/acls/check": {
                "get": operation(
                    "Whether a principal may do something, and by which entry",
                    [*(each for each in which if each["name"] not in ("allow", "pattern")), timeout],
                    result=AclDecision,
                )
            },
            "/v1/users": {
                "get": operation("Users in order of name", [*listing, timeout], result=UserList),
                "post": operation(
                    "Create a user",
                    [timeout],
                    body=bodies.user_body(),
                    status="201",
                    result=UserInfo,
                ),
            },
            "/v1/users/{user}": {
                "get": operation("Describe a user", [user, timeout], result=UserInfo),
                "patch": operation(
                    "Make a user an administrator, or undo that",
                    [user, timeout],
                    body=bodies.user_changes_body(),
                    result=UserInfo,
                ),
                "delete": operation(
                    "Delete a user and its tokens", [user, timeout], status="204", result=None
                ),
            },
            "/v1/users/{user}/password": {
                "put": operation(
                    "Set or remove a password",
                    [user, timeout],
                    body=bodies.password_body(),
                    result=UserInfo,
                ),
            },
            "/v1/users/{user}/tokens": {
                "get": operation("A user's tokens, without their secrets", [user, timeout], result=TokenList),
                "post": operation(
                    "Create a token; its secret is in the answer and nowhere else",
                    [user, timeout],
                    body=bodies.token_body(),
                    status="201",
                    result=CreatedToken,
                ),
            },
            "/v1/users/{user}/tokens/{id}": {
                "delete": operation(
                    "Revoke a token", [user, path("id", TEXT), timeout], status="204", result=None
                ),
            },
            "/v1/login": {
                "post": operation(
                    "Exchange a password for a token that is valid for 12 hours",
                    [timeout],
                    body=bodies.login_body(),
                    status="201",
                    result=CreatedToken,
                )
            },
            "/v1/me": {"get": operation("Who the client is", [timeout], result=WhoAmI)},
            "/v1/topics": {"get": operation("Topics in order of name", listing, result=TopicList)},
            "/v1/topics/{topic}": {
                "get": operation("Describe a topic", [topic, view, *pinned], result=TopicDescription),
                "put": operation(
                    "Make a topic",
                    [topic, timeout, *pinned],
                    body=bodies.topic_body(),
                    status="201",
                    result=TopicDescription,
                    also={"200": TopicDescription},
                ),
                "patch": operation(
                    "Change its configuration, partitions or replication factor",
                    [topic, timeout, *pinned],
                    body=bodies.changes_body(),
                    result=TopicDescription,
                ),
                "delete": operation("Delete it and its data", [topic, timeout, *pinned], status="204"),
            },
            "/v1/producers": {
                "post": operation(
                    "An id for a producer, or its next epoch",
                    [timeout],
                    body=bodies.producer_body(),
                    result=ProducerNumber,
                )
            },
            **group_paths(timeout, listing),
            **queue_paths(timeout, listing),
            topic_records: {
                "get": operation(
                    "Read all partitions",
                    [topic, query("cursor", TEXT), *read],
                    answer=shown,
                    result=TopicPage,
                ),
                "post": operation(
                    "Produce, routed by key",
                    [topic, acks, timeout, mode, *later, *raw, *pinned],
                    body=records,
                    result=ProducedRecords,
                    also={"207": ProducedRecords},
                ),
            },
            "/v1/topics/{topic}/wait": {
                "get": operation(
                    "Wait for records behind a cursor, without reading them",
                    [topic, query("cursor", TEXT), query("wait", DURATION), *pinned],
                    result=ReadyPartitions,
                )
            },
            partition_records: {
                "get": operation(
                    "Read a partition", [topic, partition, *read], answer=ANSWERS, result=PartitionPage
                ),
                "post": operation(
                    "Produce one atomic batch",
                    [topic, partition, acks, timeout, mode, *later, *producer, position, *raw, *pinned],
                    body=records,
                    result=Produced,
                ),
            },
            "/v1/topics/{topic}/partitions/{partition}/tail": {
                "get": operation(
                    "The partition's bounds, confirmed",
                    [topic, partition, timeout, *pinned],
                    result=PartitionBounds,
                )
            },
            "/v1/topics/{topic}/partitions/{partition}/positions/{group}": {
                "get": operation(
                    "How far a group has processed what this partition was made from, confirmed",
                    [topic, partition, group, timeout, *pinned],
                    result=SourcePositions,
                ),
                "post": operation(
                    "Begin the next producer epoch of a source",
                    [topic, partition, group, timeout, *pinned],
                    body=bodies.source_body(),
                    result=BegunEpoch,
                ),
                "put": operation(
                    "Move the position of a source without records",
                    [topic, partition, group, timeout, *pinned],
                    body=bodies.moved_body(),
                    result=BegunEpoch,
                ),
                "delete": operation(
                    "Forget how far a group has got",
                    [topic, partition, group, timeout, *pinned],
                    status="204",
                    result=None,
                ),
            },
        },
    }
