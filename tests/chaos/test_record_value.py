"""Records that tell what they are."""

from __future__ import annotations

import random

import pytest

from chaos.record_value import NUMBER_MAX, PRODUCER_MAX, RecordValue, decode, encode, name_of, value_id


def test_a_record_tells_who_wrote_it_and_where_to() -> None:
    """At any size, and at both ends of the numbers."""
    for producer, number in ((0, 0), (3, 17), (PRODUCER_MAX, NUMBER_MAX)):
        value = value_id(producer, number)
        assert 0 <= value < 1 << 63
        assert name_of(value) == f"{producer}.{number}"
        for size in (0, 40, 41, 500):
            data = encode(value, "a.b-c", 999, size_bytes=size)
            assert len(data) >= size
            assert decode(data) == RecordValue(value, "a.b-c", 999)


@pytest.mark.parametrize("seed", range(5))
def test_any_changed_byte_is_noticed_or_makes_another_record(seed: int) -> None:
    """No damage passes for the record that was written."""
    chance = random.Random(seed)
    data = encode(value_id(3, 17), "orders", 0, size_bytes=100)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << chance.randrange(8)
        assert decode(bytes(changed)) != decode(data)
    assert decode(b"") is None
    assert decode(b"9999999.1@t/0|") is None
    assert decode(encode(value_id(3, 17), "orders", 0) + b"3.18") is None
