"""The process that decodes large bodies for a node, which holds the other end of its standard input.

    order  u32 length of the order, u32 of the body, the order (MessagePack), the body
    answer u32 length of the head, u32 of the batches, the head (MessagePack), the batches concatenated

It ends when its node does, in whatever way: then its standard input is closed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket
import struct
from array import array
from typing import Any, BinaryIO, Final, cast

import msgspec
from floodmark.errors import FloodmarkError, TooLarge

from node.http.packing import Order, pack
from node.service.division import Packed

LENGTHS: Final = struct.Struct("<II")
MEMORY_BYTES_MAX: Final = 768 << 20
_NICENESS: Final = 5
"""The node itself goes first: heartbeats and votes depend on it."""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """Either a refusal (``code``, ``detail``, ``fields``), or where the records go.

    ``places`` are numbers of 16 bits, ``batches`` a partition and a length each.
    """

    code: str = ""
    detail: str = ""
    fields: dict[str, Any] = {}
    places: bytes = b""
    batches: list[tuple[int, int]] = []


_ORDERS = msgspec.msgpack.Decoder(Order)
_ENCODER = msgspec.msgpack.Encoder()


def serve(orders: BinaryIO, answers: BinaryIO) -> None:
    """Serve orders one after the other, until there are no more."""
    while len(lengths := orders.read(LENGTHS.size)) == LENGTHS.size:
        order_length, body_length = LENGTHS.unpack(lengths)
        order = _ORDERS.decode(orders.read(order_length))
        body = orders.read(body_length)
        if len(body) < body_length:
            return
        head, batches = _answer(order, body)
        del body
        answers.write(LENGTHS.pack(len(head), sum(map(len, batches))) + head)
        for batch in batches:
            answers.write(batch)
        answers.flush()


def _answer(order: Order, body: bytes) -> tuple[bytes, list[bytes]]:
    try:
        packed = pack(order, body)
    except FloodmarkError as error:
        return _refusal(error), []
    except MemoryError:
        return _refusal(TooLarge("decoding this body takes too much memory; send several smaller ones")), []
    return _ENCODER.encode(_told(packed)), list(packed.batches.values())


def _told(packed: Packed) -> Answer:
    lengths = [(number, len(batch)) for number, batch in packed.batches.items()]
    return Answer(places=array("H", packed.places).tobytes(), batches=lengths)


def _refusal(error: FloodmarkError) -> bytes:
    return _ENCODER.encode(Answer(error.code, error.detail, error.fields))


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    os.nice(_NICENESS)
    gc.disable()  # Decoded bodies have no cycles, and this process never lives long.
    with socket.socket(fileno=0) as node, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        serve(cast(BinaryIO, node.makefile("rb", 1 << 20)), cast(BinaryIO, node.makefile("wb", 1 << 20)))


if __name__ == "__main__":
    main()
