"""The coordinator when a majority of the nodes is lost: its shards are states, and not logs of records."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from node.metadata.domains.coordinator import SHARDS, shard_of
from node.metadata.state import COORDINATOR_TOPIC
from node.recovery.replica_survey import look_at
from node.replicas import retention
from storage.filesystem import RealFileSystem
from tests.node.test_coordinator import commit, committed
from tests.node.test_recovery import recover, stop
from tests.support.nodes import NodeCluster


@pytest.mark.long
async def test_groups_go_on_from_what_is_left_of_their_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a state with a trimmed log, from a whole log, and from nothing: then with empty groups."""
    monkeypatch.setattr(retention, "STATE_LOGS_S", 0.05)
    monkeypatch.setattr("node.topics.COORDINATOR_SEGMENT_BYTES", 4_096)
    async with NodeCluster.running(tmp_path) as cluster:
        n1, n2, n3 = cluster.nodes.values()
        await cluster.create("orders")
        number = shard_of("trimmed", SHARDS)
        for offset in range(1, 121):
            await commit(n2, "trimmed", offset)
        await commit(n2, "whole", 5)
        group = n1.running.metadata.state.topics[COORDINATOR_TOPIC].partitions[number].raft_group
        await cluster.until(
            lambda: n1.running.replicas.local[group].log.base_index > 10, "the log is cut behind a state file"
        )
        emptied = n1.running.metadata.state.topics[COORDINATOR_TOPIC].partitions[shard_of("gone", SHARDS)]
        await commit(n2, "gone", 6)
        await stop(n1, n2, n3)
        folder = n1.data_dir / "groups" / str(group)
        for node in (n2, n3):
            shutil.rmtree(node.data_dir)
        shutil.rmtree(n1.data_dir / "groups" / str(emptied.raft_group))

        _is_useless_without_its_state(folder, group)
        told = await recover(tmp_path, n1)
        losses = {
            each["partition"]: each["loss"] for each in told["groups"] if each["topic"] == COORDINATOR_TOPIC
        }
        assert {losses[number], losses[emptied.number]} == {"possible", "all"}

        n1.start()
        await cluster.ready("n1")
        assert await committed(n1, "trimmed") == {("orders", 0): 120}
        assert await committed(n1, "whole") == {("orders", 0): 5}
        assert await committed(n1, "gone") == {}
        await commit(n1, "gone", 7)
        await n1.stop()
        n1.start()
        await cluster.ready("n1")
        assert await committed(n1, "gone") == {("orders", 0): 7}
        n2.start()
        n3.start()
        await cluster.ready()
        await cluster.until(
            lambda: all(
                replica.group.membership.voters == {"n1", "n2", "n3"}
                for replica in n1.running.replicas.local.values()
            ),
            "the others have fetched all states and logs, and vote",
        )
        await n1.stop()
        for name, offset in (("trimmed", 120), ("whole", 5), ("gone", 7)):
            assert await committed(n3, name) == {("orders", 0): offset}


def _is_useless_without_its_state(folder: Path, group: int) -> None:
    found = look_at(RealFileSystem(), str(folder), group, None)
    assert found is not None
    assert found.is_usable
    (state,) = folder.glob("*.state")
    kept = state.read_bytes()
    for damaged in (None, kept[:-1], kept[:70] + b"\xff" + kept[71:]):
        if damaged is None:
            state.unlink()
        else:
            state.write_bytes(damaged)
        found = look_at(RealFileSystem(), str(folder), group, None)
        assert found is not None
        assert not found.is_usable
        assert "from which the log goes on" in found.damage
    state.write_bytes(kept)
