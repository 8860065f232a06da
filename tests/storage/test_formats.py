"""The codecs of segment header, checkpoint and index: what goes in comes out, and damage is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import checkpoint, segment_header
from storage.checkpoint import Checkpoint
from storage.options import LogOptions
from storage.segment_header import SegmentHeader
from storage.sparse_index import SparseIndex

U64 = st.integers(0, 2**64 - 1)


@given(U64, U64, U64, U64)
def test_a_segment_header_survives_the_round_trip(index: int, term: int, offset: int, position: int) -> None:
    """64 bytes, and any damaged byte makes it none."""
    header = SegmentHeader(index, term, offset, position)
    data = header.encode()
    assert len(data) == 64
    assert segment_header.decode(data) == header
    for byte in range(64):
        assert segment_header.decode(data[:byte] + bytes([data[byte] ^ 16]) + data[byte + 1 :]) is None
    assert segment_header.decode(data[:63]) is None


@given(U64, U64, U64, U64, st.binary(max_size=200), st.booleans())
def test_a_checkpoint_survives_the_round_trip(
    position: int, index: int, term: int, offset: int, state: bytes, resetting: bool
) -> None:
    """With any state; a copy that is cut or changed is none, and the other one still counts."""
    one = Checkpoint(position, index, term, offset, state, resetting)
    data = one.encode()
    assert checkpoint.decode(data) == (one, True)
    size, second = checkpoint.HEADER_BYTES + len(state), len(data) // 2
    assert second % 4096 == 0
    for at in range(size):
        assert checkpoint.decode(data[:at]).checkpoint is None
        broken = bytearray(data)
        for copy in (second, 0):
            broken[copy + at] ^= 1
            assert checkpoint.decode(bytes(broken)) == (one if copy else None, False)
            if copy:
                mirrored = bytes(broken[copy:] + broken[:copy])
                assert checkpoint.decode(mirrored) == (one, False)


@pytest.mark.parametrize("length", [4039, 4040, 4041, 10_000])
def test_the_copies_of_a_checkpoint_share_no_sector(length: int) -> None:
    """Any one sector of 4 KiB may go bad, also with a state that fills its last one."""
    one = Checkpoint(1, 2, 3, 4, b"s" * length)
    data = one.encode()
    for sector in range(0, len(data), 4096):
        assert checkpoint.decode(data[:sector] + bytes(4096) + data[sector + 4096 :]).checkpoint == one


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(64, 400), st.integers(-5, 50)), max_size=60))
def test_a_sparse_index_leads_to_at_or_before_every_frame(frames: list[tuple[int, int, int]]) -> None:
    """By index, by offset, by time; also after it was stored, and after a cut."""
    index, where, offset = SparseIndex(10, 300), [], 5
    for number, (records, size, time) in enumerate(frames):
        where.append((10 + number, offset, index.covered, time))
        index.add(10 + number, offset, size, time, 0)
        offset += records
    data = index.encode()
    stored = SparseIndex.decode(data, base_index=10, size=index.covered, interval_bytes=300)
    assert stored is not None
    assert stored.encode() == data
    assert SparseIndex.decode(data, base_index=11, size=index.covered, interval_bytes=300) is None
    assert SparseIndex.decode(data, base_index=10, size=index.covered - 1, interval_bytes=300) is None
    for at in range(len(data)):
        broken = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert SparseIndex.decode(broken, base_index=10, size=2**40, interval_bytes=300) is None
    for number, (index_of_frame, first_offset, position, time) in enumerate(where):
        found = [stored.at_index(index_of_frame)]
        if frames[number][0]:
            found.append(stored.at_offset(first_offset))
        for entry_index, at in found:
            assert (entry_index, at) in [(w[0], w[2]) for w in where]
            assert position - 700 < at <= position
        assert stored.at_time(time)[1] <= position
    if where:
        cut_at = where[len(where) // 2][2]
        stored.cut(cut_at)
        assert stored.covered <= cut_at
        assert stored.last_index + 1 == next((w[0] for w in where if w[2] == stored.covered), 10)


def test_file_names_are_twenty_digits() -> None:
    """And nothing else in a folder is taken for a segment."""
    assert segment_header.file_name(42) == "00000000000000000042.log"
    assert segment_header.base_index_of("00000000000000000042.log") == 42
    for name in ("42.log", "00000000000000000042.idx", "vote", "0000000000000000004x.log", ".log"):
        assert segment_header.base_index_of(name) is None


def test_options_that_make_no_sense_are_refused() -> None:
    """Limits are checked where they are made."""
    for wrong in (
        {"segment_bytes": 10},
        {"index_interval_bytes": 0},
        {"open_files_max": 0},
        {"tail_bytes_max": -1},
        {"quarantine_files_max": 0},
    ):
        with pytest.raises(ValueError, match=r"is at least|are at least|is not negative"):
            LogOptions(**wrong)
