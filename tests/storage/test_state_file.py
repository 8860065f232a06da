"""State files: what was written comes back, and nothing else is ever taken for it."""

from __future__ import annotations

import random
import struct

import google_crc32c
import pytest

from storage.errors import LogTooNew
from storage.memory_filesystem import MemoryFileSystem
from storage.state_file import (
    BLOCK_BYTES_MAX,
    READ_BYTES,
    BadState,
    Header,
    StateWriter,
    check,
    decode_header,
    read_blocks,
    read_chunk,
)

HEADER = Header(id=7, index=12, term=3, offset=40)


def _written(fs: MemoryFileSystem, blocks: list[bytes], header: Header = HEADER, path: str = "g/s") -> int:
    fs.mkdir("g")
    writer = StateWriter(fs, path, header)
    for block in blocks:
        writer.append(block)
    writer.sync()
    writer.close()
    assert writer.crc == google_crc32c.value(fs.content(path))
    return writer.length


def _blocks(fs: MemoryFileSystem, end: int, path: str = "g/s") -> list[bytes]:
    return [bytes(block) for _, _, blocks in read_blocks(fs.open(path), end) for block in blocks]


def test_blocks_come_back_in_order_whatever_their_size() -> None:
    """Small ones share a read, one that is larger than a read comes alone."""
    rng = random.Random(1)
    fs = MemoryFileSystem()
    sizes = [1, 100, READ_BYTES - 8, READ_BYTES, BLOCK_BYTES_MAX, 5, *rng.choices(range(1, 100_000), k=40)]
    blocks = [rng.randbytes(size) for size in sizes]
    end = _written(fs, blocks)
    assert _blocks(fs, end) == blocks
    assert decode_header(fs.content("g/s"), "it") == HEADER


def test_an_empty_state_is_a_header() -> None:
    """No block at all."""
    fs = MemoryFileSystem()
    assert _blocks(fs, _written(fs, [])) == []


def test_any_bit_that_flips_is_noticed() -> None:
    """In header, lengths, checksums and blocks."""
    content = [b"one", b"the second block", b"3" * 50]
    fs = MemoryFileSystem()
    end = _written(fs, content)
    for position in range(end):
        for bit in range(8):
            fs.flip_bit("g/s", position, bit)
            with pytest.raises((BadState, LogTooNew)):
                _blocks(fs, end)
            fs.flip_bit("g/s", position, bit)
    assert _blocks(fs, end) == content


def test_a_file_that_ends_early_is_noticed() -> None:
    """At any byte but the true end, block boundaries among them."""
    fs = MemoryFileSystem()
    end = _written(fs, [b"one", b"two", b"three"])
    whole = fs.content("g/s")
    for size in range(end):
        fs.set_content("g/s", whole[:size])
        with pytest.raises(BadState):
            _blocks(fs, end)


def test_a_block_of_another_file_or_place_is_none() -> None:
    """As a disk may hold where a write was lost: the bytes of before."""
    fs = MemoryFileSystem()
    end = _written(fs, [b"one", b"two"])
    _written(fs, [b"one", b"two"], Header(8, 12, 3, 40), "g/other")
    mine, other = fs.content("g/s"), fs.content("g/other")
    fs.set_content("g/s", mine[:75] + other[75:])
    with pytest.raises(BadState, match="damaged"):
        _blocks(fs, end)
    fs.set_content("g/s", mine[:64] + mine[75:86] + mine[64:75])
    with pytest.raises(BadState, match="damaged"):
        _blocks(fs, end)


def test_chunks_are_whole_blocks_that_check_by_themselves() -> None:
    """So they can be sent, checked and written one after the other."""
    rng = random.Random(2)
    fs = MemoryFileSystem()
    blocks = [rng.randbytes(rng.randint(1, 90_000)) for _ in range(60)]
    end = _written(fs, blocks)
    file, position, seen = fs.open("g/s"), 0, []
    while position < end:
        raw = read_chunk(file, position, end)
        assert 0 < len(raw) <= READ_BYTES
        seen += [bytes(block) for block in check(raw, position, HEADER.id)]
        with pytest.raises(BadState):
            check(raw, position, HEADER.id + 1)
        position += len(raw)
    assert seen == blocks


def test_what_a_newer_build_wrote_is_too_new() -> None:
    """Also where it uses what is reserved."""
    for change in (struct.pack("<I", 2) + bytes(4), struct.pack("<II", 1, 9)):
        rest = change + HEADER.encode()[16:]
        data = b"FMM1" + struct.pack("<I", google_crc32c.value(rest)) + rest
        with pytest.raises(LogTooNew, match="this build knows version 1"):
            decode_header(data, "it")
