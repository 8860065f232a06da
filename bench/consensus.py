"""Speed of consensus alone: ``python -m bench.consensus [seconds]``.

Three hosts in one process (so one core for all of them), one group, 1 KiB entries, fsync on every replica;
1 and 64 proposers, each with one proposal at a time.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from floodmark.format.frame import FrameKind

from bench.hosts import leader, three_hosts
from bench.machine import measure, percentile
from consensus.host.group_host import GroupHost

PAYLOAD = bytes(1024)


async def run(host: GroupHost, proposers: int, seconds: float) -> str:
    """One measured round, as a line."""
    latencies: list[float] = []
    flushes = host.disk.flushes
    started = time.perf_counter()
    end = started + seconds

    async def propose() -> None:
        while (before := time.perf_counter()) < end:
            await host.propose(1, FrameKind.RECORDS, PAYLOAD, record_count=1, deadline_s=30)
            latencies.append((time.perf_counter() - before) * 1000)

    await asyncio.gather(*(propose() for _ in range(proposers)))
    rate = len(latencies) / (time.perf_counter() - started)
    shared = len(latencies) / max(1, host.disk.flushes - flushes)
    return (
        f"{proposers:3} proposers: {rate:7.0f} proposals/s, p50 {percentile(latencies, 0.5):.2f} ms, "
        f"p99 {percentile(latencies, 0.99):.2f} ms, {shared:.1f} entries per fsync on the leader"
    )


async def main(seconds: float) -> None:
    """Three rounds of each."""
    with tempfile.TemporaryDirectory(prefix="floodmark-bench-") as folder:
        print(measure(Path(folder)))
        async with three_hosts(Path(folder), 1) as hosts:
            host = await leader(hosts, 1)
            await run(host, 8, 0.5)
            for proposers in (1, 64):
                for _ in range(3):
                    print(await run(host, proposers, seconds))


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0))
