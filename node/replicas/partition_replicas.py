"""Reconciles the replicas of partitions on this node with the metadata.

It follows the metadata's deltas and looks only at the partitions that they name; at all partitions at the
start, once the metadata here is current, and when a snapshot has replaced the state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

from node.membership.registry import Registry
from node.metadata.delta import MetadataDelta
from node.metadata.holders import holders
from node.metadata.machine import MetadataMachine
from node.metadata.state import MetadataState
from node.replicas.manager import ReplicaManager
from node.replicas.partition_parts import PartitionParts
from node.replicas.partition_spec import partition_spec
from node.replicas.replica_here import ReplicaHere
from node.replicas.replica_spec import OpenReplica
from node.replicas.wanted import gone, wanted_here
from storage.errors import LogTooNew


class PartitionReplicas:
    """``local``: the running replicas of partitions, by group."""

    def __init__(
        self,
        *,
        node_id: str,
        incarnation: str,
        machine: MetadataMachine,
        manager: ReplicaManager,
        registry: Registry,
        local: dict[int, ReplicaHere],
        parts: PartitionParts,
    ) -> None:
        self.local = local
        self.opening = True
        """True until all replicas that the metadata named at the start run."""
        self._node_id = node_id
        self._incarnation = incarnation
        self._machine = machine
        self._manager = manager
        self._registry = registry
        self._parts = parts
        self._wanted: set[int] = set()
        """The groups that should have a replica here."""
        self._stale: set[int] = set()
        """The groups that have or had a replica here and should not, as far as is known."""
        self._knows_all = False

    def start(self, present: Iterable[int]) -> None:
        """Have all replicas run that the metadata names. ``present``: those whose folders exist."""
        self._stale.update(present)
        self._look_at_all()

    def metadata_are_current(self) -> None:
        """The metadata has all that was committed before this node started: unwanted replicas may be removed.

        Until then it may be older than a replica that has since been placed here.
        """
        self._knows_all = True
        self._look_at_all()

    def metadata_changed(self, state: MetadataState, delta: MetadataDelta) -> None:
        """Look at what has changed."""
        if delta.is_whole:
            self._look_at_all()
            return
        for raft_group in delta.partitions:
            self._look_at(raft_group)
        for name in delta.configs:
            for entry in state.topics[name].partitions:
                if entry.raft_group in self._wanted:
                    self._look_at(entry.raft_group)
        self._remove_stale()

    @property
    def broken(self) -> int:
        """How many replicas do not run because their disk failed."""
        return len(self._broken)

    @property
    def too_new(self) -> list[str]:
        """The message for each of those that only a newer build can open."""
        return [str(error) for error in self._broken if isinstance(error, LogTooNew)]

    @property
    def _broken(self) -> list[Exception]:
        return [error for group, error in self._manager.broken.items() if group in self._wanted]

    async def started(self) -> None:
        """Wait until all replicas that the metadata names, and this build can read, run; call it once
        current.
        """
        await self._manager.until(
            lambda: all(
                raft_group in self.local or self._manager.is_too_new(raft_group)
                for raft_group in self._wanted
            )
        )
        self.opening = False

    async def wait_local(self, raft_groups: Collection[int], *, timeout_s: float) -> None:
        """Wait until the replicas of these groups that belong here run, or the time is up."""
        wanted = self._wanted.intersection(raft_groups)
        try:
            async with asyncio.timeout(timeout_s):
                await self._manager.until(lambda: all(raft_group in self.local for raft_group in wanted))
        except TimeoutError:
            return

    def _look_at_all(self) -> None:
        wanted = {raft_group for raft_group, _ in wanted_here(self._machine.state, self._node_id)}
        for raft_group in self._wanted | wanted:
            self._look_at(raft_group)
        self._remove_stale()

    def _look_at(self, raft_group: int) -> None:
        state = self._machine.state
        found = state.partition(raft_group)
        if found is None or self._node_id not in holders(found[1], state.moves.get(raft_group)):
            if raft_group in self._wanted:
                self._wanted.discard(raft_group)
                self._stale.add(raft_group)
            return
        self._wanted.add(raft_group)
        self._stale.discard(raft_group)
        # Outdated metadata may want a replica that was moved away: made again, it would vote as a new one.
        if self._knows_all or raft_group in self._registry.groups:
            topic, entry = found
            self._manager.want(
                partition_spec(
                    topic,
                    entry,
                    node_id=self._node_id,
                    incarnation=self._incarnation,
                    on_open=self._opened,
                    on_closed=self._closed,
                )
            )

    def _remove_stale(self) -> None:
        if self._knows_all and self._stale:
            going = gone(self._stale, self._wanted, self._machine.state)
            self._stale -= going
            self._manager.remove(going)

    def _opened(self, replica: OpenReplica) -> None:
        self.local[replica.spec.raft_group] = self._parts.assemble(replica)

    def _closed(self, replica: OpenReplica) -> None:
        del self.local[replica.spec.raft_group]
        self._parts.forget(replica.spec.raft_group)
