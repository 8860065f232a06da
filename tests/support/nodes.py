"""Whole nodes inside the test's own process: real sockets, real files, real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import aiohttp
from floodmark.errors import Conflict

from node import settings_sources
from node.broker import Partition
from node.local_broker import LocalBroker
from node.metadata.levels import Levels
from node.metadata.this_build import THIS_BUILD
from node.metadata.topic_config import TopicConfig
from node.server import serve
from node.settings import Settings
from node.wiring import NodeParts

SECRET = "a secret of the tests"
_PORTS = range(12_000, 18_000)
"""Those above are where servers of toxiproxy and local clusters look for theirs."""
_held: list[int] = []
"""Descriptors of lock files: a port picked here is nobody else's while this process lives."""


def free_port() -> int:
    """A port that no other test process on this machine picks at the same time."""
    folder = Path(tempfile.gettempdir()) / "floodmark-test-ports"
    folder.mkdir(exist_ok=True)
    while True:
        port = random.SystemRandom().choice(_PORTS)
        lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _held.append(lock)
        return port


class TestNode:
    """One node, running or not; its folder outlives its runs."""

    __test__ = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.node_id = settings.node.id
        self.data_dir = Path(settings.node.data_dir)
        self.levels = THIS_BUILD
        """What its build knows, from its next start on."""
        self.parts: NodeParts | None = None
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> NodeParts:
        """The parts of the running node."""
        assert self.parts is not None, f"{self.node_id} does not run"
        return self.parts

    @property
    def broker(self) -> LocalBroker:
        """The broker of the running node."""
        return self.running.broker

    @property
    def is_told_of(self) -> bool:
        """Whether the running node has told where it listens."""
        return self.node_id in self.running.discovery.nodes

    @property
    def url(self) -> str:
        """The base URL of the running node."""
        return self.running.discovery.nodes[self.node_id].http

    def start(self) -> None:
        """Begin to run; ``wait`` for what it should come to."""
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await serve(self.settings, stop=self._stop, on_built=self._built, levels=self.levels)
        finally:
            self.parts = None

    def _built(self, parts: NodeParts) -> None:
        self.parts = parts

    async def ended(self) -> None:
        """Wait until it leaves by itself; raises what made it."""
        task, self._task = self._task, None
        assert task is not None, "it was started"
        async with asyncio.timeout(30):
            await task

    async def stop(self) -> None:
        """Leave in an orderly way; raises what made the node fail."""
        self._stop.set()
        if self._task is not None:
            task, self._task = self._task, None
            await task

    def groups_led(self) -> list[int]:
        """Ids of the partitions' groups that this node leads."""
        local = self.running.replicas.local
        return [raft_group for raft_group, replica in local.items() if replica.group.is_ready_leader]


def _of(name: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value(name) if callable(value) else value for key, value in flags.items()}


class NodeCluster:
    """Nodes n1, n2, ... of one cluster. A flag may be a function of a node's name."""

    def __init__(self, folder: Path, count: int = 3, **flags: Any) -> None:
        self._folder, self._flags = folder, flags
        names = [f"n{number}" for number in range(1, count + 1)]
        peers = {name: f"127.0.0.1:{free_port()}" for name in names}
        self.nodes = {
            name: TestNode(
                settings_sources.load(
                    flags={
                        "node.id": name,
                        "node.data_dir": str(folder / name),
                        "http.listen": "127.0.0.1:0",
                        "peer.listen": peers[name],
                        "cluster.peers": peers,
                        "cluster.secret": SECRET,
                        **_of(name, flags),
                    }
                )
            )
            for name in names
        }
        self.session: aiohttp.ClientSession

    def newcomer(self, name: str, *, seeds: tuple[str, ...] = ("n1",), **flags: Any) -> TestNode:
        """A further node with an empty folder, not started, that is to join by the ports of ``seeds``."""
        settings = settings_sources.load(
            flags={
                "node.id": name,
                "node.data_dir": str(self._folder / name),
                "http.listen": "127.0.0.1:0",
                "peer.listen": f"127.0.0.1:{free_port()}",
                "cluster.join": [self.nodes[seed].settings.peer.listen for seed in seeds],
                "cluster.secret": SECRET,
                **_of(name, self._flags),
                **flags,
            }
        )
        return TestNode(settings)

    async def grow(self, name: str, **flags: Any) -> TestNode:
        """A further node joins, and is ready; all others know it then."""
        node = self.nodes[name] = self.newcomer(name, **flags)
        node.start()
        await self.ready(name)
        await self.until(
            lambda: all(name in each.running.metadata.state.nodes for each in self.up), f"all know {name}"
        )
        return node

    def __getitem__(self, name: str) -> TestNode:
        return self.nodes[name]

    @property
    def up(self) -> list[TestNode]:
        """The nodes that run."""
        return [node for node in self.nodes.values() if node.parts is not None]

    async def until(self, condition: Callable[[], object], what: str, *, deadline_s: float = 60) -> None:
        """Wait until something holds. Conditions span nodes, so they are looked at again and again."""
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():  # noqa: ASYNC110 - no one event covers several nodes
                    await asyncio.sleep(0.01)
        except TimeoutError:
            states = {node.node_id: node.broker.health() for node in self.up}
            raise AssertionError(f"not within {deadline_s} s: {what}; {states}") from None

    async def _start(self, builds: Mapping[str, Levels]) -> None:
        for name, node in self.nodes.items():
            node.levels = builds[name]
            node.start()
        await self.ready()
        await self.until(
            lambda: all(
                node.broker.hears(name)
                and node.running.metadata.state.nodes[name].levels == (build.lowest, build.highest)
                and node.running.metadata.state.nodes[name].http == self.nodes[name].url
                for node in self.up
                for name, build in builds.items()
            ),
            "all nodes hear each other, and are registered as what they are",
        )

    async def ready(self, *names: str) -> None:
        """Wait until the named nodes, or all that run, are ready."""
        wanted = [self.nodes[name] for name in names] if names else list(self.nodes.values())
        await self.until(
            lambda: all(node.parts is not None and node.broker.health().ready for node in wanted),
            f"{[node.node_id for node in wanted]} ready",
        )

    async def create(self, topic: str, *, partitions: int = 1, replicas: int = 0, **config: Any) -> None:
        """Make a topic where topics are made. The preferred leaders lead it then: others would hand it over
        to them some seconds later, and whoever asks just then is told that another node leads.
        """
        node = self.up[0]
        leader = await node.broker.metadata.wait_leader(timeout_s=10)
        async with asyncio.timeout(30):
            while True:
                try:
                    await self[leader].broker.topics.create(
                        topic,
                        partitions=partitions,
                        replication_factor=replicas,
                        config=TopicConfig(**config),
                        timeout_s=10,
                    )
                    break
                except Conflict as error:  # A node did not answer in time.
                    if "Try again" not in error.detail:
                        raise
                await asyncio.sleep(0.1)
        for node in self.up:
            await node.broker.catch_up(timeout_s=10)
        with contextlib.suppress(TimeoutError):  # There are tests of topics that these cannot lead.
            async with asyncio.timeout(10):
                while not self._led_as_preferred(topic):  # noqa: ASYNC110 - as in ``until``
                    await asyncio.sleep(0.01)

    def _led_as_preferred(self, topic: str) -> bool:
        """Whether each partition is led by the node that is to, unless that cannot."""
        state = self.up[0].running.metadata.state
        led = {node.node_id: set(node.groups_led()) for node in self.up if not node.running.replicas.broken}
        return all(
            entry.raft_group in led.get(name, {entry.raft_group})
            for entry in state.topics[topic].partitions
            for name in [self.up[0].running.controller._unsettled.best_leader(entry)]
        )

    async def leader(self, topic: str, partition: int = 0, *, besides: str = "") -> TestNode:
        """The running node that leads a partition and can serve."""
        found: list[TestNode] = []

        def look() -> bool:
            found[:] = [
                node
                for node in self.up
                if node.node_id != besides
                and topic in node.running.metadata.state.topics
                and node.broker.partition(topic, partition).leads_here
            ]
            return bool(found)

        await self.until(look, f"a leader of {topic}/{partition}")
        return found[0]

    async def hand_over(self, topic: str, partition: int = 0, *, to: str = "") -> TestNode:
        """Another node leads a partition than before, or the named one; it is asked for again where that
        came to nothing, as a successor that is not there in time has none of it.
        """
        before = await self.leader(topic, partition)
        raft_group = before.running.metadata.state.topics[topic].partitions[partition].raft_group
        found: list[TestNode] = []

        def look() -> bool:
            knows = [node for node in self.up if topic in node.running.metadata.state.topics]
            leads = [node for node in knows if node.broker.partition(topic, partition).leads_here]
            found[:] = [node for node in leads if (node.node_id == to if to else node is not before)]
            for node in leads:
                if not found:
                    node.running.host.transfer(raft_group, to or None)
            return bool(found)

        await self.until(look, f"{to or 'another one'} leads {topic}/{partition}")
        return found[0]

    async def on_leader(self, topic: str, partition: int = 0) -> Partition:
        """The partition, on the node that leads it."""
        return (await self.leader(topic, partition)).broker.partition(topic, partition)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls,
        folder: Path,
        count: int = 3,
        *,
        levels: Mapping[str, Levels] | None = None,
        formed_at: int | None = None,
        tls: ssl.SSLContext | None = None,
        **flags: Any,
    ) -> AsyncIterator[Self]:
        """A cluster that is ready, and stopped afterwards. ``levels``: of nodes that are another build.

        ``formed_at``: the feature level that it begins at, if not the highest that all nodes know.
        ``tls``: by which ``session`` asks nodes that speak it to users.
        """
        cluster = cls(folder, count, **flags)
        async with cluster.started(levels=levels, formed_at=formed_at, tls=tls):
            yield cluster

    @contextlib.asynccontextmanager
    async def started(
        self,
        *,
        levels: Mapping[str, Levels] | None = None,
        formed_at: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> AsyncIterator[None]:
        """Likewise, of nodes whose settings were changed before."""
        known = {name: (levels or {}).get(name, THIS_BUILD) for name in self.nodes}
        timeout, connector = aiohttp.ClientTimeout(total=60), aiohttp.TCPConnector(ssl=tls or True)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as self.session:
            try:
                if formed_at is not None:
                    await self._start(
                        {name: replace(build, highest=formed_at) for name, build in known.items()}
                    )
                    await asyncio.gather(*(node.stop() for node in self.nodes.values()))
                await self._start(known)
                yield
            finally:
                results = await asyncio.gather(
                    *(node.stop() for node in self.nodes.values()), return_exceptions=True
                )
        for result in results:
            if isinstance(result, BaseException):
                raise result
