"""Checking a data folder from the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from floodmark.format import batch
from floodmark.format.frame import LEVEL, Frame, FrameKind, crc_of, decode_header
from floodmark.format.record import Record
from msgspec.structs import replace

from storage.filesystem import RealFileSystem
from storage.log import Log
from storage.options import LogOptions
from storage.vote import VoteFile
from tests.cli.conftest import Invoke
from tests.support.compaction import compact


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with one replica of three frames, ten records in each."""
    folder = tmp_path / "data" / "n1" / "group"
    folder.parent.mkdir(parents=True)
    log = Log.open(RealFileSystem(), str(folder), LogOptions())
    payload = batch.encode([Record(timestamp=1, key=None, value=b"x" * 100) for _ in range(10)])
    for number in range(3):
        log.append(
            Frame(
                index=number + 2,
                term=1,
                first_offset=number * 10,
                append_time=1,
                offset_count=10,
                kind=FrameKind.RECORDS,
                payload=payload,
                payload_crc=crc_of(payload),
            )
        )
        log.write()
        log.sync()
    log.close()
    return tmp_path / "data"


def test_a_sound_folder(invoke: Invoke, data: Path) -> None:
    """Exit code 0, and what it holds."""
    result = invoke("verify", data, "-o", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    (replica,) = json.loads(result.stdout)["replicas"]
    assert (replica["sound"], replica["frames"], replica["records"], replica["next_offset"]) == (
        True,
        3,
        30,
        30,
    )
    assert invoke("verify", data, "-o", "name").stdout == f"{data}/n1/group\n"


def test_a_flipped_bit_is_named(invoke: Invoke, data: Path) -> None:
    """Exit code 1; the file and the place on stderr, the report on stdout all the same."""
    (segment,) = (data / "n1" / "group").glob("*.log")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    result = invoke("verify", data, "-o", "jsonl")
    assert result.exit_code == 1
    assert f"damage: {segment} at byte " in result.stderr
    assert result.stderr.endswith("error: 1 of 1 replicas are damaged\n")
    assert json.loads(result.stdout)["sound"] is False


def test_what_needs_a_newer_build_is_no_damage(invoke: Invoke, data: Path) -> None:
    """An exit code and a word of its own; repairing votes leaves the folder alone."""
    (segment,) = (data / "n1" / "group").glob("*.log")
    content = bytearray(segment.read_bytes())
    header = decode_header(content, 64)
    assert header is not None
    size = header.size
    content[64 + size : 64 + 2 * size] = bytes(size)
    frame = header.with_payload(bytes(content[128 : 64 + size]))
    frame = replace(frame, index=3, first_offset=10, level=LEVEL + 1)
    content[64 + size : 64 + 2 * size] = frame.pack_header() + frame.payload
    segment.write_bytes(content)
    VoteFile(RealFileSystem(), str(segment.parent)).close()
    before = {path: path.read_bytes() for path in segment.parent.iterdir()}
    result = invoke("verify", data, "-o", "jsonl")
    assert result.exit_code == 7
    reason = f"frame 3 needs feature level {LEVEL + 1}, this build knows {LEVEL}: start a newer Floodmark"
    assert result.stderr.startswith(f"too new: {segment} at byte {64 + size}: {reason}\n")
    assert "error: 1 of 1 replicas need a newer Floodmark" in result.stderr
    replica = json.loads(result.stdout)
    assert (replica["sound"], replica["too_new"], replica["frames"]) == (True, True, 3)
    result = invoke("repair-votes", data)
    assert result.exit_code == 1
    assert f"{reason}; nothing was changed" in result.stderr
    assert {path: path.read_bytes() for path in segment.parent.iterdir()} == before


def test_a_folder_without_replicas(invoke: Invoke, tmp_path: Path) -> None:
    """Exit code 3: nothing was checked, so nothing is fine. A folder that is not there is a usage error."""
    assert invoke("verify", tmp_path).exit_code == 3
    assert invoke("verify", tmp_path / "nowhere").exit_code == 2


def test_links_are_followed_once(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    """Links in a circle end; a replica that lies elsewhere is found, and only once."""
    elsewhere = tmp_path / "elsewhere"
    (data / "n1" / "group").rename(elsewhere)
    (data / "n1" / "group").symlink_to(elsewhere)
    (data / "again").symlink_to(elsewhere)
    for name in ("up", "round"):
        (data / "n1" / name).symlink_to(data)
        (data / name).symlink_to(data / "n1")
    (data / "self").symlink_to(data / "self")
    (data / "nowhere").symlink_to(data / "nothing")
    result = invoke("verify", data, "-o", "jsonl")
    assert len([line for line in result.stdout.splitlines() if json.loads(line)["records"] == 30]) == 1


@pytest.mark.parametrize("name", ["00000000000000000099.log", "vote", "checkpoint"])
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_a_finding(name: str, kind: str, invoke: Invoke, data: Path) -> None:
    """Under a name that a file should have: it is told, and does not end or hold up the check."""
    (segment,) = (data / "n1" / "group").glob("*.log")
    odd = segment.with_name(name if name != "00000000000000000099.log" else "9" * len(segment.stem) + ".log")
    odd.unlink(missing_ok=True)
    if kind == "folder":
        odd.mkdir()
    else:
        os.mkfifo(odd)
    result = invoke("verify", data, "-o", "jsonl")
    assert result.exit_code == 1
    assert f"damage: {odd} at byte 0: it cannot be read: " in result.stderr or (
        f"damage: {odd.parent} at byte 0: its files cannot be read: " in result.stderr
    )


def test_replicas_of_a_group_are_compared_where_that_is_asked_for(invoke: Invoke, tmp_path: Path) -> None:
    """One of them was compacted, and is equal; one has another record, and is told."""
    for node, odd in (("n1", b"x"), ("n2", b"x"), ("n3", b"y")):
        log = Log.open(RealFileSystem(), str(tmp_path / node / "groups" / "7"), LogOptions())
        for number in range(6):
            value = odd if number == 4 else b"%d" % number
            payload = batch.encode([Record(timestamp=1, key=None, value=value)])
            log.append(Frame(number + 2, 1, number, 1, 1, FrameKind.RECORDS, payload, crc_of(payload)))
        log.write()
        log.sync()
        if node == "n2":
            log.checkpoint(b"")
            log.seal(log.last_index)
            assert compact(log, 2, lambda frame: frame.index > 4)
        log.close()
    assert invoke("verify", tmp_path).exit_code == 0
    result = invoke("verify", tmp_path, "--compare", "-o", "json")
    assert result.exit_code == 1
    assert [replica["gaps"] for replica in json.loads(result.stdout)["replicas"]] == [0, 1, 0]
    assert result.stderr.splitlines()[0] == (
        f"difference: {tmp_path}/n3/groups/7 and {tmp_path}/n1/groups/7: entry 6 is another one"
    )
    assert "1 pairs of replicas differ" in result.stderr
    for name in ("n1", "n3"):
        assert invoke("verify", tmp_path / name, "--compare").exit_code == 0
