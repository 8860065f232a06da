"""What a partition holds, as one digest: every record with all that a consumer sees of it."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import floodmark
from floodmark.format.record import Record


async def contents(
    client: floodmark.Client, topic: str, partition: int, before: int | None = None
) -> dict[str, Any]:
    """Number of records and a SHA-256 of them, in order; of all, or of those before an offset."""
    digest, count = hashlib.sha256(), 0
    async for record in client.read(topic, partition):
        if record.offset == before:
            break
        digest.update(_line(record))
        count += 1
    return {"records": count, "sha256": digest.hexdigest()}


def _line(record: Record) -> bytes:
    key = None if record.key is None else base64.b64encode(record.key).decode()
    value = None if record.value is None else base64.b64encode(record.value).decode()
    headers = dict(record.headers or {})
    fields = [record.offset, record.timestamp, key, value, record.is_json, headers]
    return json.dumps(fields, sort_keys=True).encode() + b"\n"
