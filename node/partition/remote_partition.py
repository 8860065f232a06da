"""A partition without a replica on this node: who leads it is asked of the nodes that have one.

So is it where there is a replica that knows no leader and cannot hear of any: its node hears too few others,
though they may answer what they are asked over HTTP, which goes another way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, NoReturn

from floodmark.format.batch import BatchHeader
from floodmark.format.record import Record

from node import outcomes
from node.broker import Acks, Appended, Bounds, Fetched
from node.metadata.state import PartitionEntry, TopicEntry

REMEMBERED_S: Final = 0.25
"""How long an answer is used before it is asked for again."""
PAUSE_S: Final = 0.1

AskLeader = Callable[[str, str, int, int], Awaitable[str | None]]
"""(node, topic, its id, partition) -> the leader as that node sees it; None when it knows or answers none."""


class LeaderLookup:
    """Asks replicas who leads, and remembers the answers for a moment."""

    def __init__(self, node_id: str, ask: AskLeader, alive: Callable[[], frozenset[str]]) -> None:
        self._node_id = node_id
        self._ask = ask
        self._alive = alive
        self._known: dict[int, tuple[str, float]] = {}
        self._doubted: dict[int, str] = {}
        """Nodes that did not serve as leaders, until somebody names another one."""

    def known(self, raft_group: int) -> str | None:
        """The last answer, if it is fresh and the node is there, or none is as far as this one can tell."""
        leader, until = self._known.get(raft_group, ("", 0.0))
        if until <= asyncio.get_running_loop().time():
            return None
        alive = self._alive()
        return leader if leader in alive or len(alive) == 1 else None

    def hears_enough(self, nodes: Collection[str]) -> bool:
        """Whether a replica here, of those on ``nodes``, hears of a leader as soon as there is one."""
        return len(self._alive() & set(nodes)) > len(nodes) // 2

    def doubt(self, raft_group: int, node: str) -> None:
        """``node`` did not serve as the leader: a replica that names another one knows better."""
        self._known.pop(raft_group, None)
        self._doubted[raft_group] = node

    async def find(
        self, topic: str, topic_id: int, entry: PartitionEntry, nodes: Sequence[str], *, deadline_s: float
    ) -> str:
        """Ask ``nodes`` until a leader is known. Raises ``Unavailable``."""
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    leader = await self._ask_replicas(topic, topic_id, entry, nodes)
                    if leader is not None:
                        until = asyncio.get_running_loop().time() + REMEMBERED_S
                        self._known[entry.raft_group] = (leader, until)
                        return leader
                    await asyncio.sleep(PAUSE_S)
        except TimeoutError:
            raise outcomes.no_leader(topic, entry.number) from None

    async def _ask_replicas(
        self, topic: str, topic_id: int, entry: PartitionEntry, nodes: Sequence[str]
    ) -> str | None:
        alive, doubted = self._alive(), self._doubted.get(entry.raft_group)
        # Who hears none of them may still be answered: only what they say by themselves does not come.
        there = [node for node in nodes if node in alive and node != self._node_id]
        second_best = None
        for node in there or [node for node in nodes if node != self._node_id]:
            leader = await self._ask(node, topic, topic_id, entry.number)
            if leader == self._node_id:
                continue  # It did, as far as that one knows; and does not.
            if leader in nodes and leader != doubted:
                self._doubted.pop(entry.raft_group, None)
                return leader
            second_best = leader or second_best
        return second_best if second_best in nodes else None


class RemotePartition:
    """Implements ``node.broker.Partition`` as far as one can without a replica: it says who leads.

    ``nodes`` have one, as far as the metadata tell.
    """

    def __init__(
        self, topic: TopicEntry, entry: PartitionEntry, nodes: Sequence[str], lookup: LeaderLookup
    ) -> None:
        self.topic = topic.name
        self.topic_id = topic.topic_id
        self.number = entry.number
        self._entry = entry
        self._nodes = nodes
        self._lookup = lookup

    @property
    def leader(self) -> str | None:
        """As it was heard last."""
        return self._lookup.known(self._entry.raft_group)

    @property
    def hears_enough(self) -> bool:
        """Whether a replica here would hear of a leader as soon as there is one."""
        return self._lookup.hears_enough(self._nodes)

    @property
    def leads_here(self) -> bool:
        """Never."""
        return False

    async def wait_leader(self, *, deadline_s: float) -> str:
        """Ask the replicas."""
        if (leader := self.leader) is not None:
            return leader
        return await self._lookup.find(
            self.topic, self.topic_id, self._entry, self._nodes, deadline_s=deadline_s
        )

    def doubt_leader(self, node: str) -> None:
        """Ask anew, and others first."""
        self._lookup.doubt(self._entry.raft_group, node)

    async def produce(
        self,
        batch: bytes,  # noqa: ARG002 - the signature is the Protocol's
        header: BatchHeader,  # noqa: ARG002
        *,
        acks: Acks,  # noqa: ARG002
        timeout_s: float,  # noqa: ARG002
        expected_offset: int | None = None,  # noqa: ARG002
    ) -> Appended:
        """Raises ``Unavailable``."""
        self._refuse()

    async def produce_records(
        self,
        records: Sequence[Record],  # noqa: ARG002
        *,
        size: int,  # noqa: ARG002
        timeout_s: float,  # noqa: ARG002
    ) -> Appended:
        """Raises ``Unavailable``."""
        self._refuse()

    async def fetch(self, offset: int, *, max_bytes: int, verify: bool = False) -> Fetched:  # noqa: ARG002
        """Raises ``Unavailable``."""
        self._refuse()

    async def wait_records(self, offset: int, *, wait_s: float) -> bool:  # noqa: ARG002
        """Raises ``Unavailable``."""
        self._refuse()

    def bounds(self) -> Bounds:
        """Raises ``Unavailable``."""
        self._refuse()

    async def tail(self, *, timeout_s: float) -> Bounds:  # noqa: ARG002
        """Raises ``Unavailable``."""
        self._refuse()

    async def offset_at_time(self, timestamp_ms: int) -> int:  # noqa: ARG002
        """Raises ``Unavailable``."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise outcomes.not_leader(self.leader)
