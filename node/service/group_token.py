"""What a reader of a group's records brings along: who it is in the group, and how far it is.

No node remembers it. It is unpadded base64url of a MessagePack array and of a seal over that array and the
principal that it was given to: nobody else can use it, and nobody can make one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from floodmark.errors import InvalidRequest

VERSION: Final = 1
NO_POSITION: Final = -1
"""Of a partition that is read from its beginning, and of which nothing was read yet."""
BEGIN_AGAIN: Final = "call with {} to begin again as a new member, where the group is"
"""What to do with a token that is of no use any more."""
_SEAL_BYTES: Final = 16
_TEXT_MAX: Final = 64 << 10

_Whole = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Place(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A partition that the member has, since which epoch, and the next offset to read."""

    topic_id: _Whole
    partition: _Whole
    epoch: _Whole
    offset: Annotated[int, msgspec.Meta(ge=NO_POSITION, le=(1 << 63) - 1)]


class GroupToken(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A token as it is sealed."""

    group: str
    member_id: str
    member_epoch: _Whole
    places: tuple[Place, ...]
    version: int = VERSION


_DECODER: Final = msgspec.msgpack.Decoder(GroupToken)
_ENCODER: Final = msgspec.msgpack.Encoder()


def encode(token: GroupToken, principal: str, keys: Sequence[bytes]) -> str:
    """As text, sealed for ``principal`` with the first of the cluster's ``keys``."""
    packed = _ENCODER.encode(token)
    return base64.urlsafe_b64encode(packed + _seal(packed, principal, keys[0])).rstrip(b"=").decode()


def decode(text: str, group: str, principal: str, keys: Sequence[bytes]) -> GroupToken:
    """Raises ``InvalidRequest`` for what no node has given to this principal for this group."""
    try:
        if len(text) > _TEXT_MAX:
            raise _invalid("it is too long")
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        whole = base64.b64decode(padded, altchars=b"-_", validate=True)
    except ValueError as error:
        raise _invalid("it was changed on its way") from error
    packed, seal = whole[:-_SEAL_BYTES], whole[-_SEAL_BYTES:]
    if not any(hmac.compare_digest(seal, _seal(packed, principal, key)) for key in keys):
        raise _invalid("it is of another user or cluster, or was changed on its way")
    try:
        token = _DECODER.decode(packed)
    except (ValueError, RecursionError) as error:
        raise _invalid("this node's build does not know its form") from error
    if token.version != VERSION:
        raise _invalid(f"it has version {token.version}, and this node reads {VERSION}")
    if token.group != group:
        raise _invalid(f"it is of group {token.group}")
    return token


def choice(text: str) -> int:
    """A number that is the same for the same token, and any other one for the next."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _seal(packed: bytes, principal: str, key: bytes) -> bytes:
    return hmac.digest(key, principal.encode() + b"\0" + packed, "sha256")[:_SEAL_BYTES]


def _invalid(why: str) -> InvalidRequest:
    return InvalidRequest(f"invalid commit token: {why}; {BEGIN_AGAIN}")
