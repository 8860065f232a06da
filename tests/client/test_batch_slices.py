"""Slices of a batch are all of its records, in their order, and none is long."""

from __future__ import annotations

import msgspec
import pytest
from floodmark.errors import InvalidBatch
from floodmark.format import batch
from floodmark.format.batch_slices import SLICE_BYTES, SLICE_RECORDS, BatchSlices
from floodmark.format.record import Record
from hypothesis import given, settings
from hypothesis import strategies as st

sizes = st.lists(st.sampled_from([0, 1, 200, 30_000, SLICE_BYTES, 2 * SLICE_BYTES]), min_size=1, max_size=12)
PACK = msgspec.msgpack.Encoder()
HEADER = batch.decode_header(batch.encode([Record(0, None, b"")]))
"""Only its format matters."""


@settings(deadline=None)
@given(sizes=sizes, repeated=st.sampled_from([1, 90]), data=st.data())
def test_slices_are_the_records(sizes: list[int], repeated: int, data: st.DataObject) -> None:
    """From any record on, up to any."""
    records = [
        Record(number, None, bytes(size), pairs={"a": "b"} if number % 3 == 0 else None)
        for number, size in enumerate(sizes * repeated)
    ]
    slices = BatchSlices(PACK.encode(records), HEADER)
    begin = data.draw(st.integers(0, len(records)))
    end = data.draw(st.integers(begin, len(records) + 1))
    found: list[Record | None] = []
    while taken := slices.take(begin + len(found), end):
        assert len(taken) <= SLICE_RECORDS
        assert len(taken) == 1 or sum(len(PACK.encode(record)) for record in taken) <= SLICE_BYTES
        found += taken
    assert found == records[begin:end]


@pytest.mark.parametrize("count", [1, 2000])
def test_what_is_no_record_is_refused(count: int) -> None:
    """When the batch is looked at, or when the record is."""
    packed = PACK.encode([*[Record(1, None, b"")] * (count - 1), [1, None, "text"]])
    with pytest.raises(InvalidBatch, match="cannot be decoded"):
        BatchSlices(packed, HEADER).take(count - 1, count)
    with pytest.raises(InvalidBatch, match="cannot be decoded"):
        BatchSlices(packed[:-1], HEADER)
