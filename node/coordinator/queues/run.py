"""Records of a partition that are in one state, as a queue's view holds them: a set of bits."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from node.coordinator.queues.values import RunValue

if TYPE_CHECKING:
    from node.coordinator.queues.share_partition import SharePartition

KEY_BYTES: Final = 8
NO_KEY: Final = 0


class Run:
    """``open``: the records that are in it, the one at ``base`` in the lowest bit. ``hashes``, those of keys,
    begin at ``base`` too; there are none where there is no key. ``value`` is what is stored; its own ``open``
    and ``keys`` begin at the first open record.
    """

    __slots__ = ("base", "hashes", "open", "share", "value")

    hashes: tuple[int, ...]

    def __init__(self, share: SharePartition, first: int, value: RunValue) -> None:
        self.share = share
        self.base = first
        self.value = value
        self.open = bits_of(value.open, value.count)
        self.hashes = hashes_of(value.keys, value.count) if value.keys else ()

    @property
    def first(self) -> int:
        """The first open record: its key's."""
        return self.base + first_bit(self.open)

    def offsets(self, bits: int | None = None) -> Sequence[int]:
        """Those of these bits, or of all that are open, in order."""
        return offsets(self.base, self.open if bits is None else bits)

    def key_at(self, offset: int) -> int:
        """The hash of a record's key; 0: none."""
        return self.hashes[offset - self.base] if self.hashes else NO_KEY

    def part(self, bits: int, like: RunValue) -> tuple[int, RunValue]:
        """The first offset and the value of a run of these records alone that is otherwise ``like``."""
        low = first_bit(bits)
        bits >>= low
        count = bits.bit_length()
        hashes = self.hashes[low : low + count]
        keys = struct.pack(f">{len(hashes)}Q", *hashes) if hashes else b""
        open_ = b"" if bits == (1 << count) - 1 else bytes_of(bits)
        return self.base + low, msgspec.structs.replace(like, count=count, open=open_, keys=keys)

    def __repr__(self) -> str:
        return f"<Run of {list(self.offsets())}: {self.value}>"


def first_bit(bits: int) -> int:
    """The lowest one that is set."""
    return (bits & -bits).bit_length() - 1


def bits_of(stored: bytes, count: int) -> int:
    """Bits from their bytes; b"": all."""
    return int.from_bytes(stored, "little") if stored else (1 << count) - 1


def hashes_of(stored: bytes, count: int) -> tuple[int, ...]:
    """Of so many records. Raises ``ValueError`` for bytes of others."""
    if len(stored) != count * KEY_BYTES:
        raise ValueError("a run with other keys than records")
    return struct.unpack(f">{count}Q", stored)


def bytes_of(bits: int) -> bytes:
    """As stored."""
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def indexes(bits: int) -> Iterator[int]:
    """Those that are set, in order."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def offsets(base: int, bits: int) -> Sequence[int]:
    """Of the bits that are set, in order."""
    low = first_bit(bits) if bits else 0
    count = bits.bit_length() - low
    if bits >> low == (1 << count) - 1:
        return range(base + low, base + low + count)
    return [base + index for index in indexes(bits)]


def made_of(found: Sequence[tuple[int, int]], like: RunValue) -> tuple[int, RunValue]:
    """The first offset and the value of a run of these offsets, in order, with the hashes of their keys."""
    first, last = found[0][0], found[-1][0]
    count = last - first + 1
    open_ = keys = b""
    if len(found) != count:
        bits = 0
        for offset, _ in found:
            bits |= 1 << (offset - first)
        open_ = bytes_of(bits)
    if found[0][1] or any(key for _, key in found):
        if open_:
            packed = bytearray(count * KEY_BYTES)
            for offset, key in found:
                at = (offset - first) * KEY_BYTES
                packed[at : at + KEY_BYTES] = key.to_bytes(KEY_BYTES)
            keys = bytes(packed)
        else:
            keys = struct.pack(f">{count}Q", *[key for _, key in found])
    return first, msgspec.structs.replace(like, count=count, open=open_, keys=keys)
