"""Which partition a key belongs to: the same as with Apache Kafka's own clients, so that mirrored topics
agree.

The hash is MurmurHash2 (Austin Appleby, 32 bits, seed 0x9747b28c); its sign bit is cleared before the
remainder by the number of partitions is taken.
"""

from __future__ import annotations

import functools
import struct
from typing import Final

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
_CACHED_KEY_BYTES_MAX: Final = 64
_CACHED_KEYS: Final = 16_384


def murmur2(data: bytes) -> int:
    """MurmurHash2 of ``data`` as an unsigned 32 bit integer."""
    length = len(data)
    words = length >> 2
    h = _SEED ^ length
    for k in struct.unpack_from(f"<{words}I", data):
        mixed = (k * _M) & _MASK
        h = ((h * _M) & _MASK) ^ (((mixed ^ (mixed >> 24)) * _M) & _MASK)
    rest = data[words << 2 :]
    if rest:
        h = ((h ^ int.from_bytes(rest, "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return h ^ (h >> 15)


@functools.lru_cache(maxsize=_CACHED_KEYS)
def _positive_hash_of_short(key: bytes) -> int:
    return murmur2(key) & 0x7FFFFFFF


def partition_for(key: bytes, partitions: int) -> int:
    """The partition, out of ``partitions``, that every record with this key goes to."""
    if len(key) <= _CACHED_KEY_BYTES_MAX:
        return _positive_hash_of_short(key) % partitions
    return (murmur2(key) & 0x7FFFFFFF) % partitions
