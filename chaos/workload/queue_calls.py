"""Requests about the queue of a run, each a single attempt that is recorded."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from floodmark.errors import FloodmarkError, ReceiptExpired
from floodmark.transport.http import Answer, Request

from chaos.checker.final_state import DEAD_SUFFIX
from chaos.history import (
    Breaker,
    Counted,
    Deliveries,
    Delivery,
    Done,
    Letter,
    Letters,
    ListDead,
    LookAtQueue,
    MakeQueue,
    PurgeDead,
    QueueAction,
    QueueState,
    Receive,
    Replay,
    Result,
    Settle,
    Settlements,
)
from chaos.record_value import FOREIGN, decode
from chaos.workload.site import Site, attempt, json_request, within_time

QUEUE: Final = "chaos"
"""There may be a group of this name as well."""
_VISIBLE_MS: Final = 4_000
_MAX_DELIVERIES: Final = 3
_BREAKER: Final = Breaker(deliveries=20, window_ms=1_000, pause_ms=1_200)
_FAILURES: Final = 60
"""In percent. Workers fail on purpose all the time, but not as often."""


class Got(msgspec.Struct):
    """A record with its receipt."""

    receipt: str
    deliveries: int
    topic: str
    partition: int
    offset: int
    value: Any = None
    value_b64: str | None = None


class DeadAt(msgspec.Struct):
    """Where a dead letter is."""

    partition: int
    offset: int


class Listed(msgspec.Struct):
    """A dead letter."""

    id: str
    replaying: bool
    dead_letter: DeadAt


class _SettledOne(msgspec.Struct):
    result: str


class _Received(msgspec.Struct):
    records: list[Got]
    settled: list[_SettledOne] = []
    paused: str = ""


class _Settled(msgspec.Struct):
    settled: list[_SettledOne]


class _Look(msgspec.Struct):
    depth: int
    dead: int
    breaker: str


class _Dead(msgspec.Struct):
    dead: list[Listed]


class _Replayed(msgspec.Struct):
    replayed: int


class _Purged(msgspec.Struct):
    purged: int


class QueueCalls:
    """Of one process, to each node in turn."""

    def __init__(self, site: Site, process: str) -> None:
        self._site = site
        self._process = process
        self._asks = site.rotation(f"{process}/queue")

    async def close(self) -> None:
        """Its connections end."""
        await self._asks.close()

    async def make(self) -> bool:
        """Whether it is there."""
        topic = self._site.queue_topic
        assert topic is not None
        action = MakeQueue(
            QUEUE,
            topic,
            topic + DEAD_SUFFIX,
            by_key=True,
            max_deliveries=_MAX_DELIVERIES,
            breaker=_BREAKER,
        )
        body = {
            "topic": topic,
            "dead_letter_topic": action.dead_letter_topic,
            "visibility_timeout_ms": _VISIBLE_MS,
            "max_deliveries": _MAX_DELIVERIES,
            "backoff_ms": [50, 150],
            "ordering": "key",
            "breaker": {"failures": _FAILURES, **msgspec.structs.asdict(_BREAKER)},
        }
        return await self.ask(action, request("PUT", "", body)) is not None

    async def look(self) -> QueueState | None:
        """How much there is."""
        found = await self.ask(LookAtQueue(QUEUE), request("GET", "", None))
        return found if isinstance(found, QueueState) else None

    async def ask(
        self,
        action: QueueAction,
        asked: Request,
        *,
        records: list[Got] | None = None,
        listed: list[Listed] | None = None,
    ) -> Result | None:
        """One attempt. ``records``, ``listed``: take those of the answer."""
        recorder = self._site.recorder
        op = recorder.begin(self._process, action)
        try:
            answer, node = await attempt(self._asks, asked, wait_s=1.0)
            result = self._result(action, answer, records, listed)
        except ReceiptExpired:
            late = Settlements(["late"])  # Of one that was said alone.
            recorder.ok(op, late)
            return late
        except FloodmarkError as error:
            recorder.failed(op, error)
            return None
        recorder.ok(op, result, node=node)
        return result

    def _result(
        self, action: QueueAction, answer: Answer, records: list[Got] | None, listed: list[Listed] | None
    ) -> Result:
        if isinstance(action, Receive):
            received = answer.convert(_Received)
            if records is not None:
                records.extend(received.records)
            return Deliveries(
                [self._delivery(got) for got in received.records],
                [each.result for each in received.settled],
                received.paused,
            )
        if isinstance(action, ListDead):
            dead = answer.convert(_Dead).dead
            if listed is not None:
                listed.extend(dead)
            found = [(each.dead_letter, each.replaying) for each in dead]
            return Letters([Letter(at.partition, at.offset, replaying) for at, replaying in found])
        return _plain_result(action, answer)

    def _delivery(self, got: Got) -> Delivery:
        is_again = got.topic != self._site.queue_topic
        return Delivery(got.partition, got.offset, _value(got), got.deliveries, is_again)


def _plain_result(action: QueueAction, answer: Answer) -> Result:
    match action:
        case LookAtQueue():
            look = answer.convert(_Look)
            return QueueState(look.depth, look.dead, look.breaker)
        case Settle():
            return Settlements([each.result for each in answer.convert(_Settled).settled])
        case Replay():
            return Counted(answer.convert(_Replayed).replayed)
        case PurgeDead():
            return Counted(answer.convert(_Purged).purged)
    return Done()


def request(method: str, path: str, body: dict[str, Any] | None, **query: str | int) -> Request:
    """About the queue."""
    return json_request(
        method, f"/v1/queues/{QUEUE}{path}", body, query if "wait" in query else within_time(query)
    )


def _value(got: Got) -> int:
    text = got.value if isinstance(got.value, str) else ""
    data = (
        msgspec.json.decode(f'"{got.value_b64}"', type=bytes) if got.value_b64 is not None else text.encode()
    )
    told = decode(data)
    return told.value if told is not None and told.partition == got.partition else FOREIGN
