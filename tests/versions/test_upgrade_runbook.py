"""The runbook of an upgrade, run as it is written: from the oldest build that can be upgraded to this one."""

from __future__ import annotations

from pathlib import Path

import floodmark
import pytest

from node.metadata.this_build import THIS_BUILD
from tests.process.ledger import Ledger
from tests.support.processes import ProcessCluster
from tests.support.runbook import blocks, shell
from tests.versions import builds

INSTALL = ["pip", "install", "--upgrade", "floodmark-server"]
RESTART = ["systemctl", "restart", "floodmark"]


@pytest.mark.long
async def test_the_runbook_brings_every_node_and_the_level_to_this_build(tmp_path: Path) -> None:
    """Under a producer at full speed, and nothing is lost or fails."""
    older = builds.code_of(builds.FIRST)
    cluster = ProcessCluster(tmp_path / "cluster")
    cluster.code = dict.fromkeys(cluster.nodes, older)

    async def on_host(host: str, command: list[str]) -> None:
        if command == INSTALL:
            del cluster.code[host]
            return
        assert command == RESTART
        assert host not in cluster.code, "it is installed first"
        await cluster.stop(host)
        await cluster.start(host)

    ledger = Ledger("numbers", 3)
    upgrade, finalize = blocks("### Upgrading")
    try:
        await cluster.start()
        await cluster.ready()
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create("numbers", partitions=3, replication_factor=3)
        async with shell(tmp_path, cluster.urls[0], on_host) as runs, ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(500)
            await runs.run(upgrade)
            assert not cluster.code
            before = await cluster.get_json("/v1/cluster/features")
            await runs.run(finalize)
            await ledger.wait_acknowledged(500)
        after = await cluster.get_json("/v1/cluster/features")
        assert (before["level"], after["level"]) == (1, THIS_BUILD.highest)
        assert not ledger.unsettled
        await ledger.check(cluster.urls)
    except BaseException:
        print(cluster.logs())  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        await cluster.stop()
        cluster.close()
