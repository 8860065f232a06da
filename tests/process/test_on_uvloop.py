"""Node processes started from uvloop's event loop, which tests and applications of users may run on."""

from __future__ import annotations

from pathlib import Path

import floodmark
import uvloop

from local.cluster import LocalCluster


def test_a_local_cluster_is_started_killed_and_stopped_from_uvloop(tmp_path: Path) -> None:
    """It serves, survives a kill, and stops in order: nothing of it depends on asyncio's own loop."""

    async def run() -> tuple[bytes | None, dict[str, int | None]]:
        cluster = LocalCluster(tmp_path)
        try:
            await cluster.start()
            await cluster.ready()
            urls = [node.url for node in cluster.nodes.values()]
            async with floodmark.Client(urls) as client:
                await client.topics.create("t", partitions=1, replication_factor=3)
                await client.produce("t", b"before")
                await cluster.kill("n1")
                await client.produce("t", b"after")
                await cluster.start("n1")
                await cluster.ready()
                records = [record async for record in client.read("t", partition=0, start=1)]
            return records[0].value, await cluster.stop()
        finally:
            await cluster.stop()
            cluster.close()

    value, codes = uvloop.run(run())
    assert value == b"after"
    assert codes == {"n1": 0, "n2": 0, "n3": 0}
