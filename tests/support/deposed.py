"""A leader that was deposed and does not know it: the other replicas have elected another one meanwhile.

As when a node is paused and cut off, and goes on before the cut heals: its partition's clock stands still and
it hears none of the other replicas, while clients reach it all the time.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from consensus.core.replication import Position
from node.addresses import split_address
from node.metadata.state import METADATA_GROUP
from tests.support.nodes import NodeCluster, TestNode
from tests.support.proxy import FaultProxy


@dataclass
class Deposed:
    """``old`` still leads as far as it knows, ``new`` does."""

    old: TestNode
    new: TestNode
    raft_group: int
    _proxies: list[FaultProxy]

    def heal(self) -> None:
        """``old`` hears the others again, and its clock goes on."""
        _heal(self.old, self.raft_group, self._proxies)

    @property
    def believes(self) -> bool:
        """Whether ``old`` still takes itself for the leader."""
        return self.old.running.host.group(self.raft_group).is_ready_leader


@contextlib.asynccontextmanager
async def deposed(
    cluster: NodeCluster,
    topic: str,
    partition: int = 0,
    *,
    last_words: Callable[[TestNode], Awaitable[object]] | None = None,
) -> AsyncIterator[Deposed]:
    """Depose the partition's leader unawares. Nodes without a replica go on hearing all.

    ``last_words``: of the leader, which hears nothing any more and is heard until it returns. Nobody stands
    for election before. What the others have of it by then is stored by its successor, and it does not know.
    """
    old = await cluster.leader(topic, partition)
    entry = old.running.metadata.state.topics[topic].partitions[partition]
    others = [cluster[name] for name in entry.replicas if name != old.node_id]
    async with _unheard(cluster, old, others, entry.raft_group, last_words) as proxies:
        new = await cluster.leader(topic, partition, besides=old.node_id)
        yield Deposed(old, new, entry.raft_group, proxies)


@contextlib.asynccontextmanager
async def deposed_of_metadata(cluster: NodeCluster) -> AsyncIterator[Deposed]:
    """Depose the metadata group's leader unawares."""
    old = next(node for node in cluster.up if node.running.metadata.leads_here)
    others = [node for node in cluster.up if node is not old]
    async with _unheard(cluster, old, others, METADATA_GROUP) as proxies:
        await cluster.until(
            lambda: any(node.running.metadata.leads_here for node in others), "another one leads the metadata"
        )
        new = next(node for node in others if node.running.metadata.leads_here)
        yield Deposed(old, new, METADATA_GROUP, proxies)


@contextlib.asynccontextmanager
async def _unheard(
    cluster: NodeCluster,
    old: TestNode,
    others: list[TestNode],
    raft_group: int,
    last_words: Callable[[TestNode], Awaitable[object]] | None = None,
) -> AsyncIterator[list[FaultProxy]]:
    """Nothing passes between ``old`` and the others, and the group's clock stands still there."""
    pairs = [pair for other in others for pair in ((old, other), (other, old))]
    async with contextlib.AsyncExitStack() as stack:
        proxies = []
        if last_words is None:
            _stop_clock(old, raft_group)
        for source, target in pairs:
            proxy = await FaultProxy(split_address(target.settings.peer.listen)).start()
            stack.push_async_callback(proxy.stop)
            if last_words is None:
                proxy.pause()
            proxies.append(proxy)
            links = source.running.host.links
            links.dial(target.node_id, *proxy.address)
            links.bulk.drop(target.node_id)  # The next one goes through the proxy, too.
        try:
            if last_words is not None:
                await _say(cluster, old, others, raft_group, pairs, proxies, last_words)
            yield proxies
        finally:
            _heal(old, raft_group, proxies)
            for source, target in pairs:  # The proxies end, and whoever dialled them goes on.
                if source.parts is not None:
                    source.running.host.links.dial(
                        target.node_id, *split_address(target.settings.peer.listen)
                    )


async def _say(
    cluster: NodeCluster,
    old: TestNode,
    others: list[TestNode],
    raft_group: int,
    pairs: list[tuple[TestNode, TestNode]],
    proxies: list[FaultProxy],
    last_words: Callable[[TestNode], Awaitable[object]],
) -> None:
    """The clocks stand still for all: the others hear no heartbeats, however long the words take."""
    followers = old.running.host.group(raft_group)._parts.replication.peers

    def goes_through() -> bool:
        return (
            all(proxy.forwarded_bytes for proxy in proxies)
            and all(source.running.host.links.connected(target.node_id) for source, target in pairs)
            and all(followers[other.node_id].position is Position.REPLICATE for other in others)
        )

    await cluster.until(goes_through, "it leads through the proxies")
    for node in (old, *others):
        _stop_clock(node, raft_group)
    for (_, target), proxy in zip(pairs, proxies, strict=True):
        if target is old:
            proxy.pause()
    await last_words(old)
    for proxy in proxies:
        proxy.pause()
    for other in others:
        _start_clock(other, raft_group)


def _stop_clock(node: TestNode, raft_group: int) -> None:
    parts = node.running.host.group(raft_group)._parts
    now = parts._clock()
    parts._clock = lambda: now


def _start_clock(node: TestNode, raft_group: int) -> None:
    node.running.host.group(raft_group)._parts._clock = node.running.host._clock


def _heal(old: TestNode, raft_group: int, proxies: list[FaultProxy]) -> None:
    _start_clock(old, raft_group)
    for proxy in proxies:
        proxy.resume()
