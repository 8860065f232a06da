"""Receipts: each names one delivery of one record, sealed for its queue and the principal that it was given
to. No node remembers them: nobody else can use one, and nobody can make one.

Neighbouring records that were delivered together share a seal, and differ by the number behind it. The text
is unpadded base64url of a fixed form and of the seal, a dot, and the record's place from the first one on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from floodmark.errors import InvalidRequest

from node.broker.queues import Place

VERSION: Final = 1
RECEIPTS_MAX: Final = 1_000
"""In one request."""
_FORM: Final = struct.Struct(">BQIQIQ")
"""Version, topic id, partition, the first record's offset, how far the last one is from it, the lease."""
_SEAL_BYTES: Final = 16
_TEXT: Final = re.compile(r"([A-Za-z0-9_-]{1,128})\.(0|[1-9][0-9]{0,9})", re.ASCII)
_PURPOSE: Final = b"queue receipt\0"
"""No principal's name has a blank, so no token of a group has such a seal."""


class Delivery(NamedTuple):
    """What a receipt is of."""

    place: Place
    lease: int


class _Run(NamedTuple):
    topic_id: int
    partition: int
    first: int
    span: int
    lease: int


def encode(deliveries: Sequence[Delivery], queue: str, principal: str, keys: Sequence[bytes]) -> list[str]:
    """A receipt of each, sealed with the first of the cluster's ``keys``."""
    ends: dict[tuple[int, int, int], tuple[int, int]] = {}
    for (topic_id, partition, offset), lease in deliveries:
        key = topic_id, partition, lease
        first, last = ends.get(key, (offset, offset))
        ends[key] = min(first, offset), max(last, offset)
    heads: dict[tuple[int, int, int], tuple[str, int]] = {}
    for key, (first, last) in ends.items():
        topic_id, partition, lease = key
        packed = _FORM.pack(VERSION, topic_id, partition, first, last - first, lease)
        sealed = packed + _seal(packed, queue, principal, keys[0])
        heads[key] = base64.urlsafe_b64encode(sealed).rstrip(b"=").decode(), first
    receipts = []
    for (topic_id, partition, offset), lease in deliveries:
        head, first = heads[topic_id, partition, lease]
        receipts.append(f"{head}.{offset - first}")
    return receipts


def decode(receipts: Sequence[str], queue: str, principal: str, keys: Sequence[bytes]) -> list[Delivery]:
    """What they are of. Raises ``InvalidRequest`` for what no node has given to this principal for this
    queue."""
    runs: dict[str, _Run] = {}
    found = []
    for text in receipts:
        match = _TEXT.fullmatch(text)
        if match is None:
            raise _invalid(text, "it was changed on its way")
        head, index = match[1], int(match[2])
        run = runs.get(head)
        if run is None:
            run = runs[head] = _opened(text, head, queue, principal, keys)
        if index > run.span:
            raise _invalid(text, "it was changed on its way")
        found.append(Delivery(Place(run.topic_id, run.partition, run.first + index), run.lease))
    return found


def _opened(text: str, head: str, queue: str, principal: str, keys: Sequence[bytes]) -> _Run:
    try:
        whole = base64.b64decode(head + "=" * (-len(head) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise _invalid(text, "it was changed on its way") from error
    packed, seal = whole[:-_SEAL_BYTES], whole[-_SEAL_BYTES:]
    if not any(hmac.compare_digest(seal, _seal(packed, queue, principal, key)) for key in keys):
        raise _invalid(text, "it is of another queue, user or cluster, or was changed on its way")
    if len(packed) != _FORM.size or packed[0] != VERSION:
        raise _invalid(text, f"it is not of version {VERSION}, which this node reads")
    return _Run(*_FORM.unpack(packed)[1:])


def _seal(packed: bytes, queue: str, principal: str, key: bytes) -> bytes:
    said = _PURPOSE + principal.encode() + b"\0" + queue.encode() + b"\0" + packed
    return hashlib.blake2b(said, key=key, digest_size=_SEAL_BYTES).digest()


def _invalid(text: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"invalid receipt {text[:100]!r}: {why}; nothing of this request was done")
