"""A cluster with faults that runs in the background of tests."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from chaos.cluster import ChaosCluster
from chaos.testing.loop_thread import LoopThread

T = TypeVar("T")
_ENDED_BY_ITSELF = "ended by itself"


class NodesEnded(Exception):
    """Nodes ended although no fault ended them. They were started again."""


class FaultyCluster:
    """Nodes n1, n2, ... behind proxies. Methods wait; call them from any thread but the cluster's own.

    folder  has the nodes' settings, logs (n1.log, ...) and data (n1/, ...)
    seed    of the random parts of faults
    """

    def __init__(self, chaos: ChaosCluster, thread: LoopThread, seed: int) -> None:
        self.chaos = chaos
        """The cluster itself. It belongs to the event loop in the background; use ``run`` to call it."""
        self.seed = seed
        self._thread = thread

    @property
    def folder(self) -> Path:
        """The folder with everything of the nodes."""
        return self.chaos.processes.folder

    @property
    def names(self) -> list[str]:
        """The nodes, in order."""
        return self.chaos.names

    @property
    def urls(self) -> list[str]:
        """Base URLs for clients, in the order of names, through the proxies."""
        return self.chaos.urls

    def url(self, name: str) -> str:
        """The base URL of one node, through its proxy."""
        return self.chaos.links.urls[name]

    def direct_url(self, name: str) -> str:
        """The base URL of one node, which bypasses all network faults."""
        return self.chaos.direct_url(name)

    def runs(self, name: str) -> bool:
        """Whether a node is up and not paused."""
        return self.chaos.runs(name)

    def leader(self, topic: str, partition: int = 0) -> str:
        """The node that leads a partition now. Raises ``chaos.view.NobodyLeads`` after 10 s without one."""
        return self.run(self.chaos.view.leader(topic, partition))

    def metadata_leader(self) -> str:
        """The node that leads the metadata group now. Raises ``chaos.view.NobodyLeads``."""
        return self.run(self.chaos.view.metadata_leader())

    def wait_ready(self) -> None:
        """Wait until every node says that it is ready. Raises ``local.errors.NotReady`` after two minutes."""
        self.run(self.chaos.ready())

    def revive(self) -> None:
        """Restart nodes that ended by themselves, wait until all are ready, and report them.

        Raises ``NodesEnded`` if there were any: a node must not end by itself.
        """
        ended = self.run(self._revive())
        if ended:
            told = ", ".join(f"{name} (exit code {code})" for name, code in ended.items())
            raise NodesEnded(f"nodes ended by themselves: {told}; their logs are in {self.folder}")

    async def _revive(self) -> dict[str, int]:
        codes = {name: child.process.returncode for name, child in self.chaos.processes.children.items()}
        ended = {name: code for name, code in codes.items() if code is not None}
        await self.chaos.hold_down(_ENDED_BY_ITSELF, *ended)
        await self.chaos.let_up(_ENDED_BY_ITSELF, *ended)
        await self.chaos.ready()
        return ended

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the event loop of the cluster, and wait."""
        return self._thread.run(work)

    async def run_async(self, work: Coroutine[Any, Any, T]) -> T:
        """The same from another event loop, which goes on meanwhile."""
        return await self._thread.run_async(work)

    @classmethod
    @contextmanager
    def running(cls, folder: Path, count: int, *, binary: Path, seed: int) -> Iterator[Self]:
        """A cluster that is ready, and gone afterwards. Raises ``LocalClusterError``."""
        with LoopThread() as thread:
            stack = AsyncExitStack()
            running = ChaosCluster.running(folder, count, binary=binary)
            chaos = thread.run(stack.enter_async_context(running))
            try:
                yield cls(chaos, thread, seed)
            finally:
                thread.run(stack.aclose())
