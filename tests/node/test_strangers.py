"""Nodes that meet and do not belong together, and folders set back in time: whole nodes over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import structlog

from node import settings_sources
from tests.node.test_cluster import fill, frames_of, payload, produce, rejoined, values
from tests.support.nodes import SECRET, NodeCluster, TestNode, free_port


def node(folder: Path, name: str, peers: dict[str, str], **flags: Any) -> TestNode:
    """One node with settings of its own."""
    wanted = {
        "node.id": name,
        "node.data_dir": str(folder / name),
        "http.listen": "127.0.0.1:0",
        "peer.listen": peers[name],
        "cluster.peers": peers,
        "cluster.secret": SECRET,
    }
    return TestNode(settings_sources.load(flags={**wanted, **flags}))


@contextlib.asynccontextmanager
async def joined_by(cluster: NodeCluster, *nodes: TestNode) -> AsyncIterator[None]:
    """Nodes beside those of the cluster."""
    for one in nodes:
        one.start()
    try:
        await cluster.until(lambda: all(one.parts is not None for one in nodes), "they run")
        yield
    finally:
        await asyncio.gather(*(one.stop() for one in nodes))


async def readyz(cluster: NodeCluster, one: TestNode) -> tuple[int, str, str]:
    """Status, reasons and warnings of a node, as HTTP tells them."""
    async with cluster.session.get(f"{one.url}/readyz") as answer:
        told = await answer.json()
        return answer.status, " ".join(told["reasons"]), " ".join(told["warnings"])


async def test_a_cluster_of_one_is_not_grown_by_its_settings(tmp_path: Path) -> None:
    """Two empty nodes that name it in their peers form nothing; all say what they met."""
    peers = {name: f"127.0.0.1:{free_port()}" for name in ("n1", "n2", "n3")}
    with structlog.testing.capture_logs() as log:
        alone = {"cluster.peers": {"n1": peers["n1"]}, "peer.listen": peers["n1"]}
        async with NodeCluster.running(tmp_path, 1, **alone) as cluster:
            await cluster.create("orders")
            await produce(await cluster.on_leader("orders"), payload([b"kept"]))
            empty = [node(tmp_path, name, peers) for name in ("n2", "n3")]
            async with joined_by(cluster, *empty):
                await cluster.until(
                    lambda: (
                        all(len(one.broker.health().reasons) == 2 for one in empty)
                        and len(cluster["n1"].broker.health().warnings) == 2
                    ),
                    "all say what they met",
                )
                for one in empty:
                    status, reasons, _ = await readyz(cluster, one)
                    assert status == 503
                    assert "waiting to hear from n1" in reasons
                    assert "n1 holds data of a cluster formed of n1" in reasons
                    assert one.running.metadata.group is None
                status, _, warnings = await readyz(cluster, cluster["n1"])
                assert status == 200
                assert (
                    "n2 is not one of the nodes of this cluster (n1): start it with an empty folder"
                    in warnings
                )
                assert await values(await cluster.on_leader("orders")) == [b"kept"]
            # The natural way: its own settings name the others as well. They are only where to look.
            await cluster["n1"].stop()
            grown = cluster.nodes["n1"] = node(tmp_path, "n1", peers)
            empty = [node(tmp_path, name, peers) for name in ("n2", "n3")]
            async with joined_by(cluster, grown, *empty):
                await cluster.until(
                    lambda: all(len(one.broker.health().reasons) == 2 for one in empty), "they met it"
                )
                await cluster.ready()
                assert sorted(grown.running.metadata.state.nodes) == ["n1"]
                await grown.stop()
            cluster["n1"].start()
            await cluster.ready()
            assert await values(await cluster.on_leader("orders")) == [b"kept"]
    told = [(line["event"], line.get("peer")) for line in log if line["log_level"] == "error"]
    assert set(told) >= {("node_refused", "n1"), ("node_refused", "n2")}
    # One line a minute, however often they try.
    assert told.count(("node_refused", "n2")) == 2


async def test_a_fourth_node_changes_nothing(tmp_path: Path) -> None:
    """It has the secret and a new id: nobody registers it, and it says itself that it is not wanted."""
    async with NodeCluster.running(tmp_path) as cluster:
        peers = {**cluster["n1"].settings.cluster.peers, "n4": f"127.0.0.1:{free_port()}"}
        fourth = node(tmp_path, "n4", peers)
        async with joined_by(cluster, fourth):
            await cluster.until(
                lambda: (
                    len(fourth.broker.health().reasons) == 4
                    and all(one.broker.health().warnings for one in cluster.up)
                ),
                "all four say so",
            )
            status, reasons, _ = await readyz(cluster, fourth)
            assert status == 503
            assert "n2 holds data of a cluster formed of n1, n2, n3" in reasons
            for one in cluster.up:
                status, _, warnings = await readyz(cluster, one)
                assert status == 200
                assert "n4 is not one of the nodes" in warnings
                assert sorted(one.running.metadata.state.nodes) == ["n1", "n2", "n3"]
            await cluster.create("orders", partitions=8)
            info = cluster["n2"].broker.topic("orders")
            assert {name for part in info.partitions for name in part.replicas} == {"n1", "n2", "n3"}


async def set_back(
    cluster: NodeCluster, copy: Path, roles: tuple[TestNode, TestNode, TestNode], bodies: list[bytes]
) -> tuple[int, list[MutableMapping[str, Any]]]:
    """A victim gets a copy of its folder that lacks what it and the leader alone have acknowledged since.

    Adds that to ``bodies``. Returns, when all have all, the boot number of the copy and what was said of it.
    """
    leader, victim, behind = roles
    await behind.stop()
    bodies += await fill(cluster, "orders", 30)
    await victim.stop()
    await leader.stop()
    shutil.rmtree(victim.data_dir)
    shutil.copytree(copy, victim.data_dir)
    boot = boot_of(victim)
    with structlog.testing.capture_logs() as log:
        for one in (victim, behind, leader):
            one.start()
        await rejoined(cluster, victim, "orders", bodies)
    await rejoined(cluster, behind, "orders", bodies)
    assert len(await values(await cluster.on_leader("orders"))) == len(bodies)
    return boot, [line for line in log if line["event"] == "data_folder_set_back"]


async def test_an_old_copy_of_a_data_folder_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Back on it a node votes for nobody who lacks what it had acknowledged, and fetches everything again."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        bodies = await fill(cluster, "orders", 5)
        leader = await cluster.leader("orders")
        victim, behind = (one for one in cluster.up if one is not leader)
        await victim.stop()
        shutil.copytree(victim.data_dir, tmp_path / "copy")
        victim.start()
        await cluster.ready()
        boot, told = await set_back(cluster, tmp_path / "copy", (leader, victim, behind), bodies)
        assert [(line["boot"], line["met"]) for line in told] == [(boot + 1, boot + 1)]
        # It counts in full again, whoever else goes.
        await leader.stop()
        await produce(await cluster.on_leader("orders"), payload([b"more"]))
        assert frames_of(victim, "orders")[: len(bodies)] == bodies


async def test_a_copy_of_a_running_nodes_folder_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """No start is between the copy and its use: the number that rose meanwhile tells."""
    async with NodeCluster.running(tmp_path, **{"storage.boot_interval_s": 0.2}) as cluster:
        await cluster.create("orders")
        bodies = await fill(cluster, "orders", 5)
        leader = await cluster.leader("orders")
        victim, behind = (one for one in cluster.up if one is not leader)
        shutil.copytree(victim.data_dir, tmp_path / "copy", ignore=shutil.ignore_patterns("*.tmp"))
        copied = boot_of(victim)
        witness = leader.running.registry
        incarnation = victim.running.discovery.identity.incarnation
        await cluster.until(
            lambda: witness.boots[victim.node_id][incarnation].number > copied, "its number rose"
        )
        boot, told = await set_back(cluster, tmp_path / "copy", (leader, victim, behind), bodies)
        assert len(told) == 1
        assert told[0]["boot"] == boot + 1 <= told[0]["met"]
        # A plain restart, after many rises, is no old copy.
        with structlog.testing.capture_logs() as log:
            await victim.stop()
            victim.start()
            await rejoined(cluster, victim, "orders", bodies)
        assert [line["event"] for line in log if "set_back" in line["event"]] == []


def boot_of(one: TestNode) -> int:
    """How often a folder says that it was started."""
    boot: int = json.loads((one.data_dir / "node.json").read_text())["boot"]
    return boot


async def test_two_of_three_come_back_after_all_were_killed(tmp_path: Path) -> None:
    """Nobody is waited for longer than a moment to say how old a folder is."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        bodies = await fill(cluster, "orders", 3)
        await asyncio.gather(*(one.stop() for one in cluster.up))
        for name in ("n1", "n3"):
            cluster[name].start()
        await cluster.ready("n1", "n3")
        await produce(await cluster.on_leader("orders"), payload([b"more"]))
        assert frames_of(cluster["n3"], "orders")[:3] == bodies


async def test_a_node_hears_late_that_its_folder_is_an_old_copy(tmp_path: Path) -> None:
    """Those who knew better were away when it started: it gives up its vote as soon as one is met."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        bodies = await fill(cluster, "orders", 3)
        await cluster["n3"].stop()
        shutil.copytree(cluster["n3"].data_dir, tmp_path / "copy")
        # n2 does not meet the start that the copy does not know of.
        await cluster["n2"].stop()
        cluster["n3"].start()
        await cluster.ready("n1", "n3")
        bodies += await fill(cluster, "orders", 3)
        await cluster["n1"].stop()
        await cluster["n3"].stop()
        shutil.rmtree(cluster["n3"].data_dir)
        shutil.copytree(tmp_path / "copy", cluster["n3"].data_dir)
        cluster["n3"].start()
        await cluster.until(lambda: cluster["n3"].parts is not None, "it runs")
        old = cluster["n3"].running
        await cluster.until(lambda: old.metadata.group is not None, "it took part without any answer")
        for name in ("n1", "n2"):
            cluster[name].start()
        await rejoined(cluster, cluster["n3"], "orders", bodies)
        assert cluster["n3"].running.discovery.identity.incarnation != old.discovery.identity.incarnation
