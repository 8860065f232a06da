"""What a queue writes at its leader, as the benchmark counts it."""

from __future__ import annotations

import pytest

from bench import queue_leader
from bench.queue_leader import Row


@pytest.mark.parametrize(
    ("row", "entries", "written"),
    [(Row(1, 16, False), 0.2, 130), (Row(100, 16, False), 0.4, 1.5), (Row(100, 16, True), 0.7, 40)],
)
async def test_a_delivery_writes_little(row: Row, entries: float, written: float) -> None:
    """Frames by turn of a worker, and bytes by record; each batch is decoded once."""
    cost = await queue_leader.measured(row, 3_000)
    assert cost.entries < entries
    assert cost.written < written
    assert cost.decoded == 1


async def test_many_delayed_records_are_read_in_pieces() -> None:
    """50,000 are 782 pairs, of which 125 are a piece."""
    read = await queue_leader.read(50_000)
    assert "50,000 delayed records read in" in read
