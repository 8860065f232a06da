"""Start and graceful shutdown of a node, in an order that never promises what it cannot keep.

Start: HTTP listens (so that /readyz can say what is missing), then the peers' port. A new data folder waits
until all initial peers have said whether they know it. Only then the metadata group joins, and with it
everything else.

Stop: the node reports not ready, hands over leaderships while it still answers and forwards requests, drains
connections, then flushes and checkpoints the groups.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Coroutine
from typing import Any, Final

import structlog

from consensus.types import Role
from node.addresses import split_address
from node.http.context import CONTEXT
from node.membership.discovery import Discovery
from node.membership.identity import NodeIdentity, Standing
from node.metadata.state import METADATA_GROUP
from node.replicas.metadata_spec import metadata_spec
from node.settings import Settings
from node.wiring import NodeParts
from storage.errors import LogFailed, LogTooNew

HAND_OVER_S: Final = 3.0
HAND_OVER_STUCK_S: Final = 1.0
"""With nothing handed over for this long, the others seem to be stopping too: give up."""
LOOK_AGAIN_S: Final = 0.05
"""Nothing tells of a node that takes nothing over since it stops as well."""
DRAIN_S: Final = 2.0
ANSWERS_WITHIN_S: Final = 2.0
"""How long a starting node waits for all others to say whether its folder is an old copy."""

_log = structlog.get_logger(__name__)


class FolderSetBack(Exception):
    """A peer has seen this folder in a later state: what it holds counts as lost (see ``server.py``)."""


class Lifecycle:
    """One node's life."""

    def __init__(self, settings: Settings, identity: NodeIdentity, parts: NodeParts) -> None:
        self._settings = settings
        self._identity = identity
        self._parts = parts
        self._tasks: set[asyncio.Task[None]] = set()
        self._http_runs = self._host_runs = False
        self._failure: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def run(self, stop: asyncio.Event) -> None:
        """Start, and return when ``stop`` is set. Raises what made this node fail, or ``FolderSetBack``."""
        failure = self._failure
        self._parts.discovery.set_back.follow(self._set_back)
        self._spawn(self._start())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            waits: list[asyncio.Future[Any]] = [failure, stopping]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if failure.done():
            raise failure.result()

    async def _start(self) -> None:
        parts, settings = self._parts, self._settings
        host, port = await parts.http.start(*split_address(settings.http.listen))
        self._http_runs = True
        scheme = "https" if settings.http.tls.is_on else "http"
        url = settings.http.advertise or f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        parts.discovery.introduce(http=url, peer=settings.peer_advertise, rack=settings.node.rack)
        await parts.host.start()
        self._host_runs = True
        _log.info("listening", http=url, peer=settings.peer.listen, incarnation=self._identity.incarnation)
        parts.dialer.start()
        self._spawn(parts.seeds.run())
        self._spawn(parts.credentials.run(parts.executor, parts.host.links.drop_outdated))
        self._spawn(parts.disk.run())
        await self._join()
        for task in parts.background:
            self._spawn(task())
        if parts.audit is not None:
            self._spawn(parts.audit.run())

    async def _join(self) -> None:
        """Take part in the metadata group, and through it in the others."""
        parts = self._parts
        await self._settle(parts.discovery)
        standing = parts.discovery.standing
        parts.metadata.first = parts.discovery.first_membership
        loop = asyncio.get_running_loop()
        present = await loop.run_in_executor(parts.executor, parts.store.sweep)
        self._spawn(parts.manager.run())
        self._spawn(parts.metadata.keep_current())
        me, formed_of = parts.discovery.identity, parts.discovery.roster.formed_of
        asks_first = not me.joined and me.node_id == min(formed_of, default="")
        parts.manager.want(
            metadata_spec(parts.metadata, wiped=standing is Standing.WIPED, asks_first=asks_first)
        )
        await parts.manager.opened(METADATA_GROUP)
        self._spawn(self._become_ready())
        parts.replicas.start(present)

    async def _settle(self, discovery: Discovery) -> None:
        """Wait until it is known what this folder is, and that this node may take part with it."""
        if discovery.misplaced is not None:
            _log.error("data_folder_misplaced", reason=discovery.misplaced)
            await asyncio.Event().wait()  # as long as this process runs
        if not discovery.decided.is_set():
            if discovery.joining.is_newcomer:
                _log.info("joining_a_cluster", seeds=self._settings.cluster.join)
            else:
                _log.info("new_data_folder", waiting_for=discovery.unheard)
            await discovery.decided.wait()
        elif not discovery.answered.is_set():
            # Peers that know this folder in a later state say so before it promises anything. Nodes that are
            # away are not waited for long: one node that is down must not keep the cluster down.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWERS_WITHIN_S):
                    await discovery.answered.wait()
        if discovery.outdated is not None:
            _log.error("data_folder_outdated", reason=discovery.outdated)
            await asyncio.Event().wait()  # as long as this process runs
        discovery.settle()

    def _set_back(self) -> None:
        """This folder is an old copy: send nothing more."""
        self._parts.host.links.sever()
        self._fail(FolderSetBack())

    async def _become_ready(self) -> None:
        await self._parts.metadata.wait_current()
        self._parts.replicas.metadata_are_current()
        await self._parts.replicas.started()
        self._spawn(self._parts.scrub.run())

    async def stop(self) -> None:
        """Shut down gracefully; safe after a start that failed half way."""
        parts = self._parts
        parts.app[CONTEXT].service.draining.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._host_runs:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HAND_OVER_S):
                    await self._hand_over()
        parts.gossip.stop()
        # Requests of clients here may still need other nodes; requests of other nodes should go elsewhere.
        bulk = parts.host.links.bulk
        if self._http_runs:
            await asyncio.gather(parts.http.stop(DRAIN_S), bulk.serve_no_more())
            if parts.audit is not None:
                await parts.audit.finish()
        if self._host_runs:
            await parts.host.stop()
        parts.manager.release()
        parts.executor.shutdown(wait=True)

    async def _hand_over(self) -> None:
        """Hand over until no other node could lead what is led here, or none takes over any more."""
        host, changed = self._parts.host, self._parts.events.leadership_changed
        host.leave()
        fewest, since = math.inf, time.monotonic()
        while time.monotonic() - since < HAND_OVER_STUCK_S:
            changed.clear()
            running = self._parts.manager.running.values()
            led = [replica.spec.raft_group for replica in running if replica.group.role is Role.LEADER]
            # All of them each time: a failed transfer is begun again, one under way goes on.
            begun = [raft_group for raft_group in led if host.transfer(raft_group)]
            if not begun:
                return
            if len(begun) < fewest:
                fewest, since = len(begun), time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await changed.wait()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _fail(self, error: Exception) -> None:
        """This node cannot go on."""
        if not self._failure.done():
            self._failure.set_result(error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Exception):
            if not isinstance(error, OSError | LogFailed | LogTooNew):
                _log.error("task_failed", exc_info=error)
            self._fail(error)
