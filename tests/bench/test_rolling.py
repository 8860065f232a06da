"""A rolling restart under load, in small; and that whoever watches it would see what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.rolling import roll_timed, table
from bench.traffic import _NUMBER, Expected, Traffic
from local.health import unhealthy
from tests.support.processes import ProcessCluster


@pytest.mark.long
async def test_nothing_is_lost_doubled_or_moved_and_no_request_fails(tmp_path: Path) -> None:
    """Every node is a new process in the end, and each was stopped while all replicas were in sync."""
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        urls = {name: node.url for name, node in cluster.nodes.items()}
        pids = {name: child.process.pid for name, child in cluster.children.items()}
        traffic = Traffic(cluster.urls, partitions=6, producers=2, bytes_per_s=500_000, records=16)
        stopped: list[str] = []

        async def before(name: str) -> None:
            assert await unhealthy(urls) == []
            stopped.append(name)
            await traffic.wait_acknowledged(200)

        async with traffic.running():
            await traffic.wait_acknowledged(500)
            restarts = await roll_timed(cluster, before=before, tell=print)
            await traffic.wait_acknowledged(500)
        print(table(restarts, traffic))  # noqa: T201 - for who wants to know how long it took
        assert traffic.failures == []
        assert traffic.problems == []
        assert traffic.consumed == traffic.acknowledged > 2_000
        assert sorted(stopped) == ["n1", "n2", "n3"]
        assert all(child.process.pid != pids[name] for name, child in cluster.children.items())


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([(0, 0), (1, 1), (2, 1)], "record 1 of producer 7 came before"),
        ([(0, 0), (1, 2)], "records 1 to 1 of producer 7 did not come"),
        ([(0, 0), (2, 1)], "offset 2: read instead of 1"),
        ([(0, 1), (1, 0)], "record 0 of producer 7 came before"),
    ],
    ids=["doubled", "lost", "offset", "reordered"],
)
def test_who_reads_sees_what_is_wrong(numbers: list[tuple[int, int]], words: str) -> None:
    """Record by record, and says where."""
    expected = Expected(3)
    for offset, number in numbers:
        expected.take(offset, _NUMBER.pack(7, number) + b"filler")
    assert any(words in problem and "partition 3, " in problem for problem in expected.problems)


def test_the_longest_gap_is_that_of_one_partition() -> None:
    """Others may go on meanwhile; the ends of the time that is looked at count."""
    traffic = Traffic([], partitions=2, producers=1, bytes_per_s=1)
    traffic.acknowledged_at = [[1.0, 2.0, 3.0, 4.0], [1.0, 3.5]]
    assert traffic.longest_gap_s(0.5, 4.0) == 2.5
    assert traffic.longest_gap_s(3.0, 9.0) == 5.5
