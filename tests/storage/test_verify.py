"""The offline check: every bad frame is named, and replicas can be compared."""

from __future__ import annotations

from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from storage.state_file import Header, StateWriter
from storage.verify import verify, verify_replica
from storage.vote import VoteFile
from tests.storage.frames import FOLDER, damage_checkpoint, fill, last_segment, reopen, store


def test_a_sound_folder_has_no_findings_and_its_numbers_add_up() -> None:
    """Counts, bounds and sizes are those of the log."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 120, records=2)
    store(log, 3, records=0, term=2)
    log.checkpoint(b"", index=60)
    VoteFile(fs, FOLDER).save(2, "n1")
    (report,) = verify(fs, "/data")
    assert (report.path, report.findings, report.is_sound) == (FOLDER, [], True)
    assert (report.frames, report.records, report.size_bytes) == (123, 240, log.size_bytes)
    assert (report.base_index, report.last_index, report.last_term) == (2, 124, 2)
    assert (report.start_offset, report.next_offset, report.checkpoint_index) == (0, 240, 60)


def test_every_bad_frame_is_reported_with_its_place() -> None:
    """Three flipped bits, two of them in one segment: three findings, and all others are counted."""
    fs = MemoryFileSystem()
    store(reopen(fs), 120)
    path = f"{FOLDER}/{2:020d}.log"
    for frame in (3, 9):
        fs.flip_bit(path, 64 + frame * 104 + 70)
    fs.flip_bit(f"{FOLDER}/{40:020d}.log", 64 + 5)
    report = verify_replica(fs, FOLDER)
    bad = [(f.path, f.position, f.index) for f in report.findings if "CRC" in f.what or "header" in f.what]
    assert bad == [(path, 64 + 3 * 104, 5), (path, 64 + 9 * 104, 11), (f"{FOLDER}/{40:020d}.log", 64, 40)]
    assert not report.is_sound
    assert report.frames == 117


def test_what_a_crash_leaves_is_told_apart_from_damage() -> None:
    """A torn tail, a damaged index and checkpoint put themselves in order at the next start."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 100)
    log.checkpoint(b"")
    fill(log, 1)
    log.write()
    fs.flip_bit(last_segment(fs), len(fs.content(last_segment(fs))) - 1)
    fs.flip_bit(f"{FOLDER}/{2:020d}.idx", 70)
    damage_checkpoint(fs, 0, 1)
    report = verify_replica(fs, FOLDER)
    assert [finding.is_damage for finding in report.findings] == [False, False, False]
    assert report.is_sound


def test_missing_segments_lost_ends_and_lost_votes_are_damage() -> None:
    """What the next start would refuse, the check reports."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 150)
    log.checkpoint(b"")
    VoteFile(fs, FOLDER).save(2, "n1")
    names = [name for name in fs.listdir(FOLDER) if name.endswith(".log")]
    fs.unlink(f"{FOLDER}/{names[1]}")
    fs.unlink(f"{FOLDER}/{names[-1]}")
    fs.set_content(f"{FOLDER}/vote", b"")
    whats = [finding.what for finding in verify_replica(fs, FOLDER).findings if finding.is_damage]
    assert any("does not go on" in what for what in whats)
    assert any("the log ends at" in what for what in whats)
    assert any("vote" in what for what in whats)


def test_the_digest_is_equal_for_equal_frames_however_they_were_synced() -> None:
    """Replicas write at other times, in other segments; one other byte of payload changes it."""
    digests = []
    for chunks, size in (([100], 40), ([1] * 100, 40), ([99, 1], 40), ([100], 41)):
        fs = MemoryFileSystem()
        log = reopen(fs)
        for chunk in chunks:
            store(log, chunk, size=size)
        digests.append(verify_replica(fs, FOLDER).digest)
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_several_replicas_are_found_below_any_folder() -> None:
    """Other files are passed over."""
    fs = MemoryFileSystem()
    for group in (3, 5):
        fs.mkdir(f"/data/groups/{group}")
        VoteFile(fs, f"/data/groups/{group}")
    fs.open("/data/node.json", create=True)
    assert [report.path for report in verify(fs, "/data/")] == ["/data/groups/3", "/data/groups/5"]
    assert [report.path for report in verify(fs, "/data/groups/3")] == ["/data/groups/3"]


def test_a_damaged_state_file_is_named() -> None:
    """The offline check reads all of its blocks; a newer one is too new, and no damage."""
    fs = MemoryFileSystem()
    log = Log.open(fs, "g", LogOptions())
    log.close()
    writer = StateWriter(fs, "g/00000000000000000009.state", Header(1, 9, 1, 0))
    writer.append(b"a block")
    writer.sync()
    writer.close()
    assert verify_replica(fs, "g").findings == []
    fs.flip_bit("g/00000000000000000009.state", 75)
    [finding] = verify_replica(fs, "g").findings
    assert finding.is_damage
    assert "the state of the machine is damaged: the block at byte 64" in finding.what
