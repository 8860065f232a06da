"""Attacks by request bodies: few bytes that cost much, and large bodies sent slowly."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from functools import partial

import msgspec
from floodmark.format.limits import BATCH_RECORDS_MAX

from bench.attack.attack import TOPIC, Attack, Target

_MIB = 1 << 20
_JSON = "application/json"
_TOPIC_PATH = f"/v1/topics/{TOPIC}/records"
_PARTITION_PATH = f"/v1/topics/{TOPIC}/partitions/0/records"
_TINY = b'{"value":1}'
_UPLOADS = 64
_TRICKLE_BYTES = 1100


def attacks() -> Iterator[Attack]:
    """All of them."""
    million = _records([_TINY] * (16 * _MIB // 12 - 10))
    yield _sent("32 KB of gzip: 1.4 million records", gzip.compress(million), _JSON, encoding="gzip")
    yield _sent("16 MiB of JSON: 1.4 million records", million, _JSON)
    one = msgspec.msgpack.encode({"value": 1})
    count = 16 * _MIB // len(one) - 10
    packed = b"\x81\xa7records\xdd" + count.to_bytes(4, "big") + one * count
    yield _sent("16 MiB of MessagePack: 2 million records", packed, "application/vnd.msgpack")
    names = b",".join(b'"%x":""' % number for number in range(900_000))
    yield _sent("one record with 900,000 headers", b'{"value":1,"headers":{%b}}' % names, _JSON)
    brackets = b'{"value":["[",%b""]}' % (b'"[",' * 250_000)
    yield _sent("brackets in strings, 1 MB", brackets, _JSON)
    keyed = [b'{"key":"%x","value":1}' % number for number in range(BATCH_RECORDS_MAX)]
    yield _sent("100,000 records a request, by their keys", _records(keyed), _JSON)
    for name, more in (("", ""), (" (by aiohttp)", "X-Any: thing\r\n")):
        yield Attack(f"{_UPLOADS} uploads of 16 MiB at 1 KB/s a node{name}", partial(_upload, more=more))


def _sent(name: str, body: bytes, media: str, *, encoding: str | None = None) -> Attack:
    headers = {"Content-Type": media} | ({"Content-Encoding": encoding} if encoding else {})

    async def run(target: Target) -> None:
        await target.ask_again_and_again(_TOPIC_PATH, body=body, headers=headers)

    return Attack(name, run)


async def _upload(target: Target, more: str) -> None:
    head = (
        f"POST {_PARTITION_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
        f"{target.who_lines}{more}Content-Length: {16 * _MIB}\r\n\r\n"
    ).encode()

    async def one(number: int) -> None:
        _, writer = await target.streams(number)
        try:
            writer.write(head + bytes(_TRICKLE_BYTES))
            while target.goes_on:
                await asyncio.sleep(1)
                writer.write(bytes(_TRICKLE_BYTES))
                await writer.drain()
        except ConnectionError:
            target.answers["closed"] += 1
        finally:
            writer.close()

    await asyncio.gather(*(one(number) for number in range(_UPLOADS * len(target.urls))))


def _records(texts: list[bytes]) -> bytes:
    return b'{"records":[' + b",".join(texts) + b"]}"
