"""The memory that nodes need: ``python -m bench.node_memory [GIGABYTES]`` (10, some minutes, Linux).

Three nodes, a topic of three partitions in three replicas that keeps a gigabyte each, and a client that
writes records of 1 KiB in lists as fast as it can, then reads what is kept. Printed after each gigabyte:
resident memory of each node, and the most that it ever was. Needs about 15 GB of disk meanwhile, and removes
everything again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import floodmark

from bench.machine import measure
from local.cluster import LocalCluster

TOPIC = "memory"
RECORD_BYTES = 1024
LIST = 1000
CONFIG = {"retention_bytes": 1 << 30, "segment_bytes": 64 << 20}
ROOM_BYTES = 20 << 30


def resident(pid: int) -> tuple[int, int]:
    """MB now, and the most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    values = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Vm")}
    return values["VmRSS"] // 1024, values["VmHWM"] // 1024


def report(what: str, cluster: LocalCluster) -> None:
    """One line: every node, now and at most."""
    found = [resident(child.process.pid) for child in cluster.children.values()]
    print(f"{what:<28} " + "  ".join(f"{now:>4} MB (most {most})" for now, most in found), flush=True)


async def run(cluster: LocalCluster, gigabytes: int) -> None:
    """Write, read, and look."""
    value = os.urandom(RECORD_BYTES)
    async with floodmark.Client([node.url for node in cluster.nodes.values()]) as client:
        await client.topics.create(TOPIC, partitions=3, replication_factor=3, config=CONFIG)
        report("empty", cluster)
        async with client.producer(TOPIC, delivery_timeout_s=120) as producer:
            for gigabyte in range(1, gigabytes + 1):
                begin = time.perf_counter()
                for _ in range(1_000_000_000 // (RECORD_BYTES * LIST)):
                    await producer.send_many([value] * LIST)
                rate = 1_000 / (time.perf_counter() - begin)
                report(f"{gigabyte} GB written, {rate:.0f} MB/s", cluster)
        begin, count = time.perf_counter(), 0
        async for batch in client.read_batches(TOPIC):
            count += len(batch.records)
        megabytes = count * RECORD_BYTES / 1e6
        rate = megabytes / (time.perf_counter() - begin)
        report(f"{megabytes / 1e3:.1f} GB read, {rate:.0f} MB/s", cluster)


async def main() -> int:
    """Returns 1 when there is not enough room."""
    parser = argparse.ArgumentParser(prog="python -m bench.node_memory")
    parser.add_argument("gigabytes", type=int, nargs="?", default=10)
    arguments = parser.parse_args()
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < ROOM_BYTES:
        print(f"{ROOM_BYTES / 1e9:.0f} GB have to be free: there are {free / 1e9:.0f}")
        return 1
    print(measure())
    with tempfile.TemporaryDirectory(prefix="floodmark-node-memory-") as folder:
        cluster = LocalCluster(Path(folder) / "cluster")
        try:
            await cluster.start()
            await cluster.ready()
            await run(cluster, arguments.gigabytes)
        finally:
            await cluster.stop()
            cluster.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
