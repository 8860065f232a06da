"""Only who leads says that a move has arrived: from then on data are deleted where they came from."""

from __future__ import annotations

from pathlib import Path

import msgspec

from node.control.moves_shown import MovesShown
from node.metadata.state import Move
from tests.support.deposed import deposed
from tests.support.nodes import NodeCluster, TestNode


class _Description:
    """The cluster's, with a move in it that this partition's members have arrived at long ago."""

    def __init__(self, node: TestNode) -> None:
        state = node.running.metadata.state
        (entry,) = state.topics["orders"].partitions
        move = Move(1, entry.replicas, started=True)
        self.state = msgspec.structs.replace(state, moves={entry.raft_group: move})


def _shown(node: TestNode) -> MovesShown:
    running = node.running
    return MovesShown(
        node_id=node.node_id,
        host=running.host,
        metadata=_Description(node),  # type: ignore[arg-type]
        local=running.replicas.local,
        query=running.query,
    )


async def test_a_deposed_leader_does_not_say_that_a_move_has_arrived(tmp_path: Path) -> None:
    """What it knows of the members may be what they were before."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", replicas=3)
        async with deposed(cluster, "orders") as state:
            assert state.believes
            assert [info.arrived for info in await _shown(state.old).led_here()] == [False]
            assert [info.arrived for info in await _shown(state.new).led_here()] == [True]
