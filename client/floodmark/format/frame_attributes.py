"""What a leader says about a record batch: a small map at the end of a frame's payload.

The batch keeps its place at the front, so that its header is found where it always was, and stays byte for
byte as its producer made it. After it, if the frame has the flag ``ATTRIBUTES``:

    attributes   a MessagePack map: number of the attribute -> its value
    length    2  of the map, little-endian
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from floodmark.errors import InvalidBatch
from floodmark.format.batch import UNDECODABLE
from floodmark.format.frame import Frame, FrameFlag, FrameHeader

ATTRIBUTES_BYTES_MAX: Final = (1 << 16) - 1
_LENGTH_BYTES: Final = 2
_FLAG: Final = int(FrameFlag.ATTRIBUTES)
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(dict[int, Any])


class Attribute(enum.IntEnum):
    """The attribute numbers in use."""

    STREAM = 1
    """[hash of the stream's name (16 bytes), version of the first record in it, how many]"""
    PRINCIPAL = 2
    """Who produced the records, as text."""
    DELIVER_AT = 3
    """When queues may deliver them at the earliest: milliseconds since the Unix epoch."""
    POSITION = 4
    """[group, source topic id, source partition, next offset]: what they were made from (``position.py``)"""


def pack(attributes: Mapping[int, Any]) -> bytes:
    """The bytes that follow the batch. Raises ``ValueError`` above ``ATTRIBUTES_BYTES_MAX``."""
    packed = _ENCODER.encode(attributes)
    if len(packed) > ATTRIBUTES_BYTES_MAX:
        raise ValueError(f"{len(packed)} bytes of attributes; at most {ATTRIBUTES_BYTES_MAX}")
    return packed + len(packed).to_bytes(_LENGTH_BYTES, "little")


def split(
    frame: Frame | FrameHeader, payload: bytes | memoryview
) -> tuple[bytes | memoryview, bytes | memoryview]:
    """The batch in a frame's payload, and the bytes after it. Raises ``InvalidBatch``."""
    if not frame.flags & _FLAG:
        return payload, b""
    at = len(payload) - _LENGTH_BYTES
    begin = at - int.from_bytes(payload[at:], "little") if at >= 0 else -1
    if begin < 0:
        raise InvalidBatch(f"the attributes of frame {frame.index} are longer than its payload")
    return payload[:begin], payload[begin:]


def attributes(frame: Frame | FrameHeader, payload: bytes | memoryview) -> dict[int, Any]:
    """The attributes of a frame whose payload was verified; those unknown to this build are kept.

    Raises ``InvalidBatch``.
    """
    behind = split(frame, payload)[1]
    if not behind:
        return {}
    try:
        return _DECODER.decode(behind[:-_LENGTH_BYTES])
    except UNDECODABLE as error:
        raise InvalidBatch(f"the attributes of frame {frame.index} cannot be decoded: {error}") from error
