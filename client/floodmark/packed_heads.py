"""How long MessagePack arrays and maps claim to be, before anything is built of them."""

from __future__ import annotations


def array_length(packed: bytes | memoryview) -> int:
    """Of the array in ``packed``; -1 for anything else."""
    return _claimed(packed, 0x90, 0xDC)


def map_length(packed: bytes | memoryview) -> int:
    """Members of the map in ``packed``; -1 for anything else."""
    return _claimed(packed, 0x80, 0xDE)


def _claimed(packed: bytes | memoryview, small: int, large: int) -> int:
    kind = packed[0] if packed else 0
    if kind & 0xF0 == small:
        return kind & 0x0F
    if kind == large:
        return int.from_bytes(packed[1:3], "big")
    return int.from_bytes(packed[1:5], "big") if kind == large + 1 else -1
