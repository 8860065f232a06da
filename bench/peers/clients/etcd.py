"""etcd through its JSON gateway. A record is a key below its topic's name."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp

from bench.peers.clients.protocol import PeerClient, UnderWay, call_in_turn
from bench.peers.work import MANY_CALLERS, Job

_TRANSACTION = 128
_TRANSACTIONS_AT_ONCE = 8
_PAGE = 1_000


class EtcdClient(PeerClient):
    """One aiohttp session over all three servers."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._urls = itertools.cycle(addresses)
        self._numbers = itertools.count()
        self._under_way = UnderWay(MANY_CALLERS)

    async def create(self, topic: str) -> None:
        """Nothing to create, but the cluster must have a leader."""
        await self._post("/v3/kv/range", {"key": _text(topic)})

    async def waiting(
        self, topic: str, value: bytes, *, callers: int, deadline: float, way: str
    ) -> list[float]:
        """One put each."""
        text = base64.b64encode(value).decode()

        async def put(_: int) -> None:
            await self._post("/v3/kv/put", {"key": self._key(topic), "value": text})

        return await call_in_turn(put, callers=callers, deadline=deadline)

    async def flood(self, topic: str, value: bytes, *, count: int, deadline: float, way: str) -> int:
        """Transactions, several at once."""
        sent = 0
        text = base64.b64encode(value).decode()

        async def put(_: int) -> None:
            nonlocal sent
            if sent < count:
                sent += _TRANSACTION
                await self._put_all(topic, [text] * _TRANSACTION)

        await call_in_turn(put, callers=_TRANSACTIONS_AT_ONCE, deadline=deadline)
        return sent

    async def _put_all(self, topic: str, texts: Sequence[str]) -> None:
        puts = [{"requestPut": {"key": self._key(topic), "value": text}} for text in texts]
        await self._post("/v3/kv/txn", {"success": puts})

    async def read(self, topic: str, *, count: int, deadline: float, way: str) -> tuple[int, int]:
        """Pages of keys in their order."""
        records = size = 0
        key, end = _text(topic + "/"), _text(topic + "0")
        while records < count and time.perf_counter() < deadline:
            page = await self._post("/v3/kv/range", {"key": key, "range_end": end, "limit": _PAGE})
            found = page.get("kvs", [])
            if not found:
                break
            records += len(found)
            size += sum(len(base64.b64decode(each["value"])) for each in found)
            key = base64.b64encode(base64.b64decode(found[-1]["key"]) + b"\0").decode()
        return records, size

    async def send_soon(self, topic: str, values: Sequence[bytes]) -> None:
        """A transaction beside those that are still waiting."""
        texts = [base64.b64encode(value).decode() for value in values]
        await self._under_way.add(self._put_all(topic, texts))

    async def settle(self) -> None:
        """All transactions."""
        await self._under_way.settle()

    async def follow(self, topic: str) -> AsyncIterator[bytes]:
        """A watch: one JSON document a line, without end."""
        request = {"create_request": {"key": _text(topic + "/"), "range_end": _text(topic + "0")}}
        timeout = aiohttp.ClientTimeout(total=None)
        url = next(self._urls) + "/v3/watch"
        async with self._session.post(url, json=request, timeout=timeout, read_bufsize=16 << 20) as answer:
            while line := await answer.content.readline():
                result = json.loads(line)["result"]
                if result.get("created"):
                    yield b""
                for event in result.get("events", ()):
                    yield base64.b64decode(event["kv"]["value"])

    async def close(self) -> None:
        """The session."""
        await self._session.close()

    def _key(self, topic: str) -> str:
        return _text(f"{topic}/{next(self._numbers):016d}")

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self._session.post(next(self._urls) + path, json=body) as answer:
            text = await answer.read()
            assert answer.status == 200, text
            found: dict[str, Any] = json.loads(text)
            return found


def _text(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


async def connect(job: Job) -> EtcdClient:
    """Requests go to the three servers in turn."""
    return EtcdClient(job.addresses)
