"""A topic's configuration, as the metadata keeps it: its fields, and the values that they may have."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import msgspec
from floodmark.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """A topic's settings. None means no limit."""

    retention_ms: int | None = None
    retention_bytes: int | None = None
    max_record_bytes: int = 1 << 20
    segment_bytes: int = 128 << 20


SEGMENT_BYTES_MIN = 4_096
CONFIG_VALUE_MAX = (1 << 63) - 1
CONFIG_FIELDS = frozenset(field.name for field in dataclasses.fields(TopicConfig))


def changed_config(config: TopicConfig, changes: dict[str, Any]) -> TopicConfig:
    """``config`` with some fields changed. Raises ``InvalidRequest`` for unknown fields or wrong types."""
    unknown = sorted(set(changes) - CONFIG_FIELDS)
    if unknown:
        raise InvalidRequest(f"unknown configuration {', '.join(unknown)}; {sorted(CONFIG_FIELDS)} are known")
    try:
        changed: TopicConfig = msgspec.convert({**dataclasses.asdict(config), **changes}, TopicConfig)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the configuration: {error}") from error
    for name in CONFIG_FIELDS:
        value = getattr(changed, name)
        lowest = SEGMENT_BYTES_MIN if name == "segment_bytes" else 1
        if value is not None and not lowest <= value <= CONFIG_VALUE_MAX:
            raise InvalidRequest(f"the configuration: {name} is {lowest} to {CONFIG_VALUE_MAX}, not {value}")
    return changed
