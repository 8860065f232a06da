"""A leader that was deposed and does not know it: the other replicas have elected another one meanwhile.

As when a node is paused and cut off, and goes on before the cut heals: its partition's clock stands still and
it hears none of the other replicas, while clients reach it all the time.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from node.settings_rules import split_address
from tests.support.nodes import NodeCluster, TestNode
from tests.support.proxy import FaultProxy


@dataclass
class Deposed:
    """``old`` still leads as far as it knows, ``new`` does."""

    old: TestNode
    new: TestNode
    group_id: int
    _proxies: list[FaultProxy]

    def heal(self) -> None:
        """``old`` hears the others again, and its clock goes on."""
        self.old.running.host.group(self.group_id)._clock = self.old.running.host._clock
        for proxy in self._proxies:
            proxy.resume()

    @property
    def believes(self) -> bool:
        """Whether ``old`` still takes itself for the leader."""
        return self.old.running.host.group(self.group_id).is_ready_leader


@contextlib.asynccontextmanager
async def deposed(cluster: NodeCluster, topic: str, partition: int = 0) -> AsyncIterator[Deposed]:
    """Depose the partition's leader unawares. Nodes without a replica go on hearing all."""
    old = await cluster.leader(topic, partition)
    entry = old.running.metadata.state.topics[topic].partitions[partition]
    others = [cluster[name] for name in entry.replicas if name != old.node_id]
    group = old.running.host.group(entry.group_id)
    frozen = group._clock()
    group._clock = lambda: frozen
    async with contextlib.AsyncExitStack() as stack:
        proxies = []
        for source, target in [pair for other in others for pair in ((old, other), (other, old))]:
            proxy = await FaultProxy(split_address(target.settings.peer.listen)).start()
            stack.push_async_callback(proxy.stop)
            proxy.pause()
            proxies.append(proxy)
            source.running.host.links.dial(target.node_id, *proxy.address)
        new = await cluster.leader(topic, partition, besides=old.node_id)
        state = Deposed(old, new, entry.group_id, proxies)
        assert state.believes
        try:
            yield state
        finally:
            state.heal()
