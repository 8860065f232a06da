"""Offsets of groups as people write them: ``orders/0``, and files of ``orders,0,42``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from cli.exits import USAGE, Failure


def partition_of(text: str) -> dict[str, Any]:
    """``orders/0``."""
    topic, slash, number = text.rpartition("/")
    if not slash or not topic or not number.isascii() or not number.isdigit():
        raise Failure(f"{text!r} is not a partition: write it as in orders/0", exit_code=USAGE)
    return {"topic": topic, "partition": int(number)}


def read_offsets(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Lines with topic, partition and offset: separated by commas, or as JSON, of ``group seek -o jsonl``
    too."""
    found = [_offset(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise Failure("the file has no offsets: each line is topic,partition,offset", exit_code=USAGE)
    return found


def _offset(number: int, line: str) -> dict[str, Any]:
    try:
        if line.startswith("{"):
            said = json.loads(line)
            topic, partition, offset = said["topic"], said["partition"], said.get("offset", said.get("after"))
        else:
            topic, partition, offset = line.split(",")
        return {"topic": topic.strip(), "partition": int(partition), "offset": int(offset)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(
            f"line {number} is not topic,partition,offset as in orders,0,42: {line[:80]!r}", exit_code=USAGE
        ) from error
