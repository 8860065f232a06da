"""What nobody has used for long goes, and a group at rest costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from floodmark.errors import UnknownGroup

from node.broker import Join
from node.metadata.domains.coordinator import SHARDS
from tests.node.test_coordinator import commit, committed
from tests.support.nodes import NodeCluster


async def test_offsets_and_groups_expire_and_members_keep_theirs(tmp_path: Path) -> None:
    """Those of a deleted topic at once; at rest no shard has a timer or sends anything."""
    async with NodeCluster.running(tmp_path, 1, **{"groups.offsets_retention_s": 600}) as cluster:
        node = cluster["n1"]
        steps = node.running.coordinator.steps
        now_ms = steps._wall_ms()
        steps._wall_ms = lambda: now_ms
        for topic in ("orders", "gone"):
            await cluster.create(topic)
        for group in ("idle", "busy"):
            await commit(node, group, 5)
        await node.broker.groups.join("busy", Join(member_id="m", topics=("gone",)), timeout_s=10)
        shards = node.running.coordinator.shards
        await shards.expire_once()
        assert await committed(node, "idle") == {("orders", 0): 5}, "it is not old yet"

        now_ms += 599_999
        await shards.expire_once()
        assert await committed(node, "idle") == {("orders", 0): 5}, "it is not old yet"

        now_ms += 1
        await shards.expire_once()
        assert await committed(node, "idle") == {}
        with pytest.raises(UnknownGroup):
            await node.broker.groups.describe("idle", timeout_s=10)
        assert await committed(node, "busy") == {("orders", 0): 5}, "it has a member"

        await node.broker.topics.delete("orders", timeout_s=10)
        await cluster.until(lambda: "orders" not in node.running.metadata.state.topics, "it is gone")
        await shards.expire_once()
        assert not list(shards.lead_of("busy").view("busy").offsets())
        timers = [shard.lead.clock._timer for shard in shards.here]
        assert (len(timers), sum(timer is not None for timer in timers)) == (SHARDS, 1)
