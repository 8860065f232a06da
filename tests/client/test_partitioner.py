"""Keys go where Apache Kafka's clients put them."""

from __future__ import annotations

import pytest
from floodmark.producer.partitioner import murmur2, partition_for
from hypothesis import given
from hypothesis import strategies as st

#: The vectors of the hash that Kafka's clients publish, as signed 32 bit integers.
VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "expected"), VECTORS.items())
def test_the_hash_agrees_with_kafkas_vectors(key: bytes, expected: int) -> None:
    """Every published vector comes out, read as a signed integer."""
    unsigned = murmur2(key)
    assert 0 <= unsigned < 1 << 32
    assert unsigned - ((unsigned & 0x80000000) << 1) == expected


@given(key=st.binary(max_size=200), partitions=st.integers(1, 1000))
def test_a_key_always_has_one_partition(key: bytes, partitions: int) -> None:
    """The partition is in range, and the same when asked again, cached or not."""
    first = partition_for(key, partitions)
    assert 0 <= first < partitions
    assert partition_for(bytes(bytearray(key)), partitions) == first
    assert (murmur2(key) & 0x7FFFFFFF) % partitions == first


def test_many_keys_spread_over_all_partitions() -> None:
    """Of 6,000 numbered keys every one of six partitions gets between 800 and 1,200."""
    counts = [0] * 6
    for number in range(6000):
        counts[partition_for(f"key-{number}".encode(), 6)] += 1
    assert min(counts) > 800
    assert max(counts) < 1200
