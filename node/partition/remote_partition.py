"""A partition without a replica on this node: the table that leaders fill says who leads it.

The table also serves a replica that knows no leader and cannot hear of one, since its node hears too few
others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, NoReturn

from floodmark.format.batch import BatchHeader
from floodmark.format.position import Position, Source
from floodmark.format.record import Record

from consensus.host import waiting
from node import outcomes
from node.broker import Acks, Appended, Bounds, Fetched, SourcePosition
from node.leader_table import LeaderTable
from node.metadata.state import PartitionEntry, TopicEntry

REMEMBERED_S: Final = 0.25
"""How long the answer of a node of an older build is used before it is asked again."""
DOUBTED_S: Final = 0.25
PAUSE_S: Final = 0.1

AskLeader = Callable[[str, str, int, int], Awaitable[str | None]]
"""(node, topic, its id, partition) -> the leader as that node sees it; None without an answer or a leader."""


class LeaderLookup:
    """Looks leaders up in the table, waits for entries, and asks nodes whose builds do not fill it.

    ``is_older``: whether a node's build does not tell what it leads; ``ask`` asks such a node.
    """

    def __init__(
        self,
        node_id: str,
        table: LeaderTable,
        alive: Callable[[], frozenset[str]],
        *,
        is_older: Callable[[str], bool],
        ask: AskLeader,
    ) -> None:
        self._node_id = node_id
        self._table = table
        self._alive = alive
        self._is_older = is_older
        self._ask = ask
        self._answers: dict[int, tuple[str, float]] = {}
        """What nodes answered, and until when that is used."""
        self._asking: dict[int, asyncio.Task[None]] = {}
        """For each group, whoever waits for its leader shares what is asked."""
        self._doubted: dict[int, tuple[str, float]] = {}
        """Nodes that did not serve as leaders, and until when others are looked for."""

    def known(self, raft_group: int) -> str | None:
        """The leader, if it is alive, or if no node seems to be."""
        now = asyncio.get_running_loop().time()
        row = self._table.get(raft_group)
        answer, until = self._answers.get(raft_group, ("", 0.0))
        leader = row.leader if row is not None else answer if until > now else None
        doubted, until = self._doubted.get(raft_group, ("", 0.0))
        if leader is None or leader == self._node_id or (leader == doubted and until > now):
            return None
        alive = self._alive()
        return leader if leader in alive or len(alive) == 1 else None

    def hears_enough(self, nodes: Collection[str]) -> bool:
        """Whether a replica here, of those on ``nodes``, hears of a leader as soon as there is one."""
        return len(self._alive() & set(nodes)) > len(nodes) // 2

    def doubt(self, raft_group: int, node: str) -> None:
        """``node`` did not serve as the leader: for a moment, wait for another one."""
        self._answers.pop(raft_group, None)
        self._doubted[raft_group] = node, asyncio.get_running_loop().time() + DOUBTED_S

    async def find(
        self, topic: str, topic_id: int, entry: PartitionEntry, nodes: Sequence[str], *, deadline_s: float
    ) -> str:
        """Wait until a leader is known. Raises ``Unavailable``."""
        try:
            async with asyncio.timeout(deadline_s):
                while (leader := self.known(entry.raft_group)) is None:
                    self._ask_soon(topic, topic_id, entry, nodes)
                    await waiting.condition(
                        self._table.changed, lambda: self.known(entry.raft_group), timeout_s=PAUSE_S
                    )
                return leader
        except TimeoutError:
            raise outcomes.no_leader(topic, entry.number) from None

    def _ask_soon(self, topic: str, topic_id: int, entry: PartitionEntry, nodes: Sequence[str]) -> None:
        group = entry.raft_group
        asked = self._to_ask(nodes)
        if not asked or group in self._asking:
            return

        async def ask(node: str) -> None:
            leader = await self._ask(node, topic, topic_id, entry.number)
            if leader is not None and leader != self._node_id and leader in nodes:
                self._answers[group] = leader, asyncio.get_running_loop().time() + REMEMBERED_S
                self._table.changed.changed()

        async def ask_all() -> None:
            # At once: one that cannot be reached holds up no other one's answer.
            async with asyncio.TaskGroup() as tasks:
                for node in asked:
                    tasks.create_task(ask(node))

        self._asking[group] = asyncio.get_running_loop().create_task(ask_all(), name=f"leader of {group}")
        self._asking[group].add_done_callback(lambda _task: self._asking.pop(group, None))

    def _to_ask(self, nodes: Sequence[str]) -> list[str]:
        others = [node for node in nodes if node != self._node_id]
        if not self.hears_enough(nodes):
            return others
        return [node for node in others if self._is_older(node) and node in self._alive()]


class RemotePartition:
    """Implements what ``node.broker.Partition`` can without a replica: it tells who leads.

    ``nodes``: those that have a replica, by the metadata.
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
        """Node id of the leader, as last heard."""
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
        """Wait for the table to name one."""
        if (leader := self.leader) is not None:
            return leader
        return await self._lookup.find(
            self.topic, self.topic_id, self._entry, self._nodes, deadline_s=deadline_s
        )

    def doubt_leader(self, node: str) -> None:
        """Look for another one, for a moment."""
        self._lookup.doubt(self._entry.raft_group, node)

    async def produce(
        self,
        batch: bytes,  # noqa: ARG002 - the signature is the Protocol's
        header: BatchHeader,  # noqa: ARG002
        *,
        acks: Acks,  # noqa: ARG002
        timeout_s: float,  # noqa: ARG002
        expected_offset: int | None = None,  # noqa: ARG002
        position: Position | None = None,  # noqa: ARG002
        deliver_at_ms: int | None = None,  # noqa: ARG002
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

    async def positions(self, group: str, *, timeout_s: float) -> list[SourcePosition]:  # noqa: ARG002
        """Raises ``Unavailable``."""
        self._refuse()

    async def begin_epoch(
        self,
        source: Source,  # noqa: ARG002
        producer: bytes,  # noqa: ARG002
        *,
        timeout_s: float,  # noqa: ARG002
    ) -> SourcePosition:
        """Raises ``Unavailable``."""
        self._refuse()

    async def move_position(
        self,
        position: Position,  # noqa: ARG002
        epoch: int,  # noqa: ARG002
        producer: bytes,  # noqa: ARG002
        *,
        timeout_s: float,  # noqa: ARG002
    ) -> None:
        """Raises ``Unavailable``."""
        self._refuse()

    async def remove_positions(self, group: str, *, timeout_s: float) -> None:  # noqa: ARG002
        """Raises ``Unavailable``."""
        self._refuse()

    async def offset_at_time(self, timestamp_ms: int) -> int:  # noqa: ARG002
        """Raises ``Unavailable``."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise outcomes.not_leader(self.leader)
