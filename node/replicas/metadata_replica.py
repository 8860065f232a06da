"""This node's replica of the metadata: opened when the node may take part, and anew after its disk failed."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from functools import partial
from typing import Final

import structlog

from consensus.host.group_host import GroupHost
from node.membership.registry import Registry
from node.metadata.group import SEGMENT_BYTES, Metadata
from node.metadata.machine import MetadataMachine
from node.metadata.state import METADATA_GROUP
from node.replicas.backoff import Backoff
from node.replicas.builder import Builder
from node.replicas.replica_store import Opened, ReplicaStore
from storage.errors import LogCorrupt, LogTooNew, StorageError
from storage.options import LogOptions

_OPTIONS: Final = LogOptions(segment_bytes=SEGMENT_BYTES, tail_bytes_max=SEGMENT_BYTES)

_log = structlog.get_logger(__name__)


class MetadataReplica:
    """While it does not run, what this node knows of the cluster stays, and grows old."""

    def __init__(
        self,
        *,
        host: GroupHost,
        store: ReplicaStore,
        registry: Registry,
        builder: Builder,
        machine: MetadataMachine,
        metadata: Metadata,
        executor: Executor,
    ) -> None:
        self._host = host
        self._store = store
        self._registry = registry
        self._builder = builder
        self._machine = machine
        self._metadata = metadata
        self._executor = executor
        self._opened: Opened | None = None
        self._failure: Exception | None = None
        self._failed = asyncio.Event()

    def failed(self) -> None:
        """The group's disk failed."""
        self._failed.set()

    async def join(self, *, known: bool, wiped: bool) -> None:
        """Open it and take part. Raises ``StorageError``, ``OSError``."""
        damage = self._failure if isinstance(self._failure, LogCorrupt) else None
        work = partial(self._store.open, METADATA_GROUP, _OPTIONS, known=known, wiped=wiped, damage=damage)
        opened = await asyncio.get_running_loop().run_in_executor(self._executor, work)
        try:
            group = self._builder.group(METADATA_GROUP, opened, self._machine, self._metadata.first)
            # If it was lost, the group has stored that by now; only then may it count as known, or take part.
            if not known:
                self._registry.created([METADATA_GROUP])
            self._store.settle(METADATA_GROUP)
        except BaseException:
            opened.log.close()
            opened.vote.close()
            raise
        self._opened = opened
        self._metadata.join(group)
        if opened.damage is not None:
            self._host.disk_failed(METADATA_GROUP, opened.damage)

    async def keep(self) -> None:
        """Open it again whenever it has failed, until cancelled."""
        backoff = Backoff()
        while True:
            await self._failed.wait()
            self._failed.clear()
            await self._leave()
            while self._opened is None:
                if isinstance(self._failure, LogTooNew):
                    _log.error("metadata_failed", reason=str(self._failure))
                    await asyncio.Event().wait()  # as long as this process runs
                await asyncio.sleep(backoff.failed(METADATA_GROUP))
                try:
                    await self.join(known=True, wiped=False)
                except (StorageError, OSError) as error:
                    self._failure = error
                    _log.error("metadata_failed", reason=str(error))
            _log.info("metadata_reopened")
            await self._catch_up()

    async def _catch_up(self) -> None:
        """Until all that was agreed on meanwhile is known here, or the disk fails again."""
        current = asyncio.ensure_future(self._metadata.become_current())
        again = asyncio.ensure_future(self._failed.wait())
        try:
            await asyncio.wait((current, again), return_when=asyncio.FIRST_COMPLETED)
        finally:
            current.cancel()
            again.cancel()

    async def _leave(self) -> None:
        if self._opened is not None and self._metadata.group is not None:
            self._failure = self._metadata.group.failed
            self._metadata.group = None
            self._metadata.is_current = False
            await self._host.remove(METADATA_GROUP)
            self._opened.vote.close()
            self._opened = None
