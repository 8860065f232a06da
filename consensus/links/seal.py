"""The mark on every packet of a link, so that whoever stands between two nodes cannot speak for either.

A mark is keyed BLAKE2b over the packet's number on its connection, its lengths, its header, and its body up
to ``BODY_COVERED_MAX``. The number is not sent: both sides count, so a packet that is repeated, left out or
moved breaks the connection like one that was altered. All that decides elections and commits is in headers,
and thus covered. Larger bodies are records on their way to a follower, with checksums of their own but no
key: to cover them as well costs 7% of all nodes' processors. Against who alters those, links need TLS.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

MARK_BYTES: Final = 16
BODY_COVERED_MAX: Final = 4096

_Buffer = bytes | bytearray | memoryview


class Seal:
    """One side's count and key of a connection."""

    __slots__ = ("_key", "_number")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._number = 0

    def mark(self, head: _Buffer, body: Sequence[_Buffer], body_bytes: int) -> bytes:
        """The mark of the next packet: ``head`` is its lengths and header."""
        self._number += 1
        number = self._number.to_bytes(16, "little")
        state = blake2b(head, digest_size=MARK_BYTES, key=self._key, salt=number)
        if body_bytes <= BODY_COVERED_MAX:
            for piece in body:
                state.update(piece)
        return state.digest()

    def holds(self, head: _Buffer, body: _Buffer, mark: _Buffer) -> bool:
        """Whether this is the mark of the next packet."""
        return hmac.compare_digest(self.mark(head, (body,), len(body)), mark)
