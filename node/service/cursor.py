"""The cursor of a read over all partitions: everything needed to go on, so that no node has to remember it.

It is the unpadded base64url form of a MessagePack array: version 1, the topic's id, and for each partition
the offset to go on at, or -1 for one that is still to be read from its beginning.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from floodmark.errors import InvalidRequest
from floodmark.format.limits import PARTITIONS_MAX

VERSION: Final = 1
EARLIEST: Final = -1
_TEXT_MAX: Final = 16 << 10

_Offset = Annotated[int, msgspec.Meta(ge=EARLIEST, le=(1 << 63) - 1)]
_Id = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A decoded cursor."""

    version: int
    topic_id: _Id
    offsets: Annotated[list[_Offset], msgspec.Meta(max_length=PARTITIONS_MAX)]

    def offsets_in(self, partitions: int) -> list[int]:
        """The offsets for a topic that now has this many partitions. Raises ``InvalidRequest``."""
        if len(self.offsets) > partitions:
            raise InvalidRequest("invalid cursor: it has more partitions than the topic")
        return self.offsets + [EARLIEST] * (partitions - len(self.offsets))


_DECODER = msgspec.msgpack.Decoder(Cursor)
_ENCODER = msgspec.msgpack.Encoder()


def encode(topic_id: int, offsets: Sequence[int]) -> str:
    """The cursor as text."""
    packed = _ENCODER.encode((VERSION, topic_id, offsets))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(text: str) -> Cursor:
    """Raises ``InvalidRequest`` for an invalid cursor."""
    try:
        if len(text) > _TEXT_MAX:
            raise InvalidRequest("invalid cursor: it is too long")
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        cursor: Cursor = _DECODER.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("invalid cursor: start again without one, or with from=...") from error
    if cursor.version != VERSION:
        raise InvalidRequest(f"invalid cursor: version {cursor.version}, and this node reads {VERSION}")
    return cursor
