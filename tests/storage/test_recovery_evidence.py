"""What counts as evidence that a bad frame had been durable, and what does not."""

from __future__ import annotations

from floodmark.format.frame import Frame, FrameKind, crc_of

from storage.errors import LogCorrupt
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from storage.segment_header import HEADER_BYTES
from tests.storage.frames import FOLDER, all_frames, fill, last_segment, make_frame, reopen, store
from tests.storage.test_recovery import BIG, position_of, refused


def test_a_damaged_mark_is_harmless() -> None:
    """It is only ever evidence, and only with a valid checksum."""
    fs = MemoryFileSystem()
    log = reopen(fs, BIG)
    store(log, 4)
    store(log, 4)
    fs.set_content(f"{FOLDER}/synced", fs.content(f"{FOLDER}/synced").ljust(1024, b"\0"))
    before = fs.content(f"{FOLDER}/synced")
    for byte in range(1024):
        fs.flip_bit(f"{FOLDER}/synced", byte, byte % 8)
        assert reopen(fs, BIG).last_index == 9
        fs.set_content(f"{FOLDER}/synced", before)


def test_a_record_that_looks_like_a_frame_is_no_evidence() -> None:
    """A producer may store the image of a frame; a torn tail with it inside is still torn."""
    fs = MemoryFileSystem()
    log = reopen(fs, BIG)
    store(log, 2)
    image = Frame(10**9, 1, 0, 0, 1, FrameKind.RECORDS, b"", crc_of(b"")).pack_header(synced=10**6)
    frame = make_frame(log)
    log.append(Frame(frame.index, 1, frame.first_offset, 0, 1, FrameKind.RECORDS, image, crc_of(image)))
    fill(log, 1)
    log.write()
    fs.flip_bit(last_segment(fs), position_of(2))
    assert reopen(fs, BIG).last_index == 3


def test_the_image_of_a_frame_does_not_raise_the_last_known_index() -> None:
    """Otherwise a producer could keep a repaired replica from ever voting again."""
    fs = MemoryFileSystem()
    log = reopen(fs, BIG)
    store(log, 2)
    image = Frame(10**9, 1, 0, 0, 1, FrameKind.RECORDS, b"", crc_of(b"")).pack_header(synced=10**6)
    frame = make_frame(log)
    log.append(Frame(frame.index, 1, frame.first_offset, 0, 1, FrameKind.RECORDS, image, crc_of(image)))
    log.write()
    log.sync()
    store(log, 1)
    fs.flip_bit(last_segment(fs), position_of(0))
    assert refused(fs).last_known_index == 5


def test_evidence_is_found_far_behind_the_damage_and_across_read_chunks() -> None:
    """Two megabytes of garbage lie between the bad frame and the one that proves it was durable."""
    for shift in range(-3, 68, 7):
        fs = MemoryFileSystem()
        options = LogOptions(segment_bytes=8 << 20)
        log = reopen(fs, options)
        store(log, 1, size=(1 << 20) - 64 + shift)
        store(log, 1)
        path = last_segment(fs)
        fs.set_content(f"{FOLDER}/synced", b"")
        fs.flip_bit(path, HEADER_BYTES + 9)
        assert refused(fs, options).first_bad_index == 2


def test_every_single_flipped_bit_is_harmless_or_refused_but_never_silent() -> None:
    """Every byte of a small log of three synced writes, its index and its checkpoint, one bit at a time.

    All frames but those of the last write are provably durable by what follows; those of the last one by
    the synced mark.
    """
    fs = MemoryFileSystem()
    log = reopen(fs)
    for _ in range(3):
        store(log, 20, size=30)
    log.checkpoint(b"some state", index=30)
    frames = all_frames(log)
    outcomes = {"harmless": 0, "refused": 0}
    for name in fs.listdir(FOLDER):
        path = f"{FOLDER}/{name}"
        for position in range(len(fs.content(path))):
            fs.flip_bit(path, position, position % 8)
            outcome = _open_and_read(fs, frames)
            outcomes[outcome] += 1
            if not name.endswith(".log"):
                assert outcome == "harmless", (name, position)
            fs.flip_bit(path, position, position % 8)
    assert min(outcomes.values()) > 500


def _open_and_read(fs: MemoryFileSystem, frames: list[Frame]) -> str:
    before = {name: fs.content(f"{FOLDER}/{name}") for name in fs.listdir(FOLDER) if name.endswith(".log")}
    try:
        log = reopen(fs)
        assert log.last_index == frames[-1].index
        assert all_frames(log) == frames
        log.close()
    except LogCorrupt:
        assert {name: fs.content(f"{FOLDER}/{name}") for name in before} == before
        return "refused"
    return "harmless"
