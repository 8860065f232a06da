"""Moves that are broken in the middle under load, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.reshaping_broken import BREAKS, NODES, Breaking, break_all, p99_s, table
from bench.traffic import Traffic
from chaos.cluster import ChaosCluster


@pytest.mark.long
async def test_moves_are_broken_in_the_middle(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Controller, drained node and learner are killed, and cut off one-sidedly: each plan ends by itself,
    nothing is lost, doubled or moved, and no request fails."""
    async with ChaosCluster.running(tmp_path, NODES, binary=toxiproxy_binary) as cluster:
        traffic = Traffic(cluster.urls, partitions=6, producers=2, bytes_per_s=1_000_000, records=16)
        breaking = Breaking(cluster, fault_s=1.5)
        async with traffic.running():
            await break_all(breaking, rounds=1, between=lambda: traffic.wait_acknowledged(500))
            await traffic.wait_acknowledged(500)
        print(table(breaking.steps, traffic))  # noqa: T201 - for who wants to know how long it took
        print(f"p99 {p99_s(breaking.steps, traffic):.2f} s")  # noqa: T201
        assert [step.what for step in breaking.steps] == list(BREAKS)
        assert all(step.moves for step in breaking.steps)
        assert traffic.failures == []
        assert traffic.problems == []
        assert traffic.consumed == traffic.acknowledged > 3_000
        assert cluster.died() == {}
