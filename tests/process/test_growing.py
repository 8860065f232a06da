"""A cluster of processes gets a further node while it is written to."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import floodmark
import pytest

from tests.process.ledger import Ledger
from tests.support.processes import ProcessCluster


@pytest.mark.long
async def test_a_node_joins_under_load_and_is_one_of_them(tmp_path: Path) -> None:
    """What was acknowledged stays; new topics use it; all restart by the settings that they had."""
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        old = {name: node.config.read_text() for name, node in cluster.nodes.items()}
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create("events", partitions=4, replication_factor=3)
        ledger = Ledger("events", 4)
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(200)
            fourth = cluster.add("n4")
            await cluster.start("n4")
            await cluster.ready("n4")
            await ledger.wait_acknowledged(200)
            async with floodmark.Client([fourth.url]) as client:
                topic = await client.topics.create("later", partitions=8, replication_factor=3)
                assert sum("n4" in part.replicas for part in topic.partitions) >= 4
                for number in range(40):
                    await client.produce("later", {"n": number}, key=str(number))
            # Without the seeds, and the others by files that do not name it.
            lines = fourth.config.read_text().splitlines()
            fourth.config.write_text("\n".join(line for line in lines if not line.startswith("join = ")))
            for name in ("n4", "n1", "n2", "n3"):
                assert (await cluster.stop(name)) == {name: 0}
                await cluster.start(name)
                await cluster.ready(name)
            await ledger.wait_acknowledged(200)
        assert {name: cluster.nodes[name].config.read_text() for name in old} == old
        await ledger.check(cluster.urls)
        assert sorted(json.loads((cluster.data_dir("n1") / "node.json").read_text())["addresses"]) == [
            *("n1", "n2", "n3", "n4")
        ]
        async with aiohttp.ClientSession() as session:
            for node in cluster.nodes.values():
                total = 0
                for partition in range(8):
                    url = f"{node.url}/v1/topics/later/partitions/{partition}/records"
                    async with session.get(url) as answer:
                        assert answer.status == 200
                        total += len((await answer.json())["records"])
                assert total == 40
