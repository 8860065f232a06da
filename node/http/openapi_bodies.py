"""What bodies of requests look like, for the API's description: tighter than the types that decode them."""

from __future__ import annotations

from typing import Any, Final

from floodmark.format.limits import PRODUCER_EPOCH_MAX, PRODUCER_ID_MAX, RECORD_HEADERS_MAX

from node.http.media import BODIES, Media
from node.service.acls import ACLS_MAX
from node.service.quotas import LIMITS
from node.service.tokens import LIFETIME_MS_MAX

_OBJECT: Final = {"type": "object"}
_TEXT: Final = {"type": "string"}
_USER: Final = {"type": "string", "pattern": "^[A-Za-z0-9._@-]{1,64}$"}
ACL_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "principal": {"type": "string", "description": "A user; * is every authenticated one; or anonymous"},
    "kind": {"type": "string", "enum": ["topic", "group", "stream", "queue", "cluster"]},
    "name": {"type": "string", "description": "Empty for the cluster, or for all with the pattern prefix"},
    "pattern": {"type": "string", "enum": ["literal", "prefix"]},
    "operation": {
        "type": "string",
        "enum": ["read", "write", "create", "alter", "delete", "describe", "all"],
    },
}
"""What an entry says, but for whether it allows or denies."""
POSITION: Final = {
    "type": "string",
    "pattern": "^[A-Za-z0-9._-]{1,249}(;[0-9]{1,19}){3}$",
    "description": "group;topic-id;partition;next-offset of the source: stored with the records",
}
_PASSWORD_OR_NONE: Final = {"type": ["string", "null"], "minLength": 8, "maxLength": 256}


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
                "description": "Repeated names, null and bytes need feature level 2",
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


def records_body() -> dict[str, Any]:
    """Of a produce."""
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


def topic_body() -> dict[str, Any]:
    """The schema of a new topic."""
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


def changes_body() -> dict[str, Any]:
    """Of changes to a topic."""
    properties = {
        "config": _config(),
        "partitions": {"type": "integer", "minimum": 1, "maximum": 1000},
        "replication_factor": {"type": "integer", "minimum": 1},
    }
    schema = {**_OBJECT, "properties": properties, "minProperties": 1, "maxProperties": 1}
    return {"required": True, "content": {str(Media.JSON): {"schema": schema}}}


def producer_body() -> dict[str, Any]:
    """Of a producer that goes on."""
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


def level_body() -> dict[str, Any]:
    """Of a raise of the feature level."""
    level = {"type": "integer", "minimum": 1, "maximum": 1_000_000}
    schema = {**_OBJECT, "properties": {"level": level}, "required": ["level"]}
    return {"required": True, "content": {str(Media.JSON): {"schema": schema}}}


_SOURCE_MEMBERS: Final = {
    "topic_id": {"type": "integer", "minimum": 1, "maximum": (1 << 62) - 1},
    "partition": {"type": "integer", "minimum": 0, "maximum": (1 << 31) - 1},
}


def source_body() -> dict[str, Any]:
    """The partition that a group processes."""
    producer = {"type": ["string", "null"], "description": "The Producer-Id that goes on"}
    return json_body({**_SOURCE_MEMBERS, "producer": producer}, required=["topic_id", "partition"])


def moved_body() -> dict[str, Any]:
    """Where a source was read to."""
    members = {
        **_SOURCE_MEMBERS,
        "next_offset": {"type": "integer", "minimum": 0, "maximum": (1 << 62) - 1},
        "producer": {"type": "string", "description": "The Producer-Id that goes on"},
        "producer_epoch": {"type": "integer", "minimum": 0, "maximum": (1 << 32) - 1},
    }
    return json_body(members, required=list(members))


def replacement_body() -> dict[str, Any]:
    """Of a node's replacement."""
    schema = {**_OBJECT, "properties": {"node_id": _TEXT}, "required": ["node_id"]}
    return {"required": True, "content": {str(Media.JSON): {"schema": schema}}}


def quota_body() -> dict[str, Any]:
    """A principal's limits."""
    rates = {name: {"type": "number", "minimum": least, "maximum": 1 << 53} for name, least in LIMITS.items()}
    for name in ("connections", "inflight_bytes"):
        rates[name]["type"] = "integer"
    body = json_body(rates, required=[])
    body["content"][str(Media.JSON)]["schema"]["minProperties"] = 1
    return body


def acls_body() -> dict[str, Any]:
    """Of entries that say who may do what."""
    one = {
        "type": "object",
        "additionalProperties": False,
        "properties": {**ACL_FIELDS, "allow": {"type": "boolean"}},
        "required": ["principal", "kind", "operation"],
    }
    many = {"type": "array", "minItems": 1, "maxItems": ACLS_MAX, "items": one}
    schema = {**_OBJECT, "properties": {"acls": many}, "required": ["acls"]}
    return {"required": True, "content": {str(Media.JSON): {"schema": schema}}}


def reassignments_body() -> dict[str, Any]:
    """Of moves."""
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


def user_body() -> dict[str, Any]:
    """A new user."""
    fields = {"user": _USER, "password": _PASSWORD_OR_NONE, "administrator": {"type": "boolean"}}
    return json_body(fields, required=["user"])


def user_changes_body() -> dict[str, Any]:
    """What of a user changes."""
    return json_body({"administrator": {"type": "boolean"}}, required=["administrator"])


def password_body() -> dict[str, Any]:
    """A password; null removes it."""
    return json_body({"password": _PASSWORD_OR_NONE}, required=["password"])


def token_body() -> dict[str, Any]:
    """How long a token is valid; null: until it is revoked."""
    lifetime = {"type": ["integer", "null"], "minimum": 1, "maximum": LIFETIME_MS_MAX}
    return {**json_body({"lifetime_ms": lifetime}, required=[]), "required": False}


def login_body() -> dict[str, Any]:
    """Who logs in."""
    return json_body({"user": _TEXT, "password": _TEXT}, required=["user", "password"])


_WHOLE: Final = {"type": "integer", "minimum": 0, "maximum": (1 << 63) - 1}
_EPOCH: Final = {"type": "integer", "minimum": -1, "maximum": (1 << 31) - 1}
_MILLISECONDS: Final = {"type": "integer", "minimum": 1, "maximum": (1 << 31) - 1}
_NAMES: Final = {"type": "array", "items": _TEXT}


def poll_body() -> dict[str, Any]:
    """The last answer's token, if there is one."""
    fields = {"commit": {"type": ["string", "null"]}, "leave": {"type": "boolean"}}
    return {**json_body(fields, required=[]), "required": False}


def join_body() -> dict[str, Any]:
    """A new member of a group."""
    text_or_none = {"type": ["string", "null"], "maxLength": 255}
    fields = {
        "topics": _NAMES,
        "pattern": {"type": ["string", "null"], "description": "Of names of topics, instead of topics"},
        "member_id": text_or_none,
        "instance_id": text_or_none,
        "assignor": {"type": "string", "enum": ["", "sticky", "range"]},
        "session_timeout_ms": _MILLISECONDS,
        "rebalance_timeout_ms": _MILLISECONDS,
    }
    return json_body(fields, required=[])


def heartbeat_body() -> dict[str, Any]:
    """What a member says."""
    fields = {"topic_id": _WHOLE, "partitions": {"type": "array", "items": _WHOLE}}
    owned = {**_OBJECT, "additionalProperties": False, "properties": fields, "required": list(fields)}
    said = {
        "member_epoch": {**_EPOCH, "minimum": 0},
        "owned": {"type": ["array", "null"], "items": owned},
        "instance_id": {"type": ["string", "null"]},
        "topics": {**_NAMES, "type": ["array", "null"]},
        "pattern": {"type": ["string", "null"]},
    }
    return json_body(said, required=["member_epoch"])


def _group_partition(**more: dict[str, Any]) -> dict[str, Any]:
    fields = {"topic": _TEXT, "partition": _WHOLE, **more}
    return {
        **_OBJECT,
        "additionalProperties": False,
        "properties": {**fields, "topic_id": _WHOLE},
        "required": ["topic", "partition", *(["offset"] if more else [])],
    }


def _group_offsets() -> dict[str, Any]:
    one = _group_partition(offset=_WHOLE, leader_epoch=_EPOCH, metadata={"type": "string", "maxLength": 4096})
    return {"type": "array", "items": one}


def commit_body() -> dict[str, Any]:
    """Offsets, of a member or of nobody."""
    fields = {
        "offsets": _group_offsets(),
        "member_id": _TEXT,
        "member_epoch": _EPOCH,
        "instance_id": {"type": ["string", "null"]},
        "partial": {"type": "boolean", "description": "Store what may be stored, and say what was refused"},
        "back": {"type": "boolean", "description": "Whether offsets may go back"},
    }
    return json_body(fields, required=["offsets"])


def reset_body() -> dict[str, Any]:
    """Where a group is to go on."""
    fields = {
        "to": {
            "type": ["string", "null"],
            "description": "An offset, earliest, latest, @time, or a shift: +10, -10",
        },
        "offsets": _group_offsets(),
        "topics": _NAMES,
        "partitions": {"type": "array", "items": _group_partition()},
        "dry_run": {"type": "boolean"},
        "force": {"type": "boolean"},
    }
    return json_body(fields, required=[])


def json_body(properties: dict[str, Any], *, required: list[str]) -> dict[str, Any]:
    """A document of these members and no others."""
    schema = {**_OBJECT, "additionalProperties": False, "properties": properties, "required": required}
    return {"required": True, "content": {str(Media.JSON): {"schema": schema}}}
