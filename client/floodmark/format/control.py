"""The control frame: how a transaction of one producer ended, in each partition that it wrote to.

It is a RECORDS frame of payload type CONTROL, takes up one offset, and holds no record: readers pass over it.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from floodmark.errors import InvalidBatch, TooNew


class EndOfTransaction(msgspec.Struct, frozen=True, gc=False):
    """A MessagePack map of these members."""

    result: Literal["commit", "abort"]
    producer_id: int
    """The id of a numbered producer."""
    producer_epoch: int
    coordinator_epoch: int
    """The epoch of the coordinator that decided: decisions of an older epoch are ignored."""


class _Kind(msgspec.Struct, frozen=True):
    kind: str


class _Control(EndOfTransaction, frozen=True, tag_field="kind", tag="end_transaction"):
    """On disk the map also has its kind, so that other kinds can be added."""


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Control)
_ONLY_KIND: Final = msgspec.msgpack.Decoder(_Kind)


def encode(end: EndOfTransaction) -> bytes:
    """The payload of a control frame."""
    return _ENCODER.encode(_Control(end.result, end.producer_id, end.producer_epoch, end.coordinator_epoch))


def decode(payload: bytes | memoryview) -> EndOfTransaction:
    """What a control frame says. Raises ``InvalidBatch``; ``TooNew`` for a kind that is not known."""
    try:
        kind = _ONLY_KIND.decode(payload).kind
        if kind != "end_transaction":
            unlike = f"is of kind {kind[:80]!r}, this build knows 'end_transaction'"
            raise TooNew(f"a control frame {unlike}: start a newer Floodmark", unlike=unlike)
        found = _DECODER.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidBatch(f"a control frame cannot be decoded: {error}") from error
    return EndOfTransaction(found.result, found.producer_id, found.producer_epoch, found.coordinator_epoch)
