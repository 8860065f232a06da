"""Workers of a queue, over HTTP: they get records, settle them well or badly, hold them too long, and die.

Every request is a single attempt. Some records are poison (nobody ever settles them) and some are rejected at
once, by their values, so that every run has dead letters.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from floodmark.errors import FloodmarkError, ReceiptExpired
from floodmark.transport.http import Answer, Request

from chaos.checker.final_state import DEAD_SUFFIX
from chaos.history import (
    Deliveries,
    Delivery,
    Done,
    LookAtQueue,
    MakeQueue,
    QueueAction,
    QueueState,
    Receive,
    Result,
    Settle,
    Settlements,
    Settling,
)
from chaos.record_value import FOREIGN, decode, number_of
from chaos.workload.site import NODE_TIMEOUT_S, Site, attempt, ticks

QUEUE: Final = "chaos"
"""There may be a group of this name as well."""
_TICK_S: Final = 0.15
_AT_ONCE_MAX: Final = 8
_AGAIN_S: Final = 0.02
_ALL_MAX: Final = 500
_VISIBLE_MS: Final = 4_000
_LIFE_S: Final = (4.0, 15.0)
_STANDS_STILL_S: Final = (1.0, 7.0)
"""Up to more than a delivery lasts: others have its records then, and it does not know."""
_TRIES: Final = 6
_MAKE_S: Final = 30.0
_EMPTY_S: Final = 60.0
_EMPTY_LOOKS: Final = 3
_CONFIG: Final[dict[str, Any]] = {
    "visibility_timeout_ms": _VISIBLE_MS,
    "max_deliveries": 4,
    "backoff_ms": [100, 500],
    "ordering": "key",
    "breaker": {"failures": 0, "deliveries": 20, "window_ms": 30_000, "pause_ms": 30_000},
}
"""The breaker never opens: workers fail on purpose."""


class _Got(msgspec.Struct):
    receipt: str
    deliveries: int
    partition: int
    offset: int
    value: Any = None
    value_b64: str | None = None


class _SettledOne(msgspec.Struct):
    result: str


class _Received(msgspec.Struct):
    records: list[_Got]
    settled: list[_SettledOne] = []


class _Settled(msgspec.Struct):
    settled: list[_SettledOne]


class _Look(msgspec.Struct):
    depth: int
    dead: int


async def make_queue(site: Site) -> None:
    """Of the topic whose records have keys. Raises what the last attempt did."""
    assert site.queue_topic is not None
    dead = site.queue_topic + DEAD_SUFFIX
    worker = _Worker(site, "queue-maker")
    action = MakeQueue(QUEUE, site.queue_topic, dead, by_key=True)
    request = _request("PUT", "", {"topic": site.queue_topic, "dead_letter_topic": dead, **_CONFIG})
    try:
        async with asyncio.timeout(_MAKE_S):
            async for _ in ticks(_TICK_S, asyncio.Event()):
                if await worker.ask(action, request) is not None:
                    return
    finally:
        await worker.close()


async def work_off(site: Site, number: int) -> None:
    """One worker after the other, in one process. Runs until ``site.stop``."""
    process = f"worker-{number}"
    rng = site.rng(process)
    for _ in itertools.count():
        if site.stop.is_set():
            return
        worker = _Worker(site, process)
        try:
            await worker.live(rng)
        finally:
            await worker.close()


async def empty_queue(site: Site) -> None:
    """Settle all that is left, once nobody else works: what the checker then misses, nobody settled."""
    worker = _Worker(site, "last-worker")
    loop = asyncio.get_running_loop()
    ends, empty = loop.time() + _EMPTY_S, 0
    try:
        while empty < _EMPTY_LOOKS and loop.time() < ends:
            got = await worker.receive([], wait_s=0.3, max_records=_ALL_MAX)
            await worker.settle_all()
            if got is None:
                await asyncio.sleep(_AGAIN_S)
            elif not got:
                state = await worker.look()
                empty = empty + 1 if state is not None and state.depth == 0 else 0
                await asyncio.sleep(_TICK_S)
    finally:
        await worker.close()


@dataclass(slots=True)
class _Held:
    """A record that a worker has, and what it has said of it, if anything."""

    receipt: str
    at: Delivery
    said: Settling | None = None
    tries: int = 0


class _Worker:
    """``_held``: what it has, by partition and offset."""

    def __init__(self, site: Site, process: str) -> None:
        self._site = site
        self._process = process
        self._asks = site.rotation(f"{process}/queue")
        self._held: dict[tuple[int, int], _Held] = {}

    async def close(self) -> None:
        """Its connections end."""
        await self._asks.close()

    async def live(self, rng: random.Random) -> None:
        """Until it goes or dies; what it has then is delivered again."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + rng.uniform(*_LIFE_S)
        end = rng.choice(("goes", "dies", "stands still"))
        async for _ in ticks(_TICK_S, self._site.stop):
            if self._site.pauses.of_all:
                continue
            if loop.time() >= ends:
                if end == "dies":
                    return
                if end == "goes":
                    await self._settle(self._decide(rng))
                    return
                await asyncio.sleep(rng.uniform(*_STANDS_STILL_S))
                ends, end = ends + _LIFE_S[1], "goes"
            said = self._decide(rng)
            if rng.random() < 0.5:
                await self.receive(said)
            else:
                await self._settle(said)
                await self.receive([])

    async def settle_all(self) -> None:
        """What it has is done with: said until there is an answer, whichever nodes are gone."""
        while self._held:
            said = list(self._held.values())
            for held in said:
                held.said = Settling(held.at.partition, held.at.offset, held.at.deliveries, "ack")
                held.tries += 1
            await self._settle(said)

    def _decide(self, rng: random.Random) -> list[_Held]:
        """What it says now. Some it keeps, and says that it lives."""
        said = []
        for held in self._held.values():
            if held.said is None or held.said.action == "extend":
                held.said = _said(held.at, rng)
            if held.said is not None:
                held.tries += 1
                said.append(held)
        return said

    async def receive(
        self, said: Sequence[_Held], *, wait_s: float = 0.0, max_records: int = _AT_ONCE_MAX
    ) -> Sequence[Delivery] | None:
        """More, after what is said; None without an answer."""
        action = Receive(QUEUE, [held.said for held in said if held.said is not None])
        body = {"settlements": _settlements(said)} if said else None
        query: dict[str, str | int] = {
            "max": max_records,
            "wait": f"{round(wait_s * 1000)}ms",
            "worker": self._process,
        }
        records: list[_Got] = []
        result = await self.ask(action, _request("POST", "/receive", body, **query), records)
        if not isinstance(result, Deliveries):
            self._forget(said, None)
            return None
        self._forget(said, result.settled)
        for got, delivery in zip(records, result.records, strict=True):
            self._held[delivery.partition, delivery.offset] = _Held(got.receipt, delivery)
        return result.records

    async def _settle(self, said: Sequence[_Held]) -> None:
        if not said:
            return
        action = Settle(QUEUE, [held.said for held in said if held.said is not None])
        result = await self.ask(action, _request("POST", "/settle", {"settlements": _settlements(said)}))
        self._forget(said, result.settled if isinstance(result, Settlements) else None)

    async def look(self) -> QueueState | None:
        """How much there is."""
        found = await self.ask(LookAtQueue(QUEUE), _request("GET", "", None))
        return found if isinstance(found, QueueState) else None

    def _forget(self, said: Sequence[_Held], results: Sequence[str] | None) -> None:
        """What is settled or late; what had no answer is said again, but not for ever."""
        for number, held in enumerate(said):
            is_told = results is not None
            keeps = held.said is not None and held.said.action == "extend"
            if is_told and keeps and results is not None and results[number] != "late":
                continue
            if is_told or held.tries >= _TRIES:
                key = (held.at.partition, held.at.offset)
                if self._held.get(key) is held:
                    del self._held[key]

    async def ask(
        self, action: QueueAction, request: Request, records: list[_Got] | None = None
    ) -> Result | None:
        """One attempt, recorded. ``records``: takes those of the answer."""
        recorder = self._site.recorder
        op = recorder.begin(self._process, action)
        try:
            answer, node = await attempt(self._asks, request, wait_s=1.0)
            result = _result(action, answer, records)
        except ReceiptExpired:
            late = Settlements(["late"])  # Of one that was said alone.
            recorder.ok(op, late)
            return late
        except FloodmarkError as error:
            recorder.failed(op, error)
            return None
        recorder.ok(op, result, node=node)
        return result


def _said(at: Delivery, rng: random.Random) -> Settling | None:
    """By the record, and by chance; None: nothing yet."""
    number = number_of(at.value)
    if number % 61 == 7:
        action = "nack"
    elif number % 83 == 11:
        action = "reject"
    else:
        action = rng.choices(("ack", "nack", "extend", ""), (90, 3, 3, 4))[0]
    return Settling(at.partition, at.offset, at.deliveries, action) if action else None


def _settlements(said: Sequence[_Held]) -> list[dict[str, Any]]:
    return [
        {
            "receipt": held.receipt,
            "action": held.said.action,
            **({"reason": "by chaos"} if held.said.action == "reject" else {}),
        }
        for held in said
        if held.said is not None
    ]


def _request(method: str, path: str, body: dict[str, Any] | None, **query: str | int) -> Request:
    if "wait" not in query:
        query["timeout"] = f"{round(NODE_TIMEOUT_S * 1000)}ms"
    return Request(
        method=method,
        path=f"/v1/queues/{QUEUE}{path}",
        query=query,
        headers={"Content-Type": "application/json"} if body is not None else {},
        body=msgspec.json.encode(body) if body is not None else None,
    )


def _result(action: QueueAction, answer: Answer, records: list[_Got] | None) -> Result:
    if isinstance(action, MakeQueue):
        return Done()
    if isinstance(action, LookAtQueue):
        look = answer.convert(_Look)
        return QueueState(look.depth, look.dead)
    if isinstance(action, Settle):
        return Settlements([each.result for each in answer.convert(_Settled).settled])
    received = answer.convert(_Received)
    if records is not None:
        records.extend(received.records)
    return Deliveries(
        [Delivery(got.partition, got.offset, _value(got), got.deliveries) for got in received.records],
        [each.result for each in received.settled],
    )


def _value(got: _Got) -> int:
    text = got.value if isinstance(got.value, str) else ""
    data = (
        msgspec.json.decode(f'"{got.value_b64}"', type=bytes) if got.value_b64 is not None else text.encode()
    )
    told = decode(data)
    return told.value if told is not None and told.partition == got.partition else FOREIGN
