"""The machine's own figures, printed with every benchmark: other figures mean nothing without them."""

from __future__ import annotations

import os
import platform
import socket
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench.python_speed import loop_ns


@dataclass(frozen=True, slots=True)
class Machine:
    """What bounds a log on this machine. Latencies in milliseconds, throughput in MB/s, a loop in ns."""

    cpu: str
    cores: int
    fdatasync_p50_ms: float
    fdatasync_p99_ms: float
    loopback_mb_s: float
    python_loop_ns: float

    def __str__(self) -> str:
        return (
            f"machine: {self.cores} cores ({self.cpu}); 4 KiB append + fdatasync p50 "
            f"{self.fdatasync_p50_ms:.2f} ms, p99 {self.fdatasync_p99_ms:.2f} ms; "
            f"loopback TCP {self.loopback_mb_s:.0f} MB/s; Python {platform.python_version()}, "
            f"{self.python_loop_ns:.0f} ns a turn of a small loop"
        )


def percentile(values: list[float], fraction: float) -> float:
    """The value below which ``fraction`` of all lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


def measure(folder: Path | None = None) -> Machine:
    """Measure for about a second, on the disk that holds ``folder``."""
    syncs = _fdatasync_ms(folder)
    return Machine(
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        fdatasync_p50_ms=statistics.median(syncs),
        fdatasync_p99_ms=percentile(syncs, 0.99),
        loopback_mb_s=_loopback_mb_s(),
        python_loop_ns=loop_ns(),
    )


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _fdatasync_ms(folder: Path | None, rounds: int = 300) -> list[float]:
    block = bytes(4096)
    taken = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(rounds):
            begin = time.perf_counter()
            os.write(file.fileno(), block)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - begin) * 1e3)
    return taken


def _loopback_mb_s(total: int = 512 << 20) -> float:
    """One sender, one receiver, 256 KiB writes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()

    def send() -> None:
        block = bytes(1 << 18)
        with sender:
            for _ in range(total // len(block)):
                sender.sendall(block)

    thread = threading.Thread(target=send)
    begin = time.perf_counter()
    thread.start()
    buffer = bytearray(1 << 20)
    with receiver:
        while receiver.recv_into(buffer):
            pass
    thread.join()
    return total / (time.perf_counter() - begin) / 1e6


if __name__ == "__main__":
    print(measure())
