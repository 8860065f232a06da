"""A data folder that is put back as it was: the others have met later starts of it, so it counts as lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from chaos.cluster import ChaosCluster
from chaos.faults import Aim, Injection, RestoredCopy, Target
from chaos.faults.replica_files import NothingToDamage
from tests.chaos.faulty import LEADER, running


def _said(cluster: ChaosCluster, node: str, event: str) -> bool:
    return f'"event": "{event}"' in cluster.processes.nodes[node].log.read_text()


@pytest.mark.parametrize("restarts", [0, 1])
async def test_an_old_copy_is_told_and_filled_up_again(
    restarts: int, toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """An equal boot number, or a lower one; nothing is lost, and the node can be relied on again."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(500)
            injection = Injection(RestoredCopy(aim=LEADER, restarts=restarts), cluster)
            async with injection:
                await ledger.wait_acknowledged(1_000)
            await cluster.ready()
        (node,) = injection.nodes
        assert _said(cluster, node, "data_folder_set_back")
        others = [name for name in cluster.names if name != node]
        assert any(_said(cluster, name, "peer_folder_set_back") for name in others)
        # Ready means that it votes again: with it, any other one may be lost.
        await cluster.hold_down("test", others[0])
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(500)
        await cluster.let_up("test", others[0])
        await cluster.ready()
        await ledger.check(cluster.urls)
        names = await asyncio.to_thread(os.listdir, tmp_path)
        assert not [name for name in names if name.endswith(".copy")], "a copy is left behind"


async def test_without_a_witness_it_is_left_out(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Old copies of all nodes are the cluster as of then: nothing could tell them."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, _):
        with pytest.raises(NothingToDamage, match="no node is left"):
            await Injection(RestoredCopy(aim=Aim(target=Target.ALL)), cluster).inject()
        assert all(map(cluster.runs, cluster.names))
