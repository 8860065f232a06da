"""What bodies of requests to queues look like, for the API's description."""

from __future__ import annotations

from typing import Any, Final

from node.broker.queues import Action
from node.http.openapi_bodies import json_body
from node.service.queue_dead import NAMES_MAX, PER_SECOND_MAX, PER_SECOND_MIN
from node.service.queue_receipt import RECEIPTS_MAX
from node.service.queue_settings import (
    BACKOFF_RANGE,
    BACKOFF_STEPS,
    BREAKER_RANGES,
    ORDERINGS,
    RANGES,
    STARTS,
)
from node.service.queue_settling import DELAY_MS_MAX, REASON_CHARACTERS_MAX

_TEXT: Final = {"type": "string"}
_NAME: Final = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,249}$"}
_RECEIPTS: Final = {"type": "array", "minItems": 1, "maxItems": RECEIPTS_MAX, "items": _TEXT}
_IDS: Final = {
    "type": ["array", "null"],
    "minItems": 1,
    "maxItems": NAMES_MAX,
    "items": {"type": "string", "pattern": "^[0-9]+-[0-9]+-[0-9]+$"},
}
_DELAY: Final = {"type": ["integer", "null"], "minimum": 0, "maximum": DELAY_MS_MAX}
_DURATION: Final = {"type": "string", "pattern": "^(0|[0-9]{1,9}(ms|s|m|h))$"}
_REASON: Final = {"type": "string", "maxLength": REASON_CHARACTERS_MAX}


def queue_body() -> dict[str, Any]:
    """A queue's settings."""
    numbers = {name: _within(lowest, highest) for name, (lowest, highest) in RANGES.items()}
    breaker = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _within(*ends) for name, ends in BREAKER_RANGES.items()},
    }
    backoff = {
        "type": "array",
        "minItems": BACKOFF_STEPS[0],
        "maxItems": BACKOFF_STEPS[1],
        "items": _within(*BACKOFF_RANGE),
        "description": "How long a record waits after its first, second ... failed delivery",
    }
    dead = {**_NAME, "type": ["string", "null"], "description": "Null: what is dead is dropped"}
    fields = {
        "topic": _NAME,
        **numbers,
        "backoff_ms": backoff,
        "visibility_timeout": _DURATION,
        "backoff": {**backoff, "items": _DURATION},
        "ordering": {"type": "string", "enum": list(ORDERINGS)},
        "dead_letter_topic": dead,
        "start": {"type": "string", "enum": list(STARTS)},
        "breaker": breaker,
    }
    return json_body(fields, required=["topic"])


def receive_body() -> dict[str, Any]:
    """What is settled before, if anything."""
    fields = {
        "ack": {"type": "array", "maxItems": RECEIPTS_MAX, "items": _TEXT},
        "settlements": {"type": "array", "maxItems": RECEIPTS_MAX, "items": _settlement()},
    }
    return {**json_body(fields, required=[]), "required": False}


def receipts_body(**more: dict[str, Any]) -> dict[str, Any]:
    """Receipts, and what goes for all of them."""
    return json_body({"receipts": _RECEIPTS, **more}, required=["receipts"])


def nack_body() -> dict[str, Any]:
    """Receipts of what failed."""
    return receipts_body(delay_ms=_DELAY, reason=_REASON)


def extend_body() -> dict[str, Any]:
    """Receipts of what takes longer."""
    return receipts_body(visible_ms=_DELAY)


def reject_body() -> dict[str, Any]:
    """Receipts of what is dead."""
    return receipts_body(reason=_REASON)


def settle_body() -> dict[str, Any]:
    """What is to become of each."""
    many = {"type": "array", "minItems": 1, "maxItems": RECEIPTS_MAX, "items": _settlement()}
    return json_body({"settlements": many}, required=["settlements"])


def replay_body() -> dict[str, Any]:
    """Which dead letters, and how fast."""
    fields = {
        "ids": _IDS,
        "all": {"type": "boolean"},
        "key_prefix": {"type": ["string", "null"]},
        "headers": {"type": ["object", "null"], "additionalProperties": _TEXT},
        "per_second": {
            "type": "number",
            "anyOf": [{"const": 0}, {"minimum": PER_SECOND_MIN, "maximum": PER_SECOND_MAX}],
        },
    }
    return json_body(fields, required=[])


def purge_dead_body() -> dict[str, Any]:
    """Which dead letters."""
    return json_body({"ids": _IDS, "all": {"type": "boolean"}}, required=[])


def _settlement() -> dict[str, Any]:
    fields = {
        "receipt": _TEXT,
        "action": {"type": "string", "enum": [str(action) for action in Action]},
        "delay_ms": {**_DELAY, "description": "Of a nack or a release"},
        "visible_ms": {**_DELAY, "description": "Of an extension"},
        "reason": {**_REASON, "description": "Of a nack or a reject"},
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": fields,
        "required": ["receipt", "action"],
    }


def _within(lowest: int, highest: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": lowest, "maximum": highest}
