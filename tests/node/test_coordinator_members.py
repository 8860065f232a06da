"""Members of groups on whole nodes: by typed requests at any node, past the end of the shard's leader."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from floodmark.errors import FencedMemberEpoch, UnknownMember

from node.broker import Commit, Heartbeat, Join, Leave, MemberAnswer, Position
from node.coordinator.groups.group import Group
from node.metadata.domains.coordinator import SHARDS, shard_of
from node.metadata.state import COORDINATOR_TOPIC
from tests.node.test_coordinator import commit, committed
from tests.support.nodes import NodeCluster, TestNode

GROUP = "billing"


def _owned(answer: MemberAnswer) -> list[tuple[int, int]]:
    return [(each.topic_id, each.partition) for each in answer.owned]


async def _leader(cluster: NodeCluster) -> TestNode:
    return await cluster.leader(COORDINATOR_TOPIC, shard_of(GROUP, SHARDS))


@pytest.mark.long
async def test_members_are_ended_in_time_and_outlive_their_coordinator(tmp_path: Path) -> None:
    """Two members share; a new leader knows both, and ends the silent one; topics that grow are given out."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", partitions=2, replicas=2)
        await commit(cluster.up[0], GROUP, 7)
        topic_id = cluster.up[0].running.metadata.state.topics["orders"].topic_id
        groups = (await _leader(cluster)).broker.groups
        first = await groups.join(
            GROUP, Join(member_id="a", topics=("orders",), session_timeout_ms=600_000), timeout_s=10
        )
        assert _owned(first) == [(topic_id, 0), (topic_id, 1)]
        again = await groups.join(
            GROUP, Join(member_id="b", topics=("orders",), session_timeout_ms=1_500), timeout_s=10
        )
        assert (_owned(again), again.waiting) == ([], 1)

        await (await _leader(cluster)).stop()
        node = await _leader(cluster)
        groups = node.broker.groups

        async def beat(
            member: str, answer: MemberAnswer, owned: list[tuple[int, int]] | None = None
        ) -> MemberAnswer:
            given = None if owned is None else frozenset(owned)
            return await groups.heartbeat(
                GROUP, Heartbeat(member_id=member, epoch=answer.epoch, owned=given), timeout_s=10
            )

        told = await beat("a", first)
        assert len(_owned(told)) == 1
        assert len(told.revoking) == 1
        assert _owned(await beat("b", again)) == [], "it is not given up yet"
        told = await beat("a", told, _owned(told))
        second = await beat("b", again)
        assert sorted(_owned(told) + _owned(second)) == [(topic_id, 0), (topic_id, 1)]

        # b falls silent: the new leader has given it its whole time, and ends it then.
        await cluster.until(lambda: len(_state(node).members) == 1, "b's session is over")
        with pytest.raises(UnknownMember):
            await beat("b", second)
        told = await beat("a", told)
        assert _owned(told) == [(topic_id, 0), (topic_id, 1)]

        # What is committed with an epoch that never was is refused; a member commits what it has.
        position = {(topic_id, 0): Position(9)}
        with pytest.raises(FencedMemberEpoch):
            await groups.commit(
                GROUP, Commit(positions=position, member_id="a", epoch=told.epoch + 9), timeout_s=10
            )
        await groups.commit(GROUP, Commit(positions=position, member_id="a", epoch=told.epoch), timeout_s=10)
        assert await committed(cluster.up[0], GROUP) == {("orders", 0): 9}

        epoch = _state(node).epoch
        leader = await node.broker.metadata.wait_leader(timeout_s=10)
        await cluster[leader].broker.topics.add_partitions("orders", 3, timeout_s=10)
        await cluster.until(lambda: _state(node).epoch > epoch, "the group has targets for three partitions")
        assert _owned(await beat("a", told)) == [(topic_id, number) for number in range(3)]
        await groups.leave(GROUP, Leave(member_id="a"), timeout_s=10)
        assert not _state(node).members


async def test_what_a_static_member_has_is_kept_until_its_session_ends_and_then_given_to_others(
    tmp_path: Path,
) -> None:
    """Leaving for a while buys no time: the session counts from its last heartbeat (as in KIP-345). Whoever
    comes back within it goes on with the same partitions, and whoever comes later begins like anybody."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("orders", partitions=4)
        (node,) = cluster.up
        await commit(node, GROUP, 0)
        groups = node.broker.groups
        now = asyncio.get_running_loop().time
        clock = node.running.coordinator.shards.lead_of(GROUP).clock

        async def it_is(at: float) -> None:
            """By the members' clock; whoever is to be ended then is."""
            clock._now = lambda: at  # type: ignore[method-assign]
            clock._look(at)
            await asyncio.gather(*clock._tasks._running)

        async def join(member: str, session_ms: int, instance: str | None = None) -> MemberAnswer:
            request = Join(
                member_id=member, instance_id=instance, topics=("orders",), session_timeout_ms=session_ms
            )
            return await groups.join(GROUP, request, timeout_s=10)

        async def beat(member: str, instance: str | None = None, *, before: MemberAnswer) -> MemberAnswer:
            request = Heartbeat(
                member_id=member, epoch=before.epoch, instance_id=instance, owned=frozenset(_owned(before))
            )
            return await groups.heartbeat(GROUP, request, timeout_s=10)

        lasting = await join("lasting", 600_000)
        first = await join("first", 60_000, "one")
        lasting = await beat("lasting", before=lasting)
        lasting = await beat("lasting", before=lasting)
        first = await beat("first", "one", before=first)
        had = _owned(first)
        assert len(had) == len(_owned(lasting)) == 2

        await groups.leave(GROUP, Leave(member_id="first", instance_id="one", for_a_while=True), timeout_s=10)
        before = now()
        second = await join("second", 60_000, "one")
        said = now()
        assert _owned(second) == had
        assert len(_owned(await beat("lasting", before=lasting))) == 2, "nobody else gets or gives up any"
        await groups.leave(
            GROUP, Leave(member_id="second", instance_id="one", for_a_while=True), timeout_s=10
        )
        await it_is(before + 59.9)
        for _ in range(2):
            lasting = await beat("lasting", before=lasting)
        assert len(_owned(lasting)) == 2, "its session lasts"
        await it_is(said + 60)
        for _ in range(2):
            lasting = await beat("lasting", before=lasting)
        assert len(_owned(lasting)) == 4, "all are given to who is left"
        late = await join("third", 60_000, "one")
        assert (_owned(late), late.waiting) == ([], 2)


def _state(node: TestNode) -> Group:
    return node.running.coordinator.shards.lead_of(GROUP).view(GROUP)


@pytest.mark.long
async def test_commits_go_on_when_the_leader_is_cut_off(tmp_path: Path) -> None:
    """Whoever commits at another node notices nothing: what is unknown is asked again; nothing goes back."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        await commit(cluster.up[0], GROUP, 1)
        leader = await _leader(cluster)
        door = next(node for node in cluster.up if node is not leader)
        is_cut = asyncio.Event()

        async def commits() -> int:
            offset = 1
            while not (is_cut.is_set() and _other_leads(cluster, leader)):
                offset += 1
                (stored,) = (await commit(door, GROUP, offset)).offsets
                assert stored.offset == offset
            return offset

        committing = asyncio.create_task(commits())
        await asyncio.sleep(0)
        leader.running.host.links.sever()
        is_cut.set()
        offset = await committing
        assert await committed(door, GROUP) == {("orders", 0): offset}


def _other_leads(cluster: NodeCluster, before: TestNode) -> bool:
    number = shard_of(GROUP, SHARDS)
    return any(
        node is not before and node.broker.partition(COORDINATOR_TOPIC, number).leads_here
        for node in cluster.up
    )
