"""Makes this node's replicas be what the metadata says: those it should have are opened, the others go.

One task looks whenever the metadata changed. It is safe to look at any time and to be cut short anywhere:
what a look did not do, the next one does.

A replica whose disk failed is closed at once, so that this node asks others who leads the partition, and
opened anew after a while, as after a restart: what was durable is there, and nothing else was promised. One
whose files only a newer build can read stays closed as long as this process runs, and its files as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from functools import partial
from typing import Final, ParamSpec, Protocol, TypeVar

import structlog

from consensus.host.group_host import GroupHost
from node.membership.identity import IdentityProblem
from node.membership.registry import Registry
from node.metadata.machine import MetadataMachine
from node.metadata.state import PartitionEntry, TopicEntry
from node.partition.partition import Replica
from node.replicas.backoff import Backoff
from node.replicas.replica_store import Opened, ReplicaStore
from node.replicas.wanted import gone, groups_here, wanted_here
from storage.errors import LogCorrupt, LogTooNew, StorageError
from storage.options import LogOptions

OPEN_AT_ONCE: Final = 64
"""Replicas opened and registered together: one fsync of the registry for all of them."""
LOG_TAIL_BYTES_MAX: Final = 4 << 20
"""Recent frames in memory per replica: enough for followers that keep up; others read from the page cache."""
LOG_TAILS_BYTES_MAX: Final = 256 << 20
"""... and of all replicas of this node together, where there are many: each gets its share, ..."""
LOG_TAIL_BYTES_MIN: Final = 64 << 10
"""... but no less than this."""

_T = TypeVar("_T")
_P = ParamSpec("_P")
_log = structlog.get_logger(__name__)


def tail_bytes(groups: int) -> int:
    """How much of its newest frames a replica keeps in memory on a node that is to have so many of them."""
    return max(LOG_TAIL_BYTES_MIN, min(LOG_TAIL_BYTES_MAX, LOG_TAILS_BYTES_MAX // max(1, groups)))


class MakeReplica(Protocol):
    """Puts the parts of one replica together; wiring.py has the only one."""

    def __call__(self, entry: PartitionEntry, opened: Opened, groups: int) -> Replica:
        """The replica, not running yet, on a node that is to have ``groups`` of them."""


class Replicas:
    """``local`` holds the replicas that run here, by group id."""

    def __init__(
        self,
        *,
        node_id: str,
        incarnation: str,
        host: GroupHost,
        machine: MetadataMachine,
        store: ReplicaStore,
        registry: Registry,
        make: MakeReplica,
        executor: Executor,
        on_added: Callable[[PartitionEntry, bool], None],
        on_removed: Callable[[int], object],
    ) -> None:
        self.local: dict[int, Replica] = {}
        self.opening = True
        """Until the replicas that the metadata named at the start all run."""
        self._node_id = node_id
        self._incarnation = incarnation
        self._host = host
        self._machine = machine
        self._store = store
        self._registry = registry
        self._make = make
        self._executor = executor
        self._on_added = on_added
        self._on_removed = on_removed
        self._backoff = Backoff()
        self._broken: dict[int, Exception] = {}
        """Those that were closed because they failed, and why; until they are open again."""
        self._resting: set[int] = set()
        self._knows_all = False
        self._changed = asyncio.Event()
        self._changed.set()
        self._looked = asyncio.Condition()

    def reconcile(self) -> None:
        """The metadata changed."""
        self._changed.set()

    def metadata_are_current(self) -> None:
        """They have all that was agreed on before this node started: what they do not want here may go.

        Until then they may be older than a replica that has come here since.
        """
        self._knows_all = True
        self._changed.set()

    async def run(self, present: set[int]) -> None:
        """Keep going until cancelled. ``present``: the replicas whose folders stand already."""
        stale = set(present)
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = dict(wanted_here(self._machine.state, self._node_id))
            await self._close_failed(wanted)
            await self._add(wanted)
            # Those that never opened too: a topic may be deleted before its disk is well.
            stale |= self.local.keys() | self._broken.keys()
            if self._knows_all:
                stale -= await self._remove(gone(stale - self._resting, wanted, self._machine.state))
            async with self._looked:
                self._looked.notify_all()

    @property
    def broken(self) -> int:
        """How many replicas do not run because of their disk."""
        return len(self._broken)

    @property
    def too_new(self) -> list[str]:
        """Of those, what is said of each that only a newer build can open."""
        return [str(error) for error in self._broken.values() if isinstance(error, LogTooNew)]

    def _is_too_new(self, group: int) -> bool:
        return isinstance(self._broken.get(group), LogTooNew)

    async def started(self) -> None:
        """Until all that the metadata names now, and this build can read, run; called once it is current."""
        async with self._looked:
            await self._looked.wait_for(
                lambda: all(
                    group in self.local or self._is_too_new(group)
                    for group, _ in wanted_here(self._machine.state, self._node_id)
                )
            )
        self.opening = False

    async def wait_local(self, raft_groups: Iterable[int], *, timeout_s: float) -> None:
        """Until those of the groups that belong here run, or the time is up."""
        wanted = groups_here(self._machine.state, self._node_id, raft_groups)
        try:
            async with asyncio.timeout(timeout_s), self._looked:
                await self._looked.wait_for(lambda: all(group in self.local for group in wanted))
        except TimeoutError:
            return

    async def _close_failed(self, wanted: dict[int, tuple[TopicEntry, PartitionEntry]]) -> None:
        for group, replica in list(self.local.items()):
            error = replica.group.failed
            if error is not None:
                del self.local[group]
                await self._host.remove(group)
                replica.vote.close()
                if group in wanted:
                    self._is_broken(*wanted[group], error)
                else:
                    self._put_off(group, error)

    def _put_off(self, group: int, error: Exception) -> None:
        self._broken[group] = error
        if not isinstance(error, LogTooNew):
            self._rest(group)

    def _rest(self, group: int) -> None:
        self._resting.add(group)

        def rested() -> None:
            self._resting.discard(group)
            self._changed.set()

        asyncio.get_running_loop().call_later(self._backoff.failed(group), rested)

    async def _add(self, wanted: dict[int, tuple[TopicEntry, PartitionEntry]]) -> None:
        """Open what is missing, in chunks."""
        missing = [
            group
            for group in wanted
            if group not in self.local
            and group not in self._resting
            and not self._is_too_new(group)
            # Metadata of before may want one that has gone from here: made anew, it would vote as a new one.
            and (self._knows_all or group in self._registry.groups)
        ]
        for start in range(0, len(missing), OPEN_AT_ONCE):
            chunk = missing[start : start + OPEN_AT_ONCE]
            opened = await asyncio.gather(*(self._open(*wanted[group], len(wanted)) for group in chunk))
            there = {group: files for group, files in zip(chunk, opened, strict=True) if files is not None}
            new = there.keys() - self._registry.groups
            try:
                await self._begin(wanted, there, new)
            except (StorageError, IdentityProblem, OSError) as error:
                # The disk failed under the registry, or under one of them: none of the rest was begun.
                for group in there.keys() - self.local.keys():
                    there[group].log.close()
                    there[group].vote.close()
                    self._is_broken(*wanted[group], error)

    async def _begin(
        self, wanted: dict[int, tuple[TopicEntry, PartitionEntry]], there: dict[int, Opened], new: set[int]
    ) -> None:
        replicas: dict[int, Replica] = {}
        for group, files in list(there.items()):
            try:
                # A group that was lost stores that itself when it is made; only then may it count as known.
                replicas[group] = self._make(wanted[group][1], files, len(wanted))
            except LogTooNew as error:
                files.log.close()
                files.vote.close()
                self._is_broken(*wanted[group], error)
                del there[group]
        new &= there.keys()
        if new:
            await self._in_thread(self._registry.created, new)
        for group, replica in replicas.items():
            if there[group].lost:
                await self._in_thread(self._store.settle, group)
            self.local[group] = replica
            if self._broken.pop(group, None) is not None:
                _log.info("replica_reopened", group=group)
            self._host.add(replica.group)
            if (damage := there[group].damage) is not None:
                self._host.disk_failed(group, damage)
            self._on_added(wanted[group][1], group in new)

    async def _open(self, topic: TopicEntry, entry: PartitionEntry, groups: int) -> Opened | None:
        options = LogOptions(segment_bytes=topic.config.segment_bytes, tail_bytes_max=tail_bytes(groups))
        known = entry.raft_group in self._registry.groups
        wiped = entry.incarnation_of(self._node_id) != self._incarnation
        before = self._broken.get(entry.raft_group)
        damage = before if isinstance(before, LogCorrupt) else None
        comes = self._node_id not in entry.replicas
        work = partial(self._store.open, known=known, wiped=wiped, damage=damage, comes=comes)
        try:
            return await self._in_thread(work, entry.raft_group, options)
        except (StorageError, OSError) as error:
            self._is_broken(topic, entry, error)
            return None

    def _is_broken(self, topic: TopicEntry, entry: PartitionEntry, error: Exception) -> None:
        _log.error("replica_failed", topic=topic.name, partition=entry.number, reason=str(error))
        self._put_off(entry.raft_group, error)

    async def _remove(self, groups: set[int]) -> set[int]:
        """Stop and delete replicas that are not wanted any more; those that are gone for good."""
        retired = set()
        for group in sorted(groups):
            replica = self.local.pop(group, None)
            if replica is not None:
                await self._host.remove(group)
                replica.vote.close()
                self._on_removed(group)
            self._broken.pop(group, None)
            if await self._on_disk(self._store.retire, group, groups={group}):
                retired.add(group)
        if not retired or not await self._on_disk(self._registry.removed, retired, groups=retired):
            return set()
        for group in sorted(retired):
            self._backoff.forget(group)
            if not await self._on_disk(self._store.remove, group, groups={group}):
                retired.discard(group)
        _log.info("replicas_removed", count=len(retired))
        return retired

    async def _on_disk(self, work: Callable[[_T], None], what: _T, *, groups: set[int]) -> bool:
        """Do part of a removal; when the disk fails, it is all begun again after a while."""
        try:
            await self._in_thread(work, what)
        except (StorageError, IdentityProblem, OSError) as error:
            _log.error("replicas_not_removed", groups=sorted(groups)[:10], reason=str(error))
            for group in groups:
                self._rest(group)
            return False
        return True

    async def _in_thread(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(work, *args, **kwargs))
