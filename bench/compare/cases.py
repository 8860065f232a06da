"""What is compared. A case counts its requests or records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import msgpack
from floodmark.format import batch
from floodmark.format.record import Record

from bench.compare.work import BATCH, PATH, Target, Work, client, idempotent, page, produce

VALUE: Final = bytes(index % 251 for index in range(1024))
RAW: Final = "application/octet-stream"
JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
MSGPACK: Final = "application/vnd.msgpack"
_ANY_LANGUAGE: Final = {"Accept-Language": "en"}
"""A header that no plain request has, so that aiohttp serves the request."""
_READ_BATCHES: Final = 40


@dataclass(frozen=True, slots=True)
class Case:
    """``run`` works for some seconds; ``is_read`` asks for a topic that has records."""

    name: str
    run: Work
    is_read: bool = False


def _order(number: int) -> dict[str, object]:
    return {
        "key": f"user-{number % 50}",
        "value": {"id": number, "name": "x" * 150, "tags": ["a", "b"], "price": 1.25},
    }


_ORDERS: Final = [_order(number) for number in range(900)]
_LINES: Final = [json.dumps(order).encode() for order in _ORDERS]
_ONE: Final = b'{"value":"' + b"x" * 1024 + b'"}'
_TIME: Final = 1_700_000_000_000
_PLAIN: Final = [Record(_TIME, None, VALUE)] * 1000
_HEADED: Final = [Record(_TIME, None, VALUE, pairs={"trace": "a1b2c3", "source": "shop"})] * 960
_TEXTS: Final = [Record(_TIME, None, b'{"text":"%b"}' % (b"x" * 900), is_json=True)] * 500


async def fill(target: Target) -> None:
    """20,000 records of JSON, of 900 bytes."""
    body = batch.encode(_TEXTS)
    url = target.leader + PATH.format(target.topic)
    for _ in range(_READ_BATCHES):
        async with target.session.post(url, data=body, headers={"Content-Type": BATCH}) as answer:
            assert answer.status == 200, await answer.text()


CASES: Final = (
    Case("one caller, 1 KiB raw", produce(VALUE, RAW)),
    Case("one caller, 1 KiB JSON", produce(_ONE, JSON)),
    Case("one caller, 1 KiB raw, by a follower", produce(VALUE, RAW, follower=True)),
    Case("one caller, 1 KiB raw, past the fast path", produce(VALUE, RAW, headers=_ANY_LANGUAGE)),
    Case("64 callers, 1 KiB raw", produce(VALUE, RAW, callers=64)),
    Case("64 callers, 1 KiB JSON", produce(_ONE, JSON, callers=64)),
    Case("64 callers, 1 KiB raw, by a follower", produce(VALUE, RAW, callers=64, follower=True)),
    Case(
        "64 callers, 1 KiB raw, past the fast path",
        produce(VALUE, RAW, callers=64, headers=_ANY_LANGUAGE),
    ),
    Case("200 KB of JSON records", produce(b'{"records":[' + b",".join(_LINES) + b"]}", JSON)),
    Case("200 KB of NDJSON", produce(b"\n".join(_LINES), NDJSON)),
    Case("200 KB of MessagePack", produce(msgpack.packb({"records": _ORDERS}), MSGPACK)),
    Case("batches of 1 MiB", idempotent(_PLAIN)),
    Case("batches of 1 MiB, with headers", idempotent(_HEADED)),
    Case("client: one caller", client("one_caller")),
    Case("client: producer, record by record", client("records")),
    Case("client: producer, in lists", client("lists")),
    Case("read: 1 MiB of batches", page(BATCH, "?from=100"), is_read=True),
    Case("read: one record as JSON", page(JSON, "?from=100&max_records=1"), is_read=True),
    Case("read: 1 MiB as JSON", page(JSON, "?from=100"), is_read=True),
    Case("read: 1,000 lines of NDJSON", page(NDJSON, "?from=100&max_records=1000"), is_read=True),
    Case("client: read", client("read"), is_read=True),
)
