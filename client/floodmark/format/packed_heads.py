"""The heads of MessagePack arrays and maps: how long they claim to be, before anything is decoded."""

from __future__ import annotations


def array_length(packed: bytes | memoryview) -> int:
    """Items of the array in ``packed``; -1 for anything else."""
    return _claimed(packed, 0x90, 0xDC)


def array(count: int) -> bytes:
    """The head of an array of ``count`` items."""
    if count < 16:
        return bytes([0x90 | count])
    return b"\xdc" + count.to_bytes(2, "big") if count < 1 << 16 else b"\xdd" + count.to_bytes(4, "big")


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
