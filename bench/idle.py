"""What idle groups cost: ``python -m bench.idle [groups]``.

Three hosts in one process hold a replica each of many groups that have a leader and nothing to do. Printed is
the processor time of the whole process, so of all three nodes together, in percent of one core.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench.hosts import three_hosts

SECONDS = 10.0


async def main(groups: int) -> None:
    """Elect, let everything settle, measure."""
    with tempfile.TemporaryDirectory(prefix="floodmark-bench-") as folder:
        started = time.perf_counter()
        async with three_hosts(Path(folder), groups) as hosts:
            print(f"{groups} groups on three nodes have leaders after {time.perf_counter() - started:.1f} s")
            members = [host.group(group_id) for host in hosts for group_id in range(1, groups + 1)]
            for _ in range(240):
                if all(group.asleep for group in members):
                    break
                await asyncio.sleep(0.5)
            asleep = sum(group.asleep for group in members)
            print(f"{asleep} of {len(members)} replicas asleep after {time.perf_counter() - started:.1f} s")
            # The checkpoints that follow the elections are no part of being idle.
            await asyncio.sleep(20 * groups / 1000 + 3)
            cpu, wall = time.process_time(), time.perf_counter()
            await asyncio.sleep(SECONDS)
            share = (time.process_time() - cpu) / (time.perf_counter() - wall)
            print(f"idle: {share * 100:.1f}% of one core for all three nodes together")


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
