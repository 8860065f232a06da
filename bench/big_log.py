"""What opening a big log costs: ``python -m bench.big_log [GIGABYTES] [--folder FOLDER]`` (10, Linux).

Writes a log of that size into a temporary folder, then opens it three times in processes of their own, with
nothing of it in the page cache: after an orderly stop, after a kill that left as much after the last
checkpoint as a node ever does, and without its checkpoint. Takes a few minutes; removes everything again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from floodmark.format.frame import Frame, FrameKind, crc_of

from bench.machine import measure
from bench.page_cache import forget
from consensus.host.host_types import HostOptions
from storage.checkpoint import NAME as CHECKPOINT
from storage.filesystem import RealFileSystem
from storage.log import Log
from storage.options import LogOptions

PAYLOAD_BYTES = 64 << 10
FRAMES_PER_WRITE = 256
WRITES_PER_SYNC = 8
ROOM = 1.2
"""Free space required, as a multiple of the log's size, so that other programs keep enough."""


def main() -> int:
    """Returns 1 when there is not enough room."""
    parser = argparse.ArgumentParser(prog="python -m bench.big_log")
    parser.add_argument("gigabytes", type=float, nargs="?", default=10.0)
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the temporary folder is made")
    parser.add_argument("--reopen", metavar="LOG", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reopen:
        print(json.dumps(opened(arguments.reopen)))
        return 0
    size = int(arguments.gigabytes * 1e9)
    free = shutil.disk_usage(arguments.folder).free
    if free < size * ROOM:
        print(f"{size * ROOM / 1e9:.1f} GB have to be free in {arguments.folder}: there are {free / 1e9:.1f}")
        return 1
    with tempfile.TemporaryDirectory(prefix="floodmark-big-log-", dir=arguments.folder) as folder:
        print(measure(Path(folder)))
        run(Path(folder) / "log", size)
    return 0


def run(path: Path, size: int) -> None:
    """Write the log, and open it in each of the three states."""
    log = Log.open(RealFileSystem(), str(path), LogOptions())
    begin = time.perf_counter()
    grow(log, size)
    behind = HostOptions().checkpoint_bytes
    log.checkpoint(b"", index=log.durable_index)
    print(f"wrote {log.size_bytes / 1e9:.2f} GB in {len(list(path.glob('*.log')))} segments", end=" ")
    print(f"at {log.size_bytes / (time.perf_counter() - begin) / 1e6:.0f} MB/s")
    log.close()
    report("after an orderly stop", path)
    log = Log.open(RealFileSystem(), str(path), LogOptions())
    grow(log, log.size_bytes + behind)
    log.close()
    report(f"{behind >> 20} MiB behind its checkpoint", path)
    (path / CHECKPOINT).unlink()
    report("without any checkpoint", path)


def grow(log: Log, size: int) -> None:
    """Append until the log has this many bytes, with large writes and an fsync now and then."""
    payload = os.urandom(PAYLOAD_BYTES)
    crc, writes = crc_of(payload), 0
    while log.size_bytes < size:
        for _ in range(FRAMES_PER_WRITE):
            log.append(Frame(log.last_index + 1, 1, log.next_offset, 0, 1, FrameKind.RECORDS, payload, crc))
        log.write()
        writes += 1
        if writes % WRITES_PER_SYNC == 0:
            log.sync()
    log.sync()


def report(name: str, path: Path) -> None:
    """Open the log in a new process with a cold page cache, and print what that took."""
    for file in path.iterdir():
        if file.is_file():
            forget(file)
    command = [sys.executable, "-m", "bench.big_log", "--reopen", str(path)]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    print(
        f"open {name:<30} {figures['seconds'] * 1e3:>9.1f} ms   read {figures['read'] / 1e6:>9.2f} MB   "
        f"wrote {figures['written'] / 1e6:>6.2f} MB   memory +{figures['memory'] / 1e6:.1f} MB   "
        f"{figures['frames']} of {figures['last_index']} frames shown"
    )


def opened(path: str) -> dict[str, float]:
    """Open the log here; what that took."""
    frames = 0

    def count(_frame: Frame) -> None:
        nonlocal frames
        frames += 1

    before, memory, begin = _io(), _memory(), time.perf_counter()
    log = Log.open(RealFileSystem(), path, LogOptions(), on_frame=count)
    seconds, after = time.perf_counter() - begin, _io()
    log.close()
    return {
        "seconds": seconds,
        "read": after["rchar"] - before["rchar"],
        "written": after["wchar"] - before["wchar"],
        "memory": _memory() - memory,
        "frames": frames,
        "last_index": log.last_index,
    }


def _io() -> dict[str, int]:
    lines = Path("/proc/self/io").read_text().splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def _memory() -> int:
    """The most that this process has used so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
