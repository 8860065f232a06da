"""What only a newer build can read is refused by name, and not one byte of the folder changes."""

from __future__ import annotations

import random
from typing import Any

import google_crc32c
import pytest
from floodmark.format import batch
from floodmark.format.frame import LEVEL, Frame, crc_of
from floodmark.format.record import Record
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from node.replicas.replica_store import ReplicaStore
from storage import checkpoint as checkpoints
from storage import synced_mark
from storage.errors import LogCorrupt, LogTooNew
from storage.filesystem import FileSystem, write_all
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.state_file import Header
from storage.verify import Finding, verify_replica
from storage.vote import VoteFile
from tests.storage.frames import FOLDER, SMALL, last_segment, make_frame, reopen, store

STRANGE: list[dict[str, Any]] = [{"level": LEVEL + 1}, {"kind": 9}, {"payload_type": 9}, {"flags": 0x40}]


def contents(fs: FileSystem, folder: str = FOLDER) -> dict[str, bytes]:
    """Every file of the replica, those in quarantine too."""
    found = {}
    for name in fs.listdir(folder):
        path = f"{folder}/{name}"
        if name == "quarantine":
            found |= contents(fs, path)
            continue
        file = fs.open(path)
        found[path] = file.pread(file.size(), 0)
        file.close()
    return found


def at_end(fs: MemoryFileSystem, *frames: bytes) -> None:
    """Write bytes behind the last segment's."""
    path = last_segment(fs)
    file = fs.open(path)
    write_all(file, frames, file.size())
    file.sync()
    file.close()


def packed(frame: Frame, synced: int = 0) -> bytes:
    """As it lies in a segment."""
    return frame.pack_header(synced) + frame.payload


def life(count: int = 12, size: int = 40) -> tuple[MemoryFileSystem, Frame]:
    """A closed log, and a frame that would come next."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, count, size=size)
    following = make_frame(log)
    log.close()
    return fs, following


def refused(fs: MemoryFileSystem, match: str) -> None:
    """Opening and repairing are refused by name, and change nothing."""
    before = contents(fs)
    with pytest.raises(LogTooNew, match=match):
        reopen(fs)
    with pytest.raises(LogTooNew, match=match):
        Log.repair(fs, FOLDER, SMALL, keep_before=2)
    assert contents(fs) == before


@pytest.mark.parametrize("strange", STRANGE)
def test_a_frame_at_the_end_is_not_cut(strange: dict[str, Any]) -> None:
    """It is the last one; a start took such for a torn write."""
    fs, following = life()
    at_end(fs, packed(replace(following, **strange)))
    refused(fs, f"^frame 14 of {last_segment(fs)} .* this build knows .*: start a newer Floodmark$")


@pytest.mark.parametrize("strange", STRANGE)
def test_a_frame_in_the_middle_is_no_corruption(strange: dict[str, Any]) -> None:
    """Known frames, synced ones too, stand behind it: nothing is moved aside."""
    fs, following = life()
    first = replace(following, **strange)
    at_end(fs, packed(first), packed(make_frame(first), synced=1 << 10))
    refused(fs, "^frame 14 of ")


def test_a_torn_frame_of_a_newer_build_is_not_cut_either() -> None:
    """Its header alone says it; and so where a bad frame stands before it."""
    fs, following = life()
    strange = replace(following, level=LEVEL + 1)
    at_end(fs, packed(strange)[:-10])
    refused(fs, "^frame 14 of ")
    fs, following = life()
    behind = replace(make_frame(following), level=LEVEL + 1)
    at_end(fs, packed(following)[:-1] + b"?", packed(behind))
    refused(fs, "^frame 15 of ")


def test_a_sealed_segment_with_damage_is_not_moved_where_newer_frames_stand_behind() -> None:
    """The damage alone would be set aside, and what stands behind it with it."""
    fs, following = life(200)
    segments = [name for name in fs.listdir(FOLDER) if name.endswith(".log")]
    assert len(segments) > 2
    at_end(fs, packed(replace(following, level=LEVEL + 1)))
    fs.flip_bit(f"{FOLDER}/{segments[0]}", 64 + 70)
    before = contents(fs)
    with pytest.raises(LogCorrupt) as caught:
        reopen(fs)
    for repair in (Log.check_repairable, Log.repair):
        with pytest.raises(LogTooNew, match=f"^frame {following.index} of "):
            repair(fs, FOLDER, SMALL, keep_before=caught.value.first_bad_index)  # type: ignore[operator]
    assert contents(fs) == before


def below_checkpoint() -> tuple[MemoryFileSystem, int]:
    """A log that opens, for the frame of a newer build in it lies before the checkpoint; and its index."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 20)
    middle = log.frame(11)
    segment, position, _header = log._reader.header(11)
    path = segment.path
    store(log, 200)
    log.checkpoint(b"state")
    log.close()
    file = fs.open(path)
    write_all(file, [replace(middle, level=LEVEL + 1).pack_header()], position)
    file.sync()
    file.close()
    for name in fs.listdir(FOLDER):
        if name.endswith(".idx"):
            fs.unlink(f"{FOLDER}/{name}")
    return fs, 11


def test_whoever_reads_one_is_told_so() -> None:
    """By index, by offset, by time, in bulk, by what would mend; an index made anew passes nothing over."""
    fs, index = below_checkpoint()
    log = reopen(fs)
    before = contents(fs)
    for read in (
        lambda: log.frame(index),
        lambda: list(log.frames(index - 2, index + 2)),
        lambda: log.read(index - 4, end_offset=100, max_bytes=1 << 20),
        lambda: log.read(index - 2, end_offset=100, max_bytes=1 << 20),
        lambda: log.index_at_offset(index - 2),
        lambda: log.offset_at_time(1),
        lambda: log.wound(index),
    ):
        with pytest.raises(LogTooNew, match=f"^frame {index} of {FOLDER}/.* needs feature level {LEVEL + 1}"):
            read()
    assert log.damage is None
    assert contents(fs) == before


@pytest.mark.parametrize("strange", STRANGE)
def test_a_read_in_bulk_hands_none_out(strange: dict[str, Any]) -> None:
    """Between frames that any build can read, in a segment whose index is in memory."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 20)
    segment, position, header = log._reader.header(11)
    assert log.read(0, end_offset=9, max_bytes=1 << 20).frames
    file = fs.open(segment.path)
    write_all(file, [replace(log.frame(11), **strange).pack_header(header.synced)], position)
    with pytest.raises(LogTooNew, match=r"^frame 11 of "):
        log.read(0, end_offset=20, max_bytes=1 << 20)


@pytest.mark.parametrize("strange", STRANGE)
def test_verify_calls_it_too_new_and_goes_on(strange: dict[str, Any]) -> None:
    """What stands behind it is checked as well, and counted; nothing is damage."""
    fs, following = life()
    first = replace(following, **strange)
    at_end(fs, packed(first), packed(make_frame(first)))
    report = verify_replica(fs, FOLDER)
    (finding,) = report.findings
    assert (finding.index, finding.is_damage, finding.is_too_new) == (14, False, True)
    assert finding.what.endswith(": start a newer Floodmark")
    assert (report.is_sound, report.is_too_new, report.last_index) == (True, True, 15)


def test_verify_tells_a_torn_one_from_a_torn_write() -> None:
    """A start would not cut it, and nobody is told that it would."""
    fs, following = life()
    at_end(fs, packed(replace(following, level=LEVEL + 1))[:-10])
    (finding,) = verify_replica(fs, FOLDER).findings
    assert isinstance(finding, Finding)
    assert finding.is_too_new
    assert "torn" not in finding.what


def test_an_image_in_a_record_is_no_frame() -> None:
    """A torn record that holds headers of a newer build which could not stand there is cut as ever."""
    fs, following = life()
    image = replace(following, index=3, level=LEVEL + 1).pack_header()
    far = replace(following, index=1000, level=LEVEL + 1).pack_header()
    later = following.pack_header(0)[:20] + b"torn" + image + far
    at_end(fs, later)
    log = reopen(fs)
    assert log.last_index == 13
    log.close()


@given(st.integers(0, 2**32 - 1))
def test_a_log_with_one_strange_frame_anywhere_opens_nowhere(seed: int) -> None:
    """Any place behind the checkpoint, any unknown byte, whether the mark is there or not."""
    rng = random.Random(seed)
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, rng.randint(1, 30), size=rng.choice((10, 300)))
    if rng.random() < 0.5:
        log.checkpoint(b"x")
    frame = make_frame(log)
    log.close()
    strange = {rng.choice(("payload_type", "flags")): rng.randint(16, 255)}
    if rng.random() < 0.3:
        strange = rng.choice(({"level": rng.randint(LEVEL + 1, 255)}, {"kind": rng.randint(9, 255)}))
    frame = replace(frame, **strange)
    tail = packed(frame)
    for _ in range(rng.randint(0, 3)):
        frame = make_frame(frame)
        tail += packed(frame, synced=rng.choice((0, 100)))
    if rng.random() < 0.3:
        tail = tail[: max(64, len(tail) - rng.randint(0, 80))]
    at_end(fs, tail)
    if rng.random() < 0.3:
        fs.unlink(f"{FOLDER}/{synced_mark.NAME}")
    if rng.random() < 0.3 and fs.exists(f"{FOLDER}/{checkpoints.NAME}"):
        fs.unlink(f"{FOLDER}/{checkpoints.NAME}")
    before = contents(fs)
    with pytest.raises(LogTooNew):
        reopen(fs)
    assert contents(fs) == before, seed


def rewritten(fs: MemoryFileSystem, name: str, *changes: tuple[int, bytes], crc: tuple[int, ...]) -> None:
    """Change bytes of a file; ``crc`` has the beginning and end of each part with a checksum."""
    path = f"{FOLDER}/{name}"
    data = bytearray(fs.content(path))
    for position, value in changes:
        data[position : position + len(value)] = value
    for at, end in zip(crc[::2], crc[1::2], strict=True):
        magic = b"" if data[at + 3 : at + 4] == b"1" else bytes(data[at : at + 4])
        value = google_crc32c.extend(google_crc32c.value(magic), bytes(data[at + 8 : end]))
        data[at + 4 : at + 8] = value.to_bytes(4, "little")
    fs.set_content(path, bytes(data))


def whole() -> MemoryFileSystem:
    """A closed replica with all its files, of more than one segment, trimmed."""
    fs = MemoryFileSystem()
    VoteFile(fs, FOLDER).close()
    log = reopen(fs)
    store(log, 200)
    log.checkpoint(b"state")
    log.truncate_head(before_index=60)
    store(log, 3)
    log.close()
    return fs


def strange_file(fs: MemoryFileSystem, what: str) -> None:
    """Make one file of the replica one of a newer build."""
    half = fs.size(f"{FOLDER}/checkpoint") // 2 if fs.exists(f"{FOLDER}/checkpoint") else 0
    segments = [name for name in fs.listdir(FOLDER) if name.endswith(".log")]
    state = 56 + 5
    match what:
        case "first segment":
            rewritten(fs, segments[0], (8, b"\3"), crc=(0, 64))
        case "last segment":
            rewritten(fs, segments[-1], (8, b"\3"), crc=(0, 64))
        case "segment's reserved bytes":
            rewritten(fs, segments[1], (50, b"\1"), crc=(0, 64))
        case "checkpoint":
            rewritten(fs, "checkpoint", (9, b"\1"), (half + 9, b"\1"), crc=(0, state, half, half + state))
        case "one copy of the checkpoint":
            rewritten(fs, "checkpoint", (half + 12, b"\1"), crc=(half, half + state))
        case "checkpoint's flags":
            rewritten(fs, "checkpoint", (8, b"\4"), (half + 8, b"\4"), crc=(0, state, half, half + state))
        case "vote":
            rewritten(fs, "vote", (3, b"2"), (4099, b"2"), crc=(0, 512, 4096, 4608))
        case "mark":
            rewritten(fs, "synced", (3, b"2"), (515, b"2"), crc=(0, 32, 512, 544))


FILES = [
    "first segment",
    "last segment",
    "segment's reserved bytes",
    "checkpoint",
    "one copy of the checkpoint",
    "checkpoint's flags",
    "vote",
    "mark",
]


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("damaged", [False, True], ids=["sound", "damaged too"])
def test_a_file_of_a_newer_build_keeps_the_replica_closed(what: str, damaged: bool) -> None:
    """Whatever file it is, and whatever else is bad or missing: no vote is given up, nothing is set aside."""
    fs = whole()
    if damaged and what != "vote":
        fs.set_content(f"{FOLDER}/vote", bytes(fs.size(f"{FOLDER}/vote")))
    elif damaged:
        for name in ("checkpoint", "synced"):
            fs.unlink(f"{FOLDER}/{name}")
    strange_file(fs, what)
    before = contents(fs)
    store_of = ReplicaStore(fs, FOLDER.rpartition("/groups/")[0])
    for damage in (None, _beyond_mending()):
        with pytest.raises(LogTooNew, match=f"^.*{FOLDER}.*: start a newer Floodmark$") as caught:
            store_of.open(7, SMALL, known=True, wiped=False, damage=damage)
        assert "this build knows" in str(caught.value)
        assert contents(fs) == before
    report = verify_replica(fs, FOLDER)
    found = [finding for finding in report.findings if finding.is_too_new]
    assert [finding.what for finding in found] == [str(caught.value)]
    assert report.is_sound or damaged
    assert contents(fs) == before


@pytest.mark.parametrize("what", FILES)
def test_a_missing_vote_does_not_make_such_a_replica_lost(what: str) -> None:
    """It would start without a vote, and with a vote file of this build."""
    fs = whole()
    strange_file(fs, what)
    if what == "vote":
        for name in [name for name in fs.listdir(FOLDER) if name.endswith(".log")]:
            fs.unlink(f"{FOLDER}/{name}")
    else:
        fs.unlink(f"{FOLDER}/vote")
    before = contents(fs)
    with pytest.raises(LogTooNew):
        ReplicaStore(fs, FOLDER.rpartition("/groups/")[0]).open(7, SMALL, known=True, wiped=False)
    assert contents(fs) == before


@pytest.mark.parametrize("copy", [8192, 12288])
def test_an_older_vote_does_not_stand_in_for_one_of_a_newer_build(copy: int) -> None:
    """The copies of the version before are whole, and one of the newest is enough to tell."""
    fs = MemoryFileSystem()
    votes = VoteFile(fs, FOLDER)
    votes.save(5, "n2")
    votes.close()
    rewritten(fs, "vote", (copy + 3, b"2"), crc=(copy, copy + 512))
    before = contents(fs)
    with pytest.raises(LogTooNew, match="vote has format FMV2, this build knows FMV1"):
        VoteFile(fs, FOLDER)
    assert contents(fs) == before


def _beyond_mending() -> LogCorrupt:
    error = LogCorrupt("bad", path="", position=0, first_bad_index=70, last_known_index=100)
    error.is_beyond_mending = True
    return error


@pytest.mark.parametrize(("name", "at", "end"), [("vote", 0, 512), ("synced", 0, 32)])
def test_a_flipped_bit_in_a_magic_makes_no_newer_version(name: str, at: int, end: int) -> None:
    """The other copy counts, as ever."""
    for bit in range(8):
        fs = whole()
        fs.flip_bit(f"{FOLDER}/{name}", at + 3, bit)
        VoteFile(fs, FOLDER).close()
        reopen(fs).close()


def test_a_batch_of_a_newer_build_in_a_known_frame_is_too_new() -> None:
    """A frame that a newer build did not label: its payload's checksum is right, so it is no damage."""
    fs, following = life()
    payload = bytearray(batch.encode([Record(1, None, b"x")]))
    payload[12] = 7
    strange = replace(following, payload=bytes(payload), payload_crc=crc_of(bytes(payload)))
    at_end(fs, packed(strange))
    refused(fs, r"^frame 14 of .* holds a record batch that has codec 7, this build knows 0 and 1")
    (finding,) = verify_replica(fs, FOLDER).findings
    assert finding.is_too_new


def test_a_state_file_of_a_newer_build_keeps_its_replica_from_being_set_aside() -> None:
    """And so does the log that goes on from it: neither is moved, cut or removed."""
    fs, _ = life()
    good = Header(1, 9, 1, 0).encode()
    rest = (2).to_bytes(4, "little") + good[12:]
    newer = good[:4] + google_crc32c.value(rest).to_bytes(4, "little") + rest
    fs.set_content(f"{FOLDER}/00000000000000000009.state", newer)
    before = contents(fs)
    with pytest.raises(LogTooNew, match=r"00000000000000000009.state has version 2, this build knows"):
        Log.repair(fs, FOLDER, SMALL, keep_before=0)
    assert contents(fs) == before
    [finding] = verify_replica(fs, FOLDER).findings
    assert finding.is_too_new
