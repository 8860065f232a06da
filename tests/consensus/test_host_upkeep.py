"""What hosts do besides committing: checkpoints, trimming, bounded queues, failed disks, deadlines."""

from __future__ import annotations

import asyncio

import pytest
from floodmark.errors import OutcomeUnknown
from floodmark.format.frame import FrameKind

from consensus.host.host_types import HostOptions
from consensus.links.link_types import LinkOptions
from consensus.types import GroupOptions, Stored
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from tests.consensus.host_nodes import HostNode, eventually, hosts, join, leader_of, put
from tests.support.proxy import FaultProxy

NAMES = ("a", "b", "c")
PATIENT = GroupOptions(election_timeout_min_s=2.0, election_timeout_max_s=2.2, leader_fallback_s=1.9)


async def test_a_failed_fsync_stops_only_its_replica(tmp_path):
    """The node is told, the others elect and go on, and the failed replica acknowledges nothing."""
    disk = MemoryFileSystem()
    nodes = [HostNode("a", tmp_path, fs=disk), HostNode("b", tmp_path), HostNode("c", tmp_path)]
    for node in nodes:
        await node.host.start()
    try:
        join(nodes)
        for node in nodes:
            node.open(1, frozenset(NAMES))
        await put(await leader_of(nodes), b"before")
        await nodes[0].until(lambda: nodes[0].payloads() == [b"before"])
        disk.fail("sync")
        healthy = nodes[1:]
        leader = await leader_of(nodes)
        pending = leader.host.propose_nowait(1, FrameKind.COMMAND, b"during")
        await nodes[0].until(lambda: bool(nodes[0].failed))
        [(raft_group, _error)] = nodes[0].failed
        assert raft_group == 1
        await healthy[0].until(lambda: healthy[0].host.group(1).leader in ("b", "c"))
        await put(await leader_of(healthy), b"after")
        for node in healthy:
            await node.until(lambda node=node: node.payloads()[-1] == b"after")
        assert nodes[0].payloads() == [b"before"]
        if leader is not nodes[0]:
            assert isinstance(pending.outcome, Stored)
    finally:
        await asyncio.gather(*(node.host.stop() for node in nodes))


async def test_a_deadline_abandons_a_proposal_that_is_stored_later(tmp_path):
    """The caller is told that the outcome is unknown; the entry commits once the links are back."""
    nodes = [HostNode(name, tmp_path) for name in NAMES]
    for node in nodes:
        await node.host.start()
    proxies = [await FaultProxy(node.host.address).start() for node in nodes]
    try:
        for node in nodes:
            for other, proxy in zip(nodes, proxies, strict=True):
                if other is not node:
                    node.host.links.dial(other.node_id, *proxy.address)
        for node in nodes:
            node.open(1, frozenset(NAMES), PATIENT)
        leader = await leader_of(nodes)
        for proxy in proxies:
            proxy.pause()
        with pytest.raises(OutcomeUnknown):
            await put(leader, b"late", deadline_s=0.1)
        for proxy in proxies:
            proxy.resume()
        for node in nodes:
            await node.until(lambda node=node: node.payloads() == [b"late"])
    finally:
        await asyncio.gather(*(node.host.stop() for node in nodes))
        await asyncio.gather(*(proxy.stop() for proxy in proxies))


async def test_a_follower_behind_a_full_queue_catches_up_once_it_drains(tmp_path):
    """The queue to it stays within its bound, a majority goes on, nothing is lost."""
    links = LinkOptions(queue_bytes_max=2 << 20, dead_after_s=60)
    options = HostOptions(links=links)
    async with hosts(tmp_path, *NAMES, options=options) as nodes:
        leader = await leader_of(nodes)
        follower = next(node for node in nodes if node is not leader)
        proxy = await FaultProxy(follower.host.address).start()
        try:
            leader.host.links.dial(follower.node_id, *proxy.address)
            links_of = leader.host.links
            await eventually(lambda: proxy.forwarded_bytes > 0 and links_of.connected(follower.node_id))
            index = await put(leader, b"before")
            # Until this is acknowledged the leader sends one message at a time.
            await eventually(lambda: leader.host.group(1).followers.match_of(follower.node_id) >= index)
            proxy.pause()
            peer = leader.host.links.peers[follower.node_id]
            for _ in range(40):
                await put(await leader_of([leader]), bytes(256 << 10))
                assert leader.host.links.queue_bytes(follower.node_id) < 8 << 20
                if peer.queue_full:
                    break
            assert peer.queue_full
            proxy.resume()
            last = await put(await leader_of([node for node in nodes if node is not follower]), b"after")
            await follower.until(lambda: last in follower.machines[1].seen)
        finally:
            await proxy.stop()


async def test_a_group_that_rests_gets_a_checkpoint_and_restarts_from_it(tmp_path):
    """Nothing asks for it; after a restart the machine's state is there without the log being read."""
    options = HostOptions(checkpoint_idle_s=0.1, checkpoint_idle_entries=1)
    async with hosts(tmp_path, "a", options=options) as nodes:
        [node] = nodes
        await leader_of(nodes)
        index = await put(node, b"one")
        log = node.host.group(1).log
        await eventually(lambda: log.checkpoint_index >= index)
        nodes.remove(node)
        await node.host.stop()
        again = HostNode("a", tmp_path)
        await again.host.start()
        nodes.append(again)
        again.open(1, frozenset("a"))
        assert again.payloads() == [b"one"]


async def test_a_group_that_rests_after_each_entry_gets_a_checkpoint_for_some_of_them(tmp_path):
    """By number (the leader's first is one) or by size. A node that is stopped leaves nothing to be read."""
    options = HostOptions(checkpoint_idle_s=0.01, checkpoint_idle_entries=5, checkpoint_idle_bytes=100_000)
    async with hosts(tmp_path, "a", options=options) as nodes:
        [node] = nodes
        await leader_of(nodes)
        log = node.host.group(1).log
        begun = log.checkpoint_index
        for size, covered in ((10, 0), (10, 0), (10, 0), (10, 5), (10, 5), (200_000, 7), (10, 7)):
            await put(node, bytes(size))
            await eventually(
                lambda covered=covered: (
                    log.checkpoint_index == begun + covered and not node.host._upkeep._dirty
                )
            )
        nodes.remove(node)
        await node.host.stop()
        assert log.checkpoint_index == begun + 8


async def test_a_busy_group_is_checkpointed_after_so_many_bytes(tmp_path):
    """A group that never rests does not wait for it."""
    options = HostOptions(checkpoint_idle_s=0.4, checkpoint_bytes=100_000)
    async with hosts(tmp_path, "a", options=options) as [node]:
        await leader_of([node])
        log = node.host.group(1).log
        async with asyncio.timeout(30):
            while log.checkpoint_index < 5:
                await put(node, bytes(20_000))


async def test_trimming_under_load_drops_whole_segments_of_applied_entries(tmp_path):
    """Writes go on meanwhile, and everything that is left can be read."""
    async with hosts(tmp_path, "a") as nodes:
        [node] = nodes
        await leader_of(nodes)
        await node.host.remove(1)
        group = node.open(1, frozenset("a"), log_options=LogOptions(segment_bytes=20_000))
        await leader_of(nodes)
        writes = [asyncio.create_task(put(node, bytes(3000))) for _ in range(100)]
        await writes[50]
        middle = group.applied_index
        base = await node.host.disk.truncate_head(1, 10**9)
        assert 2 < base <= middle + 100
        await asyncio.gather(*writes)
        assert group.log.base_index == base
        assert [frame.index for frame in group.log.frames(base, group.log.last_index)] == list(
            range(base, group.log.last_index + 1)
        )
        await put(node, b"still alive")
