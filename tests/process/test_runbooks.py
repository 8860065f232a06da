"""Runbooks of docs/OPERATIONS.md, run as they are written on real node processes."""

from __future__ import annotations

from pathlib import Path

import floodmark
import pytest

from tests.process.ledger import Ledger
from tests.support.processes import ProcessCluster
from tests.support.runbook import blocks, shell

RESTART = ["systemctl", "restart", "floodmark"]


@pytest.mark.long
async def test_the_rolling_restart_loses_nothing_and_fails_nothing(tmp_path: Path) -> None:
    """Under a producer at full speed; every node is a new process afterwards, and each was restarted once."""
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create("numbers", partitions=3, replication_factor=3)
        restarted: list[str] = []

        async def on_host(host: str, command: list[str]) -> None:
            assert command == RESTART
            restarted.append(host)
            await cluster.stop(host)
            await cluster.start(host)

        ledger = Ledger("numbers", 3)
        (script,) = blocks("### Rolling restart")
        async with shell(tmp_path, cluster.urls[0], on_host) as runs, ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(500)
            await runs.run(script)
            await ledger.wait_acknowledged(500)
        assert restarted == ["n1", "n2", "n3"]
        assert not ledger.unsettled
        await ledger.check(cluster.urls)
