"""Runs this node's replicas, of whatever kind: opens those that are wanted, closes or removes the others.

The owner of a kind calls ``want``, ``close`` and ``remove``; one task reconciles the disk and the host with
that. It looks only at groups that were named, and may be interrupted anywhere: what it did not do, it does
next time.

A replica whose disk failed is closed at once, so that this node asks others who leads the group, and opened
again after a while, as after a restart: what was durable is there, and nothing else was promised. Where its
data is gone, it comes back without a vote and fetches everything from the others. One whose files only a
newer build can read stays closed as long as this process runs, and its files are left as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Final, ParamSpec, TypeVar

import structlog

from consensus.core.large_state import is_large
from consensus.host.group_host import GroupHost
from node.membership.identity import IdentityProblem
from node.membership.registry import Registry
from node.replicas.backoff import Backoff
from node.replicas.group_factory import GroupFactory, tail_bytes
from node.replicas.replica_spec import Machine, OpenReplica, ReplicaSpec
from node.replicas.replica_store import Opened, ReplicaStore
from storage.errors import LogCorrupt, LogTooNew, StorageError
from storage.options import LogOptions

AT_ONCE: Final = 64
"""Replicas opened and registered, or removed, together: one fsync of the registry for all of them. Other
work, such as opening the metadata again, waits for no more than these."""
_DISK_ERRORS: Final = (StorageError, IdentityProblem, OSError)

_T = TypeVar("_T")
_P = ParamSpec("_P")
_log = structlog.get_logger(__name__)


class ReplicaManager:
    """Lives on the event loop; the disk is worked on in ``executor``."""

    def __init__(
        self,
        *,
        host: GroupHost,
        store: ReplicaStore,
        registry: Registry,
        groups: GroupFactory,
        executor: Executor,
    ) -> None:
        self._host = host
        self._store = store
        self._registry = registry
        self._groups = groups
        self._executor = executor
        self._specs: dict[int, ReplicaSpec] = {}
        self._many = 0
        self._running: dict[int, OpenReplica] = {}
        self._broken: dict[int, Exception] = {}
        self._removing: set[int] = set()
        self._resting: set[int] = set()
        """Groups whose disk failed recently: they wait before they are opened again."""
        self._due: set[int] = set()
        """Groups to reconcile."""
        self._backoff = Backoff()
        self._said = asyncio.Event()
        self._looked = asyncio.Condition()

    @property
    def running(self) -> Mapping[int, OpenReplica]:
        """The running replicas, by group."""
        return self._running

    @property
    def specs(self) -> Mapping[int, ReplicaSpec]:
        """The replicas that should run here, by group."""
        return self._specs

    @property
    def broken(self) -> Mapping[int, Exception]:
        """Those that do not run because they failed, or could not be opened, and why."""
        return self._broken

    def is_too_new(self, raft_group: int) -> bool:
        """Whether only a newer build can open it: it stays closed as long as this process runs."""
        return isinstance(self._broken.get(raft_group), LogTooNew)

    def want(self, spec: ReplicaSpec) -> None:
        """Have it run. A running one goes on as it is: the spec is used when it is next opened."""
        self._forget_spec(spec.raft_group)
        self._specs[spec.raft_group] = spec
        self._many += spec.is_one_of_many
        self._removing.discard(spec.raft_group)
        if spec.raft_group not in self._running:
            self._look_at([spec.raft_group])

    def close(self, raft_groups: Collection[int]) -> None:
        """Stop replicas; their data stays."""
        for raft_group in raft_groups:
            self._forget_spec(raft_group)
            self._broken.pop(raft_group, None)
        self._look_at(raft_groups)

    def remove(self, raft_groups: Collection[int]) -> None:
        """Stop replicas, where they run, and delete their data."""
        self._removing.update(raft_groups)
        self.close(raft_groups)

    def failed(self, raft_group: int) -> None:
        """The host has reported that the replica failed."""
        self._look_at([raft_group])

    async def opened(self, raft_group: int) -> None:
        """Wait until it runs. Raises what its first opening raised; opening is retried all the same."""
        await self.until(lambda: raft_group in self._running or raft_group in self._broken)
        if (error := self._broken.get(raft_group)) is not None:
            raise error

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until ``holds``, which is checked whenever replicas were opened or closed."""
        async with self._looked:
            await self._looked.wait_for(holds)

    def release(self) -> None:
        """Close what the host does not close; call it when the host has stopped."""
        for replica in self._running.values():
            replica.vote.close()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        while True:
            await self._said.wait()
            self._said.clear()
            while self._due:
                await self._look()
                async with self._looked:
                    self._looked.notify_all()

    def _look_at(self, raft_groups: Iterable[int]) -> None:
        self._due.update(raft_groups)
        self._said.set()

    def _forget_spec(self, raft_group: int) -> None:
        spec = self._specs.pop(raft_group, None)
        self._many -= spec is not None and spec.is_one_of_many

    async def _look(self) -> None:
        # In order: the metadata first, since all else depends on it.
        due, self._due = sorted(self._due), set()
        for raft_group in due:
            replica = self._running.get(raft_group)
            if replica is not None and (replica.group.failed or raft_group not in self._specs):
                await self._close(replica)
        missing = [raft_group for raft_group in due if self._is_missing(raft_group)]
        await self._open([self._specs[raft_group] for raft_group in missing[:AT_ONCE]])
        unwanted = [raft_group for raft_group in due if self._is_to_go(raft_group)]
        await self._remove(unwanted[:AT_ONCE])
        self._due.update(missing[AT_ONCE:], unwanted[AT_ONCE:])

    def _is_missing(self, raft_group: int) -> bool:
        return (
            raft_group in self._specs
            and raft_group not in self._running
            and raft_group not in self._resting
            and not self.is_too_new(raft_group)
        )

    def _is_to_go(self, raft_group: int) -> bool:
        return (
            raft_group in self._removing
            and raft_group not in self._running
            and raft_group not in self._resting
        )

    async def _close(self, replica: OpenReplica) -> None:
        raft_group, error = replica.spec.raft_group, replica.group.failed
        del self._running[raft_group]
        replica.spec.on_closed(replica)
        await self._host.remove(raft_group)
        replica.vote.close()
        if error is not None and (spec := self._specs.get(raft_group)) is not None:
            self._is_broken(spec, error)

    async def _open(self, specs: Collection[ReplicaSpec]) -> None:
        """Open what is missing, together."""
        machines = [spec.machine() for spec in specs]
        opened = await asyncio.gather(*map(self._open_files, specs, machines))
        there = [
            (spec, machine, files)
            for spec, machine, files in zip(specs, machines, opened, strict=True)
            if files is not None
        ]
        try:
            await self._begin(there)
        except _DISK_ERRORS as error:
            # The disk failed under the registry or one of them: the rest was not begun.
            for spec, _, files in there:
                if spec.raft_group not in self._running:
                    files.log.close()
                    files.vote.close()
                    self._is_broken(spec, error)

    async def _open_files(self, spec: ReplicaSpec, machine: Machine) -> Opened | None:
        kept = spec.tail_bytes if spec.tail_bytes is not None else tail_bytes(self._many)
        before = self._broken.get(spec.raft_group)
        work = partial(
            self._store.open,
            known=spec.raft_group in self._registry.groups,
            wiped=spec.wiped,
            comes=spec.comes,
            damage=before if isinstance(before, LogCorrupt) else None,
            machine=machine if is_large(machine) else None,
        )
        options = LogOptions(segment_bytes=spec.segment_bytes, tail_bytes_max=kept)
        try:
            return await self._in_thread(work, spec.raft_group, options)
        except _DISK_ERRORS as error:
            self._is_broken(spec, error)
            return None

    async def _begin(self, there: list[tuple[ReplicaSpec, Machine, Opened]]) -> None:
        made: list[tuple[OpenReplica, Opened]] = []
        for spec, machine, files in list(there):
            try:
                # A lost replica's group stores that when it is made; only then may the registry know it.
                group = self._groups.group(spec, files, machine, groups=self._many)
            except LogTooNew as error:
                files.log.close()
                files.vote.close()
                there.remove((spec, machine, files))
                self._is_broken(spec, error)
                continue
            made.append((OpenReplica(spec, group, files.log, files.vote, machine), files))
        new = {replica.spec.raft_group for replica, _ in made} - self._registry.groups
        if new:
            await self._in_thread(self._registry.created, new)
        for replica, files in made:
            raft_group = replica.spec.raft_group
            if files.lost:
                await self._in_thread(self._store.settle, raft_group)
            self._takes_part(replica, files, is_new=raft_group in new)

    def _takes_part(self, replica: OpenReplica, files: Opened, *, is_new: bool) -> None:
        spec = replica.spec
        self._running[spec.raft_group] = replica
        if self._broken.pop(spec.raft_group, None) is not None:
            _log.info(f"{spec.log_name}_reopened", group=spec.raft_group)
        spec.on_open(replica)
        self._host.add(replica.group)
        if files.damage is not None:
            self._host.disk.failed(spec.raft_group, files.damage)
        loop = asyncio.get_running_loop()
        for delay in spec.campaign_new_s if is_new else spec.campaign_again_s:
            loop.call_later(delay, self._host.campaign, spec.raft_group)

    def _is_broken(self, spec: ReplicaSpec, error: Exception) -> None:
        _log.error(f"{spec.log_name}_failed", **spec.log_fields, reason=str(error))
        self._broken[spec.raft_group] = error
        if not isinstance(error, LogTooNew):
            self._rest(spec.raft_group)

    def _rest(self, raft_group: int) -> None:
        self._resting.add(raft_group)

        def rested() -> None:
            self._resting.discard(raft_group)
            self._look_at([raft_group])

        asyncio.get_running_loop().call_later(self._backoff.failed(raft_group), rested)

    async def _remove(self, raft_groups: list[int]) -> None:
        """Delete what stopped replicas have left on the disk."""
        retired = []
        for raft_group in raft_groups:
            is_wanted = raft_group not in self._removing  # since a moment ago
            if not is_wanted and await self._on_disk(self._store.retire, raft_group, groups=[raft_group]):
                retired.append(raft_group)
        if not retired or not await self._on_disk(self._registry.removed, retired, groups=retired):
            return
        for raft_group in retired:
            self._backoff.forget(raft_group)
            if await self._on_disk(self._store.remove, raft_group, groups=[raft_group]):
                self._removing.discard(raft_group)
        _log.info("replicas_removed", count=len(retired))

    async def _on_disk(self, work: Callable[[_T], None], what: _T, *, groups: list[int]) -> bool:
        """Do part of a removal; when the disk fails, all of it is retried after a while."""
        try:
            await self._in_thread(work, what)
        except _DISK_ERRORS as error:
            _log.error("replicas_not_removed", groups=groups[:10], reason=str(error))
            for raft_group in groups:
                self._rest(raft_group)
            return False
        return True

    async def _in_thread(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(work, *args, **kwargs))
