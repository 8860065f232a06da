"""What workers of queues send: receipts, and bodies that settle."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Final

import msgspec
from floodmark.errors import InvalidRequest

from node.broker.queues import Action, Place
from node.http import queue_settling
from node.http.document_in import decoded
from node.http.queue_receive import ReceiveBody
from node.service import queue_receipt
from node.service.queue_delivery import Ending
from node.service.queue_receipt import Delivery
from node.service.queue_settling import DELAY_MS_MAX, REASON_CHARACTERS_MAX, End, check_ends
from tests.fuzz.target import Target

_KEYS: Final = (b"k" * 32, b"o" * 32)
_GIVEN: Final = [Delivery(Place(7, 3, 41 + number), 99) for number in range(3)]
_RECEIPTS: Final = queue_receipt.encode(_GIVEN, "jobs", "ann", _KEYS)
_RECEIVE: Final = msgspec.json.Decoder(ReceiveBody)
_ACTIONS: Final = (*queue_settling.ACTIONS, "receive")
_TOLD_MAX: Final = 1_500
"""Characters of a refusal: it does not repeat what it refuses."""


def receipts(data: bytes) -> None:
    """Any text is a receipt that a node has given for this queue to this principal, or is refused as
    InvalidRequest in few words; so is any form that is sealed soundly, as by a node of another build.
    """
    for text in (data.decode("utf-8", "replace"), _sealed(data)):
        try:
            found = queue_receipt.decode([text, _RECEIPTS[0], text], "jobs", "ann", _KEYS)
        except InvalidRequest as error:
            _is_short(error)
            continue
        assert found[0] == found[2]
        assert found[1] == _GIVEN[0]
        if found[0] not in _GIVEN:
            assert text == _sealed(data), "nobody has given this"
        for queue, principal in (("other", "ann"), ("jobs", "bob")):
            try:
                queue_receipt.decode([text], queue, principal, _KEYS)
            except InvalidRequest:
                continue
            raise AssertionError("it is of use to somebody else")


def _is_short(refusal: InvalidRequest) -> None:
    assert len(refusal.detail) < _TOLD_MAX


def _sealed(form: bytes) -> str:
    whole = form[:80] + queue_receipt._seal(form[:80], "jobs", "ann", _KEYS[1])
    return base64.urlsafe_b64encode(whole).rstrip(b"=").decode() + ".0"


def settlements(data: bytes) -> None:
    """A body of a request that settles, or receives and settles, is refused as InvalidRequest in few words,
    or says of each delivery what a node can tell another one. The first byte chooses the request.
    """
    action, body = _ACTIONS[(data[:1] or b"\0")[0] % len(_ACTIONS)], data[1:]
    try:
        ends = _ends(action, body)
        check_ends(ends)
        found = queue_receipt.decode([each.receipt for each in ends], "jobs", "ann", _KEYS)
    except InvalidRequest as error:
        _is_short(error)
        return
    for each, delivery in zip(ends, found, strict=True):
        assert delivery in _GIVEN
        assert each.delay_ms is None or 0 <= each.delay_ms <= DELAY_MS_MAX
        assert len(each.reason) <= REASON_CHARACTERS_MAX
        ending = Ending(*delivery.place, delivery.lease, each.action, each.delay_ms, each.reason)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(ending), type=Ending) == ending


def _ends(action: str, body: bytes) -> list[End]:
    if action == "receive":
        said = decoded(body or b"{}", _RECEIVE, "{}")
        acked = [End(receipt=each, action=Action.ACK) for each in said.ack]
        return [*acked, *queue_settling.ends_of(said.settlements)]
    decoder, example = queue_settling._BODIES[action]
    ends: list[End] = decoded(body, decoder, example).ends()
    return ends


def _receipt_seeds() -> Iterator[bytes]:
    for receipt in _RECEIPTS:
        yield receipt.encode()
        yield base64.urlsafe_b64decode(receipt.partition(".")[0] + "==")[: queue_receipt._FORM.size]
    yield from (b"", b".0", b"AAAA.0", _RECEIPTS[0].encode() + b"=", _RECEIPTS[0][:-1].encode() + b"99")


def _settlement_seeds() -> Iterator[bytes]:
    some = {"receipts": _RECEIPTS}
    for number, more in enumerate(
        ({}, {"delay_ms": 5, "reason": "r"}, {"visible_ms": 5}, {"reason": "\u00e9"})
    ):
        yield bytes([number]) + json.dumps({**some, **more}).encode()
    each = [
        {"receipt": _RECEIPTS[0], "action": "ack"},
        {"receipt": _RECEIPTS[1], "action": "nack", "delay_ms": 0, "reason": "r"},
        {"receipt": _RECEIPTS[2], "action": "extend", "visible_ms": 1},
        {"receipt": _RECEIPTS[2], "action": "release", "delay_ms": 1},
        {"receipt": _RECEIPTS[2], "action": "reject"},
    ]
    yield b"\4" + json.dumps({"settlements": each}).encode()
    yield b"\5" + json.dumps({"settlements": each, "ack": _RECEIPTS}).encode()
    yield b"\0" + json.dumps({"n" * 3_000: 1}).encode()
    yield from (b"\5", b"\0null", b"\0" + b"[" * 100, b'\0{"receipts": ["\\ud800"]}')


TARGETS = (
    Target("receipts", receipts, _receipt_seeds),
    Target("settlements", settlements, _settlement_seeds),
)
