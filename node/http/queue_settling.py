"""Settling a queue's deliveries over HTTP: ack, nack, extend, reject, or any of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from aiohttp import web

from node.broker.queues import Action
from node.http.answers import Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.queues import queue_name
from node.service.queue_settling import DELAY_MS_MAX, End, SettleDeliveries

_Delay = Annotated[int, msgspec.Meta(ge=0, le=DELAY_MS_MAX)]


class AckBody(msgspec.Struct, forbid_unknown_fields=True):
    """Deliveries that are done."""

    receipts: list[str]


class NackBody(msgspec.Struct, forbid_unknown_fields=True):
    """Deliveries that failed."""

    receipts: list[str]
    delay_ms: _Delay | None = None
    reason: str = ""


class ExtendBody(msgspec.Struct, forbid_unknown_fields=True):
    """Deliveries that take longer."""

    receipts: list[str]
    visible_ms: _Delay | None = None


class RejectBody(msgspec.Struct, forbid_unknown_fields=True):
    """Deliveries that are dead."""

    receipts: list[str]
    reason: str = ""


class SettlementIn(msgspec.Struct, forbid_unknown_fields=True):
    """What is to become of one delivery."""

    receipt: str
    action: Action
    delay_ms: _Delay | None = None
    """Of a nack."""
    visible_ms: _Delay | None = None
    """Of an extension."""
    reason: str = ""
    """Of a nack or a reject."""


class SettleBody(msgspec.Struct, forbid_unknown_fields=True):
    """Of several, each its own."""

    settlements: list[SettlementIn]


_ACK = msgspec.json.Decoder(AckBody)
_NACK = msgspec.json.Decoder(NackBody)
_EXTEND = msgspec.json.Decoder(ExtendBody)
_REJECT = msgspec.json.Decoder(RejectBody)
_SETTLE = msgspec.json.Decoder(SettleBody)
_EXAMPLE: Final = '{"receipts": ["..."]}'
_SETTLE_EXAMPLE: Final = '{"settlements": [{"receipt": "...", "action": "nack", "delay_ms": 5000}]}'


def ends_of(settlements: Iterable[SettlementIn]) -> list[End]:
    """As the service takes them."""
    return [
        End(
            receipt=each.receipt,
            action=each.action,
            delay_ms=each.visible_ms if each.action is Action.EXTEND else each.delay_ms,
            reason=each.reason if each.action in (Action.NACK, Action.REJECT) else "",
        )
        for each in settlements
    ]


class QueueSettling:
    """The handlers. 200; 207 where some of several came too late; 409 for a single one that did."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def ack(self, request: web.Request) -> web.StreamResponse:
        """They are done."""
        timeout_s = self._desk.timeout_of(request)
        said, size = await read_document(request, self._context, _ACK, _EXAMPLE)
        ends = [End(receipt=each, action=Action.ACK) for each in said.receipts]
        return await self._settle(request, ends, timeout_s, size)

    async def nack(self, request: web.Request) -> web.StreamResponse:
        """They failed."""
        timeout_s = self._desk.timeout_of(request)
        said, size = await read_document(request, self._context, _NACK, _EXAMPLE)
        ends = [
            End(receipt=each, action=Action.NACK, delay_ms=said.delay_ms, reason=said.reason)
            for each in said.receipts
        ]
        return await self._settle(request, ends, timeout_s, size)

    async def extend(self, request: web.Request) -> web.StreamResponse:
        """They take longer."""
        timeout_s = self._desk.timeout_of(request)
        said, size = await read_document(request, self._context, _EXTEND, _EXAMPLE)
        ends = [End(receipt=each, action=Action.EXTEND, delay_ms=said.visible_ms) for each in said.receipts]
        return await self._settle(request, ends, timeout_s, size)

    async def reject(self, request: web.Request) -> web.StreamResponse:
        """They are dead."""
        timeout_s = self._desk.timeout_of(request)
        said, size = await read_document(request, self._context, _REJECT, _EXAMPLE)
        ends = [End(receipt=each, action=Action.REJECT, reason=said.reason) for each in said.receipts]
        return await self._settle(request, ends, timeout_s, size)

    async def settle(self, request: web.Request) -> web.StreamResponse:
        """Each its own."""
        timeout_s = self._desk.timeout_of(request)
        said, size = await read_document(request, self._context, _SETTLE, _SETTLE_EXAMPLE)
        return await self._settle(request, ends_of(said.settlements), timeout_s, size)

    async def _settle(
        self, request: web.Request, ends: list[End], timeout_s: float, size: int
    ) -> web.StreamResponse:
        asked = SettleDeliveries(queue=queue_name(request), ends=ends)
        result, node, by_leader = await self._desk.ask(request, asked, timeout_s=timeout_s, size=size)
        return self._desk.answer(result, node, by_leader, status=207 if result.has_late else 200)
