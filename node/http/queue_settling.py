"""Settling a queue's deliveries over HTTP: ack, nack, extend, reject, or any of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from aiohttp import web
from floodmark.errors import InvalidRequest

from node.broker.queues import Action
from node.http.answers import JSON, TIMEOUT
from node.http.body import read_body
from node.http.context import HttpContext
from node.http.document_in import decoded
from node.http.leader_headers import leader_headers
from node.http.produce import timeout_of
from node.http.query import query_of
from node.http.queues import queue_name
from node.http.request_context import request_context
from node.service.queue_settling import DELAY_MS_MAX, End, settle
from node.service.request_context import RequestContext

_Delay = Annotated[int, msgspec.Meta(ge=0, le=DELAY_MS_MAX)]
_ENCODER = msgspec.json.Encoder()


class AckBody(msgspec.Struct, forbid_unknown_fields=True):
    """Deliveries that are done."""

    receipts: list[str]

    def ends(self) -> list[End]:
        """As the service takes them."""
        return [End(receipt=each, action=Action.ACK) for each in self.receipts]


class NackBody(msgspec.Struct, forbid_unknown_fields=True):
    """Deliveries that failed."""

    receipts: list[str]
    delay_ms: _Delay | None = None
    reason: str = ""

    def ends(self) -> list[End]:
        """As the service takes them."""
        return [
            End(receipt=each, action=Action.NACK, delay_ms=self.delay_ms, reason=self.reason)
            for each in self.receipts
        ]


class ExtendBody(msgspec.Struct, forbid_unknown_fields=True):
    """Deliveries that take longer."""

    receipts: list[str]
    visible_ms: _Delay | None = None

    def ends(self) -> list[End]:
        """As the service takes them."""
        return [End(receipt=each, action=Action.EXTEND, delay_ms=self.visible_ms) for each in self.receipts]


class RejectBody(msgspec.Struct, forbid_unknown_fields=True):
    """Deliveries that are dead."""

    receipts: list[str]
    reason: str = ""

    def ends(self) -> list[End]:
        """As the service takes them."""
        return [End(receipt=each, action=Action.REJECT, reason=self.reason) for each in self.receipts]


class SettlementIn(msgspec.Struct, forbid_unknown_fields=True):
    """What is to become of one delivery."""

    receipt: str
    action: Action
    delay_ms: _Delay | None = None
    """Of a nack, or of what is released."""
    visible_ms: _Delay | None = None
    """Of an extension."""
    reason: str = ""
    """Of a nack or a reject."""


class SettleBody(msgspec.Struct, forbid_unknown_fields=True):
    """Of several, each its own."""

    settlements: list[SettlementIn]

    def ends(self) -> list[End]:
        """As the service takes them."""
        return ends_of(self.settlements)


_RECEIPTS: Final = '{"receipts": ["..."]}'
_SETTLEMENTS: Final = '{"settlements": [{"receipt": "...", "action": "nack", "delay_ms": 5000}]}'
_BODIES: Final[Mapping[str, tuple[msgspec.json.Decoder[Any], str]]] = {
    "ack": (msgspec.json.Decoder(AckBody), _RECEIPTS),
    "nack": (msgspec.json.Decoder(NackBody), _RECEIPTS),
    "extend": (msgspec.json.Decoder(ExtendBody), _RECEIPTS),
    "reject": (msgspec.json.Decoder(RejectBody), _RECEIPTS),
    "settle": (msgspec.json.Decoder(SettleBody), _SETTLEMENTS),
}
ACTIONS: Final = tuple(_BODIES)
"""The last part of the paths."""


class SettledAnswer(NamedTuple):
    """``status``: 200, or 207 where some of several came too late."""

    status: int
    leader: str
    body: bytes


def ends_of(settlements: Iterable[SettlementIn]) -> list[End]:
    """As the service takes them. Raises ``InvalidRequest`` for what another action would need."""
    return [_end(each) for each in settlements]


def _end(given: SettlementIn) -> End:
    action = given.action
    for name, takers in (
        ("delay_ms", (Action.NACK, Action.RELEASE)),
        ("visible_ms", (Action.EXTEND,)),
        ("reason", (Action.NACK, Action.REJECT)),
    ):
        if getattr(given, name) and action not in takers:
            raise InvalidRequest(f"{name} goes with the action {' or '.join(takers)}, not with {action}")
    return End(
        receipt=given.receipt,
        action=action,
        delay_ms=given.visible_ms if action is Action.EXTEND else given.delay_ms,
        reason=given.reason,
    )


async def settled(
    context: HttpContext, who: RequestContext, queue: str, action: str, query: Mapping[str, str], body: bytes
) -> SettledAnswer:
    """The answer. Raises as the service does; a single receipt that came too late is ``ReceiptExpired``."""
    timeout_s = timeout_of(query.get("timeout"), context)
    decoder, example = _BODIES[action]
    ends = decoded(body, decoder, example).ends()
    result, leader = await settle(context.service, who.within(timeout_s), queue, ends, size=len(body))
    return SettledAnswer(
        207 if result.has_late else 200,
        leader,
        _ENCODER.encode(result) + b"\n",
    )


class QueueSettling:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    def handler(self, action: str) -> Callable[[web.Request], Any]:
        """Of one of ``ACTIONS``."""

        async def post(request: web.Request) -> web.StreamResponse:
            query = query_of(request, TIMEOUT)
            with ExitStack() as held:
                body = await read_body(request, self._context, held)
                answer = await settled(
                    self._context, request_context(request), queue_name(request), action, query, body
                )
            headers = {**JSON, **leader_headers(self._context.broker, answer.leader)}
            return web.Response(status=answer.status, headers=headers, body=answer.body)

        return post
