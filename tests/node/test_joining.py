"""Nodes that come to a cluster, go, and change their addresses: whole nodes over real sockets."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from node import settings_sources
from node.membership.identity import Standing
from node.metadata.domains.nodes import RemoveNode
from node.metadata.state import METADATA_GROUP
from node.settings import Settings
from tests.node.test_cluster import fill, frames_of, payload, produce, rejoined
from tests.node.test_cluster_http import call
from tests.support.nodes import NodeCluster, TestNode, free_port


def members_kept(node: TestNode) -> list[str]:
    """The cluster's nodes as a folder names them."""
    return sorted(json.loads((node.data_dir / "node.json").read_text())["addresses"])


def with_settings(node: TestNode, **flags: Any) -> Settings:
    """A node's settings with some of them changed, for its next start."""
    old = node.settings
    return settings_sources.load(
        flags={
            "node.id": old.node.id,
            "node.data_dir": old.node.data_dir,
            "http.listen": old.http.listen,
            "peer.listen": old.peer.listen,
            "cluster.peers": old.cluster.peers,
            "cluster.secret": old.cluster.secret,
            **flags,
        }
    )


async def metadata_voters(cluster: NodeCluster, *names: str) -> None:
    """Wait until these, and no others, vote on the metadata, as all nodes that run see it."""
    await cluster.until(
        lambda: all(
            (group := one.running.metadata.group) is not None and group.membership.voters == set(names)
            for one in cluster.up
        ),
        f"the voters of the metadata are {names}",
    )


async def remove(cluster: NodeCluster, name: str) -> None:
    """Strike a node off that holds nothing."""
    leader = await cluster.up[0].broker.metadata.wait_leader(timeout_s=10)
    await cluster[leader].running.metadata.propose(RemoveNode(name), timeout_s=10)


async def serves(cluster: NodeCluster, topic: str, partitions: int, *, asked: TestNode) -> None:
    """A node takes and gives records of all partitions, wherever they are."""
    for number in range(partitions):
        path = f"/v1/topics/{topic}/partitions/{number}/records"
        status, stored = await call(cluster, asked, "POST", path, {"records": [{"value": number}]})
        assert status == 200, stored
        status, page = await call(cluster, asked, "GET", f"{path}?from={stored['first_offset']}")
        assert (status, [record["value"] for record in page["records"]]) == (200, [number]), page


async def test_a_node_that_joined_lets_others_in_when_it_leads_the_metadata(tmp_path: Path) -> None:
    """It is a member as those that formed the cluster, also before it was ever restarted."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.grow("n4")
        await metadata_voters(cluster, "n1", "n2", "n3", "n4")
        fourth = cluster["n4"]

        def leads() -> bool:
            for each in cluster.up:
                if each.running.metadata.leads_here and each is not fourth:
                    each.running.host.transfer(METADATA_GROUP, "n4")
            return fourth.running.metadata.leads_here

        await cluster.until(leads, "n4 leads the metadata")
        await cluster.grow("n5")
        assert fourth.running.metadata.leads_here
        assert all("n5" in one.running.metadata.state.nodes for one in cluster.up)


async def test_a_fresh_node_joins_and_has_a_part_in_everything(tmp_path: Path) -> None:
    """By a follower's address; replicas, both doors, restarts with old settings, its own without a seed."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("before")
        bodies = await fill(cluster, "before", 3)
        follower = next(one for one in cluster.up if not one.running.metadata.leads_here)
        fourth = await cluster.grow("n4", seeds=(follower.node_id,))
        assert fourth.running.discovery.standing is Standing.MEMBER
        await metadata_voters(cluster, "n1", "n2", "n3", "n4")
        await cluster.create("orders", partitions=8, replicas=3)
        placed = [set(part.replicas) for part in fourth.broker.topic("orders").partitions]
        assert sum("n4" in replicas for replicas in placed) >= 4, placed
        for one in cluster.up:
            await serves(cluster, "orders", 8, asked=one)
        formation = fourth.running.discovery.own.formation

        # Everybody's settings are as before; the newcomer's name nobody at all.
        assert "n4" not in cluster["n1"].settings.cluster.peers
        fourth.settings = with_settings(fourth, **{"cluster.peers": {}})
        await asyncio.gather(*(one.stop() for one in cluster.up))
        for one in cluster.nodes.values():
            assert members_kept(one) == ["n1", "n2", "n3", "n4"]
            one.start()
        await cluster.ready()
        await metadata_voters(cluster, "n1", "n2", "n3", "n4")
        assert fourth.running.discovery.own.formation == formation
        await serves(cluster, "orders", 8, asked=fourth)
        assert await values_of(cluster, "before") == bodies


async def values_of(cluster: NodeCluster, topic: str) -> list[bytes]:
    """All batches, as the leader of partition 0 has them."""
    return frames_of(await cluster.leader(topic), topic)


async def test_a_cluster_of_one_grows_to_six_of_which_five_vote(tmp_path: Path) -> None:
    """One after the other, each by the address of the one before; then it goes on without the first two."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("orders")
        names = [f"n{number}" for number in range(2, 7)]
        for before, name in zip(["n1", *names], names, strict=False):
            await cluster.grow(name, seeds=(before,))
        five = ["n1", "n2", "n3", "n4", "n5"]
        await metadata_voters(cluster, *five)
        for one in cluster.up:
            _, document = await call(cluster, one, "GET", "/v1/cluster")
            assert document["metadata_voters"] == five, (one.node_id, document)
            assert [node["number"] for node in document["nodes"]] == [1, 2, 3, 4, 5, 6]
        await cluster.create("wide", replicas=6)
        await cluster.leader("wide")
        await asyncio.gather(cluster["n1"].stop(), cluster["n2"].stop())
        await produce(await cluster.on_leader("wide"), payload([b"without the first"]))


async def test_two_nodes_join_at_once(tmp_path: Path) -> None:
    """Members change one at a time, and nobody is forgotten over that."""
    async with NodeCluster.running(tmp_path) as cluster:
        await asyncio.gather(cluster.grow("n4"), cluster.grow("n5", seeds=("n2", "n3")))
        await metadata_voters(cluster, "n1", "n2", "n3", "n4", "n5")
        state = cluster["n1"].running.metadata.state
        assert sorted(state.node_numbers[name] for name in ("n4", "n5")) == [4, 5]


async def test_a_newcomer_that_dies_half_way_goes_on(tmp_path: Path) -> None:
    """It is registered, and ends before it knows; the same folder joins again, and so does an empty one."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        fourth = cluster.newcomer("n4")

        def registered() -> bool:
            return "n4" in cluster["n1"].running.metadata.state.nodes

        fourth.start()
        await cluster.until(registered, "it is registered")
        await fourth.stop()
        shutil.rmtree(fourth.data_dir)
        cluster.nodes["n4"] = fourth
        fourth.start()
        await cluster.ready()
        assert fourth.running.discovery.standing is Standing.WIPED
        await metadata_voters(cluster, "n1", "n2", "n3", "n4")


async def test_a_node_that_joined_and_lost_its_disk_is_rebuilt(tmp_path: Path) -> None:
    """The same name on an empty disk is recognised, has no vote, fetches all, and has a vote again."""
    async with NodeCluster.running(tmp_path, 2) as cluster:
        third = await cluster.grow("n3")
        await cluster.create("orders", replicas=3)
        bodies = await fill(cluster, "orders", 5)
        await cluster.until(lambda: frames_of(third, "orders") == bodies, "it has all")
        await third.stop()
        shutil.rmtree(third.data_dir)
        third.start()
        await rejoined(cluster, third, "orders", bodies)
        assert third.running.discovery.standing is Standing.WIPED
        await cluster["n1"].stop()
        await produce(await cluster.on_leader("orders"), payload([b"more"]))


async def test_a_first_node_that_lost_its_disk_is_rebuilt_after_the_cluster_has_grown(tmp_path: Path) -> None:
    """Its old settings name neither all nodes nor the present ones."""
    async with NodeCluster.running(tmp_path, 2) as cluster:
        await cluster.grow("n3")
        await cluster.grow("n4")
        await cluster.create("orders", replicas=4)
        bodies = await fill(cluster, "orders", 5)
        victim = cluster["n2"]
        await victim.stop()
        shutil.rmtree(victim.data_dir)
        victim.start()
        await rejoined(cluster, victim, "orders", bodies)
        assert members_kept(victim) == ["n1", "n2", "n3", "n4"]


async def test_a_first_node_that_lost_its_disk_is_rebuilt_where_all_other_first_ones_are_gone(
    tmp_path: Path,
) -> None:
    """Its old settings name nobody who is there: it finds those who dial it."""
    async with NodeCluster.running(tmp_path, 2) as cluster:
        for name in ("n3", "n4"):
            await cluster.grow(name)
        first = cluster["n1"]
        await remove(cluster, "n1")
        del cluster.nodes["n1"]
        await first.stop()
        await metadata_voters(cluster, "n2", "n3", "n4")
        await cluster.create("orders", replicas=3)
        bodies = await fill(cluster, "orders", 5)
        victim = cluster["n2"]
        await victim.stop()
        shutil.rmtree(victim.data_dir)
        victim.start()
        await rejoined(cluster, victim, "orders", bodies)
        assert members_kept(victim) == ["n2", "n3", "n4"]


async def test_a_live_cluster_follows_nodes_to_other_addresses(tmp_path: Path) -> None:
    """One after the other moves to another port, also the one that others joined by; all dial it there."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        bodies = await fill(cluster, "orders", 3)
        for name in ("n1", "n3"):
            moved = cluster[name]
            await moved.stop()
            address = f"127.0.0.1:{free_port()}"
            peers = {**moved.settings.cluster.peers, name: address}
            moved.settings = with_settings(moved, **{"peer.listen": address, "cluster.peers": peers})
            moved.start()
            await cluster.ready()
            await cluster.until(
                lambda name=name, address=address: all(
                    one.running.metadata.state.nodes[name].peer == address
                    and (one.node_id == name or one.broker.hears(name))
                    for one in cluster.up
                ),
                f"all know and hear {name} at {address}",
            )
        # n2 was told nothing, and its settings are wrong by now for both.
        await cluster["n2"].stop()
        cluster["n2"].start()
        await cluster.ready()
        await cluster.until(lambda: all(cluster["n2"].broker.hears(name) for name in ("n1", "n3")), "heard")
        assert await values_of(cluster, "orders") == bodies


async def test_a_node_that_was_away_while_all_others_moved_finds_them_by_a_seed(tmp_path: Path) -> None:
    """Neither its folder nor its peers say where they are; an address of one of them is enough."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        bodies = await fill(cluster, "orders", 3)
        await asyncio.gather(*(one.stop() for one in cluster.up))
        moved = {name: f"127.0.0.1:{free_port()}" for name in ("n1", "n2")}
        for name, address in moved.items():
            peers = {**cluster[name].settings.cluster.peers, **moved}
            flags = {"peer.listen": address, "cluster.peers": peers}
            cluster[name].settings = with_settings(cluster[name], **flags)
            cluster[name].start()
        await cluster.ready("n1", "n2")
        third = cluster["n3"]
        # Not the leader of the metadata, who registers its new address: that one has moved as well.
        seed = next(name for name in moved if not cluster[name].running.metadata.leads_here)
        port = f"127.0.0.1:{free_port()}"
        third.settings = with_settings(
            third,
            **{
                "peer.listen": port,
                "cluster.peers": {**third.settings.cluster.peers, "n3": port},
                "cluster.join": [moved[seed]],
            },
        )
        third.start()
        await cluster.ready()
        await cluster.until(lambda: all(third.broker.hears(name) for name in ("n1", "n2")), "it hears them")
        await cluster.until(lambda: frames_of(third, "orders") == bodies, "it has all")


async def test_a_removed_node_is_parted_from_and_never_returns(tmp_path: Path) -> None:
    """On its own folder and on an empty one it is told so, also after all have restarted; others go on."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", replicas=3)
        bodies = await fill(cluster, "orders", 3)
        await cluster.grow("n4")
        gone = cluster.nodes["n4"]
        await remove(cluster, "n4")
        del cluster.nodes["n4"]
        await metadata_voters(cluster, "n1", "n2", "n3")
        await cluster.until(
            lambda: all("n4" not in one.running.host.links.peers for one in cluster.up), "all have parted"
        )
        words = "this node was removed from the cluster"
        await cluster.until(lambda: words in " ".join(gone.broker.health().reasons), "it says so itself")
        await gone.stop()
        kept = {path.name: path.read_bytes() for path in gone.data_dir.iterdir() if path.is_file()}

        await asyncio.gather(*(one.stop() for one in cluster.up))
        for one in cluster.nodes.values():
            one.start()
        await cluster.ready()
        for empty in (False, True):
            if empty:
                shutil.rmtree(gone.data_dir)
            gone.start()
            try:
                await cluster.until(
                    lambda: gone.parts is not None and words in " ".join(gone.broker.health().reasons),
                    "it is told",
                )
                await cluster.until(
                    lambda: any(
                        "n4 was removed from this cluster, and its id never returns" in warning
                        for one in cluster.up
                        for warning in one.broker.health().warnings
                    ),
                    "they say whom they refused",
                )
            finally:
                await gone.stop()
            if not empty:
                now = json.loads((gone.data_dir / "node.json").read_text())
                then = json.loads(kept["node.json"])
                assert {**now, "boot": 0} == {**then, "boot": 0}
        for one in cluster.up:
            assert sorted(one.running.metadata.state.nodes) == ["n1", "n2", "n3"]
        # Its number is not given again, either.
        await cluster.grow("n5")
        assert cluster["n1"].running.metadata.state.node_numbers == {
            "n1": 1,
            "n2": 2,
            "n3": 3,
            "n4": 4,
            "n5": 5,
        }
        assert await values_of(cluster, "orders") == bodies


@pytest.mark.parametrize("leads", [True, False])
async def test_the_cluster_goes_on_when_a_first_node_is_removed(tmp_path: Path, leads: bool) -> None:
    """Also the metadata's leader; the others restart with settings that still name it."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.grow("n4")
        await metadata_voters(cluster, "n1", "n2", "n3", "n4")
        name = next(one.node_id for one in cluster.up if one.running.metadata.leads_here == leads)
        await remove(cluster, name)
        gone = cluster.nodes.pop(name)
        try:
            await metadata_voters(cluster, *cluster.nodes)
        finally:
            await gone.stop()
        await cluster.create("orders", replicas=3)
        await asyncio.gather(*(one.stop() for one in cluster.up))
        for one in cluster.nodes.values():
            one.start()
        await cluster.ready()
        await produce(await cluster.on_leader("orders"), payload([b"on"]))
        assert all(name not in one.running.host.links.peers for one in cluster.up)


async def test_a_cluster_below_the_level_keeps_the_rules_of_before(tmp_path: Path) -> None:
    """No folder has addresses, nobody joins; raised, the same nodes are the metadata's, and one can join."""
    async with NodeCluster.running(tmp_path, formed_at=2) as cluster:
        fourth = cluster.newcomer("n4")
        fourth.start()
        try:
            words = "at feature level 2, and nodes are added from level 3 on"
            await cluster.until(
                lambda: fourth.parts is not None and words in " ".join(fourth.broker.health().reasons),
                "it is told why",
            )
            await cluster.until(
                lambda: words in " ".join(cluster["n1"].broker.health().warnings), "n1 says so as well"
            )
            assert all(members_kept(one) == [] for one in cluster.up)
            cluster.nodes["n4"] = fourth
            status, raised = await call(cluster, cluster["n2"], "POST", "/v1/cluster/features", {"level": 3})
            assert (status, raised["level"]) == (200, 3)
            await cluster.ready()
            await metadata_voters(cluster, "n1", "n2", "n3", "n4")
            assert fourth.running.metadata.state.node_numbers == {"n1": 1, "n2": 2, "n3": 3, "n4": 4}
        except BaseException:
            await fourth.stop()
            raise


@pytest.mark.parametrize("came", ["first", "later", "first, and knows a seed alone"])
async def test_a_node_that_only_learns_the_metadata_is_rebuilt(tmp_path: Path, came: str) -> None:
    """The sixth node has no vote to get back, whether it was among the first ones or came later."""
    async with NodeCluster.running(tmp_path, 5 if came == "later" else 6) as cluster:
        if came == "later":
            await cluster.grow("n6")
        await cluster.create("orders", replicas=6)
        bodies = await fill(cluster, "orders", 3)
        victim = cluster["n6"]
        await victim.stop()
        shutil.rmtree(victim.data_dir)
        if "seed" in came:
            seed = cluster["n1"].settings.peer.listen
            victim.settings = with_settings(victim, **{"cluster.peers": {}, "cluster.join": [seed]})
        victim.start()
        await cluster.ready()
        await cluster.until(lambda: frames_of(victim, "orders") == bodies, "it has all")
        group = victim.running.metadata.group
        assert group is not None
        assert "n6" in group.membership.learners
