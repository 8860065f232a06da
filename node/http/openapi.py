"""The description of the API, kept by hand beside the handlers; a test compares it with the routes."""

from __future__ import annotations

from typing import Any, Final

from floodmark.format.limits import PRODUCER_EPOCH_MAX, PRODUCER_ID_MAX, RECORD_HEADERS_MAX

from node.http.media import ANSWERS, BODIES, Media
from node.request_limits import RequestLimits

_DURATION: Final = {"type": "string", "pattern": "^(0|[0-9]{1,15}(ms|s|m|h))$"}
_TIMEOUT: Final = {"type": "string", "pattern": "^[1-9][0-9]{0,14}(ms|s|m|h)$"}
_POSITIVE: Final = {"type": "integer", "minimum": 1}
_FROM: Final = {"type": "string", "description": "N, earliest, latest, -N or @time"}
_OBJECT: Final = {"type": "object"}
_TEXT: Final = {"type": "string"}


def document(settings: RequestLimits) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    topic = _path("topic", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,249}$"})
    partition = _path("partition", {"type": "integer", "minimum": 0, "maximum": 999})
    node = _path("node", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"})
    timeout = _query("timeout", _TIMEOUT)
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
    raw = [
        _header("Record-Key", _TEXT),
        _header("Record-Tombstone", {"type": "string", "enum": ["true", "false"]}),
    ]
    mode = _query(
        "mode",
        {"type": "string", "enum": ["copy"], "description": "The body is what was read: the same records"},
    )
    records = _records_body()
    topic_records = "/v1/topics/{topic}/records"
    partition_records = "/v1/topics/{topic}/partitions/{partition}/records"
    listing = [_query("prefix", _TEXT), _query("after", _TEXT), _query("limit", _POSITIVE)]
    shown = tuple(media for media in ANSWERS if media is not Media.BATCH)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Floodmark",
            "version": "1",
            "description": f"Bodies: {settings.body_bytes_max} bytes.",
        },
        "paths": {
            "/": {"get": _operation("Where to begin", answer="text/plain")},
            "/healthz": {"get": _operation("Whether the process is alive")},
            "/readyz": {"get": _operation("Whether the node can serve")},
            "/metrics": {"get": _operation("Prometheus metrics", answer="text/plain")},
            "/openapi.json": {"get": _operation("This document")},
            "/v1/cluster": {"get": _operation("The cluster")},
            "/v1/cluster/health": {"get": _operation("What all nodes say is wrong")},
            "/v1/cluster/features": {
                "get": _operation("The feature level, and which ones each node knows", [timeout]),
                "post": _operation("Raise the feature level, for good", [timeout], body=_level_body()),
            },
            "/v1/reassignments": {
                "get": _operation("Replicas on their way to other nodes", [timeout]),
                "post": _operation(
                    "Have replicas go to other nodes", [timeout], body=_reassignments_body(), status="202"
                ),
            },
            "/v1/nodes": {"get": _operation("The nodes")},
            "/v1/nodes/{node}": {
                "delete": _operation(
                    "Take a node that has no replicas out of the cluster, for good; with force any (202)",
                    [node, timeout, _query("force", {"type": "boolean"})],
                    status="204",
                )
            },
            "/v1/nodes/{node}/removal": {
                "get": _operation("What would become of its partitions without it", [node, timeout])
            },
            "/v1/nodes/{node}/replacement": {
                "post": _operation(
                    "Have another node take a dead one's place",
                    [node, timeout],
                    body=_replacement_body(),
                    status="202",
                )
            },
            "/v1/nodes/{node}/drain": {
                "get": _operation("How far a drain is", [node, timeout]),
                "post": _operation("Have a node's replicas go elsewhere", [node, timeout], status="202"),
                "delete": _operation("Undo that", [node, timeout], status="202"),
            },
            "/v1/cluster/rebalance": {
                "get": _operation("What a rebalance moves, or would", [timeout]),
                "post": _operation("Even out replicas and leaders", [timeout], status="202"),
                "delete": _operation("End that, and undo what is on its way", [timeout], status="202"),
            },
            "/v1/topics": {"get": _operation("Topics in order of name", listing)},
            "/v1/topics/{topic}": {
                "get": _operation("Describe a topic", [topic, *pinned]),
                "put": _operation(
                    "Make a topic", [topic, timeout, *pinned], body=_topic_body(), status="201"
                ),
                "patch": _operation(
                    "Change its configuration, or how many there are of something",
                    [topic, timeout, *pinned],
                    body=_changes_body(),
                ),
                "delete": _operation("Delete it and its data", [topic, timeout, *pinned], status="204"),
            },
            "/v1/producers": {
                "post": _operation(
                    "An id for a producer, or its next epoch", [timeout], body=_producer_body()
                )
            },
            topic_records: {
                "get": _operation(
                    "Read all partitions", [topic, _query("cursor", _TEXT), *read], answer=shown
                ),
                "post": _operation(
                    "Produce, routed by key",
                    [topic, acks, timeout, mode, *raw, *pinned],
                    body=records,
                    mixed=True,
                ),
            },
            "/v1/topics/{topic}/wait": {
                "get": _operation(
                    "Wait for records behind a cursor, without reading them",
                    [topic, _query("cursor", _TEXT), _query("wait", _DURATION), *pinned],
                )
            },
            partition_records: {
                "get": _operation("Read a partition", [topic, partition, *read], answer=ANSWERS),
                "post": _operation(
                    "Produce one atomic batch",
                    [topic, partition, acks, timeout, mode, *producer, *raw, *pinned],
                    body=records,
                ),
            },
            "/v1/topics/{topic}/partitions/{partition}/tail": {
                "get": _operation("The partition's bounds, confirmed", [topic, partition, timeout, *pinned])
            },
        },
    }


def _operation(
    summary: str,
    parameters: list[dict[str, Any]] | None = None,
    *,
    body: dict[str, Any] | None = None,
    answer: str | tuple[Media, ...] = "application/json",
    status: str = "200",
    mixed: bool = False,
) -> dict[str, Any]:
    medias = [answer] if isinstance(answer, str) else [str(media) for media in answer]
    content: dict[str, Any] = {media: {"schema": {}} for media in medias}
    responses: dict[str, Any] = {
        status: {"description": "Done."} if status == "204" else {"description": "Done.", "content": content},
        "default": {
            "description": "A problem document (RFC 9457).",
            "content": {"application/problem+json": {"schema": _problem()}},
        },
    }
    if status == "201":
        responses["200"] = {"description": "It was there already.", "content": content}
    if mixed:
        responses["207"] = {"description": "Some records are stored, some are not.", "content": content}
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


def _problem() -> dict[str, Any]:
    names = ("type", "title", "detail", "code", "request_id")
    properties: dict[str, Any] = dict.fromkeys(names, _TEXT)
    properties |= {"status": {"type": "integer"}, "retriable": {"type": "boolean"}}
    return {"type": "object", "required": sorted(properties), "properties": properties}


def _record() -> dict[str, Any]:
    encoded = {"type": "string", "contentEncoding": "base64"}
    name_and_value = {
        "type": "array",
        "prefixItems": [
            _TEXT,
            {
                "anyOf": [
                    _TEXT,
                    {"type": "null"},
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"b64": encoded},
                        "required": ["b64"],
                    },
                ]
            },
        ],
        "items": False,
        "minItems": 2,
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "key": _TEXT,
            "key_b64": encoded,
            "value": {},
            "value_b64": encoded,
            "tombstone": {
                "type": "boolean",
                "description": "True: there is no value. From feature level 2 on",
            },
            "headers": {"type": "object", "additionalProperties": _TEXT},
            "headers_list": {
                "type": "array",
                "maxItems": RECORD_HEADERS_MAX,
                "items": name_and_value,
                "description": "Names that come again, null and bytes need feature level 2",
            },
            "timestamp": {"type": "integer", "minimum": 0, "maximum": 253_402_300_799_999},
            "partition": {"type": "integer", "minimum": 0},
        },
        "oneOf": [
            {"required": ["value"]},
            {"required": ["value_b64"]},
            {"required": ["tombstone"], "properties": {"tombstone": {"const": True}}},
        ],
        "not": {"anyOf": [{"required": ["key", "key_b64"]}, {"required": ["headers", "headers_list"]}]},
    }


def _records_body() -> dict[str, Any]:
    record = _record()
    many = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"records": {"type": "array", "minItems": 1, "items": record}},
        "required": ["records"],
    }
    content: dict[str, Any] = {str(media): {"schema": {"type": "string"}} for media in BODIES}
    content[str(Media.JSON)] = {"schema": {"anyOf": [many, record]}}
    return {"required": True, "content": content}


def _config() -> dict[str, Any]:
    limit = {"type": ["integer", "null"], "minimum": 1}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "retention_ms": limit,
            "retention_bytes": limit,
            "max_record_bytes": {"type": "integer", "minimum": 1, "maximum": 8 << 20},
            "segment_bytes": {"type": "integer", "minimum": 1},
        },
    }


def _topic_body() -> dict[str, Any]:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "partitions": {"type": "integer", "minimum": 1, "maximum": 1000},
            "replication_factor": {"type": "integer", "minimum": 1},
            "config": _config(),
        },
    }
    return {"content": {str(Media.JSON): {"schema": schema}}}


def _changes_body() -> dict[str, Any]:
    properties = {
        "config": _config(),
        "partitions": {"type": "integer", "minimum": 1, "maximum": 1000},
        "replication_factor": {"type": "integer", "minimum": 1},
    }
    schema = {**_OBJECT, "properties": properties, "minProperties": 1, "maxProperties": 1}
    return {"required": True, "content": {str(Media.JSON): {"schema": schema}}}


def _producer_body() -> dict[str, Any]:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "producer_id": {"type": "integer", "minimum": 1, "maximum": PRODUCER_ID_MAX},
            "producer_epoch": {"type": "integer", "minimum": 0, "maximum": PRODUCER_EPOCH_MAX},
        },
        "dependentRequired": {"producer_id": ["producer_epoch"], "producer_epoch": ["producer_id"]},
    }
    return {"content": {str(Media.JSON): {"schema": schema}}}


def _level_body() -> dict[str, Any]:
    level = {"type": "integer", "minimum": 1, "maximum": 1_000_000}
    schema = {**_OBJECT, "properties": {"level": level}, "required": ["level"]}
    return {"required": True, "content": {str(Media.JSON): {"schema": schema}}}


def _replacement_body() -> dict[str, Any]:
    schema = {**_OBJECT, "properties": {"node_id": _TEXT}, "required": ["node_id"]}
    return {"required": True, "content": {str(Media.JSON): {"schema": schema}}}


def _reassignments_body() -> dict[str, Any]:
    one = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "topic": _TEXT,
            "partition": {"type": "integer", "minimum": 0},
            "replicas": {
                "type": ["array", "null"],
                "minItems": 1,
                "maxItems": 100,
                "items": _TEXT,
                "description": "Node ids, the preferred leader first; null undoes what is under way",
            },
        },
        "required": ["topic", "partition", "replicas"],
    }
    many = {"type": "array", "minItems": 1, "maxItems": 10_000, "items": one}
    schema = {**_OBJECT, "properties": {"reassignments": many}, "required": ["reassignments"]}
    return {"required": True, "content": {str(Media.JSON): {"schema": schema}}}
