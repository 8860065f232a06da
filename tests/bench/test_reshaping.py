"""A cluster that changes shape under load, in small."""

from __future__ import annotations

from pathlib import Path

from bench.reshaping import Reshape, table, through_all_shapes
from bench.traffic import Traffic
from tests.support.processes import ProcessCluster


async def test_three_nodes_become_five_and_other_three(tmp_path: Path) -> None:
    """Idempotent producers and a consumer with default retries go on: nothing is lost, doubled or moved, and
    no request fails. In the end every replica is on the nodes that are left."""
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        traffic = Traffic(cluster.urls, partitions=4, producers=2, bytes_per_s=500_000, records=16)
        shape = Reshape(cluster)
        async with traffic.running():
            await traffic.wait_acknowledged(500)
            await through_all_shapes(shape, steady_s=0)
            await traffic.wait_acknowledged(500)
        print(table(shape.steps, traffic))  # noqa: T201 - for who wants to know how long it took
        assert traffic.failures == []
        assert traffic.problems == []
        assert traffic.consumed == traffic.acknowledged > 2_000
        assert sorted(cluster.children) == ["n3", "n4", "n5"]
        await shape.until("/v1/nodes", lambda said: [n["replicas"] for n in said["nodes"]] == [4, 4, 4])
