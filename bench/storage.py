"""How fast one replica's log writes, syncs and reads here, beside what the disk alone can do.

Run with ``python -m bench.storage [FOLDER]``; takes about ten seconds and at most 300 MB, removed at the end.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from floodmark.format.frame import Frame, FrameKind, crc_of

from storage.filesystem import RealFileSystem
from storage.log import Log
from storage.options import LogOptions

SECONDS_MAX = 1.0
BYTES_MAX = 48 << 20


def disk_alone(folder: Path, size: int) -> list[float]:
    """Seconds of each bare write and fdatasync of ``size`` bytes, one behind the other."""
    data, times = os.urandom(size), []
    fd = os.open(folder / "bare", os.O_RDWR | os.O_CREAT)
    begin, position = time.perf_counter(), 0
    while time.perf_counter() - begin < SECONDS_MAX and position < BYTES_MAX:
        start = time.perf_counter()
        position += os.pwrite(fd, data, position)
        os.fdatasync(fd)
        times.append(time.perf_counter() - start)
    os.close(fd)
    (folder / "bare").unlink()
    return times


def through_log(folder: Path, size: int, frames_per_sync: int) -> list[float]:
    """Seconds of each append, write and sync of some frames with payloads of ``size`` bytes."""
    fs, path = RealFileSystem(), f"{folder}/log-{size}-{frames_per_sync}"
    log = Log.open(fs, path, LogOptions(tail_bytes_max=4 << 20))
    payload = os.urandom(size)
    crc, times, begin = crc_of(payload), [], time.perf_counter()
    while time.perf_counter() - begin < SECONDS_MAX and log.size_bytes < BYTES_MAX:
        start = time.perf_counter()
        for _ in range(frames_per_sync):
            log.append(Frame(log.last_index + 1, 1, log.next_offset, 0, 1, FrameKind.RECORDS, payload, crc))
        log.write()
        log.sync()
        times.append(time.perf_counter() - start)
    log.close()
    fs.remove_tree(path)
    return times


def report(name: str, size: int, count: int, times: list[float]) -> None:
    """One line: throughput, and the median and 99th percentile of one round."""
    rate = size * count * len(times) / sum(times) / 1e6
    worst = statistics.quantiles(times, n=100)[98] * 1e3 if len(times) > 1 else times[0] * 1e3
    middle = statistics.median(times) * 1e3
    print(f"{name:<44}{rate:>9.1f} MB/s   p50 {middle:7.3f} ms   p99 {worst:7.3f} ms")


def reading(folder: Path, size: int) -> None:
    """Sequential reads of a whole log in pieces of 1 MiB, and of single frames."""
    fs, path = RealFileSystem(), f"{folder}/read-{size}"
    log = Log.open(fs, path, LogOptions(tail_bytes_max=0))
    payload = os.urandom(size)
    crc, count = crc_of(payload), min(200_000, BYTES_MAX // (size + 64))
    for _ in range(count):
        log.append(Frame(log.last_index + 1, 1, log.next_offset, 0, 1, FrameKind.RECORDS, payload, crc))
    log.write()
    offset, start = 0, time.perf_counter()
    while offset < count:
        offset += len(log.read(offset, end_offset=count, max_bytes=1 << 20).frames) // (size + 64)
    seconds = time.perf_counter() - start
    rate, per_frame = count * (size + 64) / seconds / 1e6, seconds / count * 1e6
    print(f"read 1 MiB at a time, frames of {size:>7} B{rate:>16.1f} MB/s   {per_frame:.2f} us a frame")
    step, tries = 7919, 2000
    start = time.perf_counter()
    for number in range(tries):
        log.frame(2 + number * step % count)
    micros = (time.perf_counter() - start) / tries * 1e6
    print(f"one frame anywhere, from disk, of {size:>7} B{'':>17}{micros:.1f} us")
    log.close()
    fs.remove_tree(path)


def main() -> None:
    """Print the table."""
    where = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=where, prefix="floodmark-bench-") as name:
        folder = Path(name)
        for size in (1 << 10, 256 << 10):
            report(f"disk alone: write + fdatasync of {size} B", size, 1, disk_alone(folder, size))
        kib = 1 << 10
        for size, count in ((kib, 1), (kib, 16), (kib, 256), (64 * kib, 1), (64 * kib, 16), (1024 * kib, 4)):
            times = through_log(folder, size, count)
            report(f"log: {count:>4} x {size:>7} B, write, sync", size, count, times)
        for size in (1 << 10, 64 << 10):
            reading(folder, size)


if __name__ == "__main__":
    main()
