"""Packets in a stream of bytes."""

from __future__ import annotations

import random
import struct
import tracemalloc

import pytest

from consensus.links.framing import (
    BODY_BYTES_MAX,
    HEADER_BYTES_MAX,
    Beat,
    FramingError,
    PacketReader,
    pack_beat,
    unpack_beat,
)
from consensus.links.seal import BODY_COVERED_MAX, MARK_BYTES, Seal
from tests.consensus.link_nodes import sealed

KEY = b"the key of a connection"


def feed(reader: PacketReader, data: bytes, rng: random.Random, piece_max: int) -> list[tuple[bytes, bytes]]:
    """Give the reader a stream in pieces, as a socket does, and copy what it hands out."""
    found = []
    position = 0
    while position < len(data):
        room = reader.buffer()
        count = min(len(room), rng.randint(1, piece_max), len(data) - position)
        room[:count] = data[position : position + count]
        position += count
        found += [(bytes(header), bytes(body)) for header, body in reader.received(count)]
    return found


@pytest.mark.parametrize("piece_max", [7, 5_000, 1 << 20])
def test_packets_of_all_sizes_come_out_as_they_went_in(piece_max):
    """Whatever pieces the stream arrives in, and whether a packet fits the scratch buffer or not."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201
    rng = random.Random(seed)
    largest = 300 if piece_max == 7 else 700_000
    packets = [
        (rng.randbytes(rng.randint(1, 300)), rng.randbytes(rng.randint(0, largest))) for _ in range(60)
    ]
    packets += [(rng.randbytes(20), rng.randbytes(rng.randint(0, 100))) for _ in range(300)]
    seal = Seal(KEY)
    stream = b"".join(sealed(seal, header, body) for header, body in packets)
    assert feed(PacketReader(Seal(KEY)), stream, rng, piece_max) == packets


def test_large_packets_use_one_buffer_after_the_other_has_been_decoded():
    """Large packets are no new memory each; the few that are larger still leave none behind."""
    reader = PacketReader(Seal(KEY))
    buffers = []
    seal = Seal(KEY)
    for size in (1 << 20, 3 << 20, 6 << 20, 300_000):
        data = sealed(seal, b"h", random.Random(size).randbytes(size))
        position = 0
        packets = []
        while position < len(data):
            room = reader.buffer()
            count = min(len(room), len(data) - position)
            room[:count] = data[position : position + count]
            position += count
            packets += reader.received(count)
        [(_, body)] = packets
        assert body == data[9:-MARK_BYTES]
        buffers.append(body.obj)
    assert buffers[0] is buffers[1] is buffers[3]
    assert buffers[2] is not buffers[0]


def test_a_beat_is_a_packet_without_header():
    """It carries its number, the echo, a clock and a boot number."""
    head, beat = pack_beat(Beat(7, 9, -3, 1 << 63))
    data = head + beat + Seal(KEY).mark(head, (beat,), len(beat))
    [(header, body)] = feed(PacketReader(Seal(KEY)), data, random.Random(1), 100)
    assert header == b""
    assert unpack_beat(memoryview(body)) == Beat(7, 9, -3, 1 << 63)


@pytest.mark.parametrize(
    ("header", "body"), [(HEADER_BYTES_MAX + 1, 0), (1, BODY_BYTES_MAX + 1), (1, (1 << 32) - 1), (0, 5)]
)
def test_a_length_above_its_cap_is_refused_before_anything_is_allocated(header, body):
    """The prefix alone decides."""
    reader = PacketReader(Seal(KEY))
    reader.buffer()[:8] = struct.pack("<II", header, body)
    with pytest.raises(FramingError):
        reader.received(8)


def test_what_a_length_announces_is_not_held_before_it_comes():
    """Thirty-three megabytes are claimed and half of one comes."""
    tracemalloc.start()
    reader = PacketReader(Seal(KEY))
    feed(
        reader,
        struct.pack("<II", HEADER_BYTES_MAX, BODY_BYTES_MAX) + bytes(1 << 19),
        random.Random(1),
        1 << 16,
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 << 20


def test_large_bodies_are_not_covered_by_the_mark():
    """What is covered and what is not is a decision; this tells when it changes."""
    data = bytearray(sealed(Seal(KEY), b"h", bytes(BODY_COVERED_MAX + 1)))
    data[-MARK_BYTES - 1] ^= 1
    assert len(feed(PacketReader(Seal(KEY)), bytes(data), random.Random(1), 10_000)) == 1
