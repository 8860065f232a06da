"""A cluster of real node processes to inject faults into: all connections go through Toxiproxy, and each
node has a disk that fails on demand and a clock that can be wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Self

from chaos.history import GivenUp
from chaos.links import Links
from chaos.machines import Machines
from chaos.toxiproxy.server import ToxiproxyServer
from chaos.view import View
from local.access import Access
from local.cluster import LocalCluster
from local.errors import NotReady

_IN_ORDER = (0, None, -signal.SIGTERM)
"""Exit code of a node that SIGTERM killed while Python was still loading it, before it had a handler."""
_REMOVED = "removed"
_STARTS_S = 15.0
"""A node that has run for so long is not starting any more, whether or not it is ready."""


class NoFurtherNode(Exception):
    """A node was asked to join, but the cluster was made without further nodes."""


class ChaosCluster:
    """Nodes n1, n2, ... and their proxies.

    Several faults may need the same node to be down, or paused, at the same time. So each *holds* it under a
    name of its own, and the node goes on when no fault holds it any more.
    """

    def __init__(
        self,
        folder: Path,
        toxiproxy: ToxiproxyServer,
        count: int = 3,
        *,
        further: int = 0,
        scrub_interval_s: float | None = None,
        secure: bool = False,
    ) -> None:
        self.links = Links(toxiproxy.control)
        self.machines = Machines(folder)
        routes = self.machines.routes(self.links.routes, scrub_interval_s=scrub_interval_s)
        self.processes = LocalCluster(folder, count, routes=routes, further=further, secure=secure)
        self._founders = frozenset(self.processes.nodes)
        self.gone: set[str] = set()
        """Nodes that were removed from the cluster for good."""
        self.unfinished: list[str] = []
        """Changes of the cluster that did not end in time, although nothing blocked them any more."""
        self.when_recovered: Callable[[Sequence[GivenUp]], None] = lambda _given_up: None
        """Called with what a recovery has given up, while all nodes are down."""
        self._down: defaultdict[str, set[str]] = defaultdict(set)
        self._paused: defaultdict[str, set[str]] = defaultdict(set)
        self._deaths: dict[str, int] = {}
        self._started_s: dict[str, float] = {}
        """When the event loop's clock said that a node was started again."""
        self._changing = asyncio.Lock()
        self.losing_data = asyncio.Lock()
        """Held by a fault that costs nodes their data until they are told to come back: one at a time."""
        self.leaving = asyncio.Lock()
        """Held by a fault after which nodes are not there any more: one at a time."""
        self.view = View(self)

    @property
    def names(self) -> list[str]:
        """The current nodes of the cluster, in order."""
        return sorted(self.processes.nodes.keys() - self.gone)

    @property
    def has_grown(self) -> bool:
        """Whether nodes have joined, or may be about to."""
        return not self._founders.issuperset(self.processes.nodes)

    @property
    def urls(self) -> list[str]:
        """Base URLs for clients: those of the proxies, of nodes that will join later as well."""
        return [self.links.urls[name] for name in sorted({*self.names, *self.processes.further})]

    @property
    def access(self) -> Access:
        """How an administrator asks the nodes."""
        return self.processes.access

    def direct_url(self, name: str) -> str:
        """A node's own base URL, which bypasses all network faults."""
        return self.processes.nodes[name].url

    def runs(self, name: str) -> bool:
        """Whether a node's process runs and is not paused."""
        child = self.processes.children.get(name)
        return child is not None and child.process.returncode is None and not self._paused[name]

    def died(self) -> dict[str, int]:
        """node -> exit code of those that ended by themselves, or failed when asked to stop."""
        codes = {name: child.process.returncode for name, child in self.processes.children.items()}
        self._deaths.update({name: code for name, code in codes.items() if code is not None})
        return dict(self._deaths)

    async def ready(self) -> None:
        """Wait until every node is ready."""
        await self.processes.ready(*self.names)

    async def join(self, holder: str) -> str:
        """Add the next further node, which joins those that run; returns its name.

        It is started when the holder lets it up. Raises ``NoFurtherNode``.
        """
        async with self._changing:
            if not self.processes.further:
                raise NoFurtherNode("all further nodes have joined already")
            name = min(self.processes.further)
            self.processes.add(name, seeds=self._members())
            self._down[name].add(holder)
        return name

    async def rejoin(self, name: str) -> None:
        """Make a node join the others again when it is started next, with what is in its folder."""
        async with self._changing:
            self.processes.add(name, seeds=self._members() - {name})

    async def part(self, name: str) -> None:
        """End the process of a node that was removed from the cluster; it is never started again."""
        await self.hold_down(_REMOVED, name, gently=name in self.processes.children)
        self.gone.add(name)

    def _members(self) -> set[str]:
        return set(self.names) & self.processes.children.keys() or set(self.names)

    async def hold_down(self, holder: str, *names: str, gently: bool = False) -> None:
        """End nodes, all at once, and keep them down: kill -9, or SIGTERM when ``gently``."""
        async with self._changing:
            self.died()  # notes those that ended by themselves
            up = [name for name in names if name in self.processes.children]
            for name in names:
                self._down[name].add(holder)
            if gently:
                # A paused node cannot handle the signal: resume it first.
                self.processes.resume(*up)
                codes = await self.processes.stop(*up) if up else {}
                self._deaths.update({name: code for name, code in codes.items() if code not in _IN_ORDER})
            else:
                await self.processes.kill(*up)

    async def let_up(self, holder: str, *names: str) -> None:
        """Start the nodes again that no other holder keeps down. Does not wait until they are ready."""
        async with self._changing:
            for name in names:
                self._down[name].discard(holder)
            up = [name for name in names if not self._down[name] and name not in self.processes.children]
            if up:
                await self.processes.start(*up)
                self._started_s.update(dict.fromkeys(up, asyncio.get_running_loop().time()))
                self.processes.pause(*(name for name in up if self._paused[name]))

    async def hold_once_down(self, holder: str, *names: str) -> None:
        """Nodes that end stay down until the holder lets them up. Those that run go on; returns when none of
        them is just starting."""
        async with self._changing:
            for name in names:
                self._down[name].add(holder)
        await asyncio.gather(*map(self._past_start, names))

    async def _past_start(self, name: str) -> None:
        left_s = self._started_s.get(name, -_STARTS_S) + _STARTS_S - asyncio.get_running_loop().time()
        if left_s > 0 and self.runs(name):
            with contextlib.suppress(NotReady):
                await self.processes.ready(name, timeout_s=left_s)

    async def hold_still(self, holder: str, *names: str) -> None:
        """SIGSTOP."""
        async with self._changing:
            for name in names:
                self._paused[name].add(holder)
            self.processes.pause(*(name for name in names if name in self.processes.children))

    async def let_go(self, holder: str, *names: str) -> None:
        """Send SIGCONT to those that no other holder pauses."""
        async with self._changing:
            for name in names:
                self._paused[name].discard(holder)
            free = [name for name in names if not self._paused[name]]
            self.processes.resume(*(name for name in free if name in self.processes.children))

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls,
        folder: Path,
        count: int = 3,
        *,
        further: int = 0,
        binary: Path | None = None,
        scrub_interval_s: float | None = None,
        secure: bool = False,
    ) -> AsyncIterator[Self]:
        """A cluster that is ready, and is removed at the end, whatever faults are still in force.

        ``further``: nodes that may join it later. ``secure``: with TLS on all links, and authentication.
        Raises ``ToxiproxyMissing``, and ``LocalClusterError`` when the nodes do not get ready.
        """
        toxiproxy = await asyncio.to_thread(ToxiproxyServer, folder / "toxiproxy.log", binary=binary)
        try:
            cluster = await asyncio.to_thread(
                cls,
                folder,
                toxiproxy,
                count,
                further=further,
                scrub_interval_s=scrub_interval_s,
                secure=secure,
            )
            try:
                await cluster.processes.start()
                await cluster.ready()
                if secure:
                    await cluster.processes.take_token()
                yield cluster
            finally:
                await cluster.processes.kill(*cluster.processes.children)
                cluster.processes.close()
                cluster.machines.close()
        finally:
            await asyncio.to_thread(toxiproxy.close)
