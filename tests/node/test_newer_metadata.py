"""A node that meets metadata of a newer build: it stops there, says so, and harms nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog
from floodmark.format.frame import FrameKind
from structlog.testing import capture_logs

from consensus.types import Role
from node.metadata import commands
from node.metadata.state import METADATA_GROUP
from tests.support.newer import NEWER_BUILD, Paint, lead_metadata
from tests.support.nodes import NodeCluster, TestNode

PAINTED = "painted t"


async def _ask(cluster: NodeCluster, node: TestNode, path: str) -> tuple[int, Any]:
    async with cluster.session.get(f"{node.url}{path}") as answer:
        return answer.status, await answer.json()


async def test_an_older_node_stops_at_a_newer_command_and_the_others_go_on(tmp_path: Path) -> None:
    """It says which entry stopped it, serves nothing, leads nothing, still stores and acknowledges what the
    others decide, and starts again; a newer build on its folder goes on where it stopped.
    """
    structlog.reset_defaults()
    levels = NEWER_BUILD
    with capture_logs() as logs:
        async with NodeCluster.running(tmp_path, levels={"n1": levels, "n2": levels}) as cluster:
            newer, old = (cluster["n1"], cluster["n2"]), cluster["n3"]
            await cluster.create("t", partitions=6)
            await cluster.leader("t")
            leader = await lead_metadata(cluster, "n1", "n2")

            # As a defect of the newer build would have it: nobody asked for a level.
            stored = await leader.running.host.propose(
                METADATA_GROUP, FrameKind.COMMAND, commands.encode(Paint("t")), deadline_s=10
            )
            reason = (
                f"metadata entry {stored.index} is command 'paint_topic', which this build does not know: "
                "start a newer Floodmark"
            )
            await cluster.until(lambda: old.running.metadata.halted == reason, "the older node has met it")
            await cluster.until(
                lambda: all(node.running.metadata.state.formation == PAINTED for node in newer), "applied"
            )
            status, ready = await _ask(cluster, old, "/readyz")
            assert (status, ready["reasons"][0]) == (503, reason)
            for path in ("/v1/topics", "/v1/topics/t", "/v1/cluster", "/v1/nodes", "/v1/topics/t/records"):
                status, problem = await _ask(cluster, old, path)
                assert (status, problem["code"]) == (503, "unavailable"), path
                assert reason in problem["detail"]
            async with cluster.session.get(f"{old.url}/metrics") as answer:
                assert answer.status == 200, "whoever watches it does not lose it now"
                assert "floodmark_metadata_halted 1.0" in await answer.text()
            await cluster.until(lambda: not old.groups_led(), "it leads no partition any more")
            assert (await _ask(cluster, newer[0], "/v1/topics/t"))[0] == 200

            # Only with the older node's acknowledgement and vote is there a majority now.
            other = newer[1] if leader is newer[0] else newer[0]
            await leader.stop()
            await cluster.until(lambda: other.running.metadata.leads_here, "the other newer node leads")
            await other.broker.topics.alter("t", {"retention_ms": 7_000}, timeout_s=10)
            group = old.running.metadata.group
            assert group is not None
            assert group.role is not Role.LEADER
            assert group.applied_index == stored.index - 1

            # Alone with one that cannot lead there is no leader; and it starts again as it stopped.
            await old.stop()
            old.start()
            await cluster.until(
                lambda: old.parts is not None and old.running.metadata.halted == reason, "halted again"
            )
            leader.start()
            await cluster.ready(leader.node_id, other.node_id)
            old.levels = levels
            await old.stop()
            old.start()
            await cluster.ready()
            assert old.running.metadata.state.formation == PAINTED
            assert old.running.metadata.state.topics["t"].config.retention_ms == 7_000
    halts = [line for line in logs if line["event"] == "metadata_halted"]
    assert [line["reason"] for line in halts] == [reason] * 2
