"""Nodes that host groups and nothing else: real sockets, real files, a machine that remembers what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import msgpack
from floodmark.format.frame import Frame, FrameKind

from consensus.core.group import Group
from consensus.core.keyed_state import KeyedState
from consensus.core.state_files import StateFiles
from consensus.host.group_host import GroupHost
from consensus.host.host_types import HostHooks, HostOptions
from consensus.links.handshake import SPOKEN, Identity, Versions
from consensus.types import GroupOptions, Membership, Role
from storage.filesystem import FileSystem, RealFileSystem
from storage.log import Log
from storage.options import LogOptions
from storage.vote import VoteFile

FAST = GroupOptions()


class ListMachine:
    """The payloads of all committed commands, by index."""

    def __init__(self) -> None:
        self.seen: dict[int, bytes] = {}

    def apply(self, frame: Frame) -> None:
        """Frames that come again change nothing."""
        self.seen[frame.index] = frame.payload

    def snapshot(self) -> bytes:
        """All of it."""
        packed: bytes = msgpack.packb(self.seen)
        return packed

    def restore(self, state: bytes) -> None:
        """As ``snapshot`` gave it."""
        self.seen = msgpack.unpackb(state, strict_map_key=False) if state else {}


class HostNode:
    """One process's worth of groups. ``changed`` wakes whoever waits for a condition."""

    def __init__(
        self,
        node_id: str,
        folder: Path,
        *,
        options: HostOptions | None = None,
        fs: FileSystem | None = None,
        versions: Versions = SPOKEN,
    ) -> None:
        self.node_id = node_id
        self.folder = folder
        self.fs = fs or RealFileSystem()
        self.failed: list[tuple[int, Exception]] = []
        self.machines: dict[int, ListMachine] = {}
        self.chance = random.Random()
        """What its groups draw from."""
        self._changed = asyncio.Event()
        hooks = HostHooks(
            on_leadership=lambda *_: self._changed.set(),
            on_commit=lambda *_: self._changed.set(),
            on_group_failed=self._on_failed,
        )
        identity = Identity("c1", node_id, f"{node_id}-disk", b"a secret", versions=versions)
        self.host = GroupHost(identity, ("127.0.0.1", 0), hooks=hooks, options=options)

    def open(
        self,
        raft_group: int,
        voters: frozenset[str],
        options: GroupOptions = FAST,
        log_options: LogOptions = LogOptions(),  # noqa: B008 (frozen)
        machine: KeyedState | None = None,
    ) -> Group:
        """Open a replica's files and add it; ``machine`` in place of one that remembers what it saw."""
        return self.add(raft_group, voters, self.files(raft_group, log_options), options, machine=machine)

    def files(
        self,
        raft_group: int,
        log_options: LogOptions = LogOptions(),  # noqa: B008 (frozen)
    ) -> tuple[Log, VoteFile]:
        """A replica's files; may be opened in a thread."""
        folder = str(self.folder / self.node_id / str(raft_group))
        self.fs.mkdir(folder)
        return Log.open(self.fs, folder, log_options), VoteFile(self.fs, folder)

    def add(
        self,
        raft_group: int,
        voters: frozenset[str],
        files: tuple[Log, VoteFile],
        options: GroupOptions = FAST,
        machine: KeyedState | None = None,
    ) -> Group:
        """Add a replica whose files are open."""
        state_files = None
        if machine is None:
            self.machines[raft_group] = ListMachine()
        else:
            state_files = StateFiles(self.fs, files[0].path)
            state_files.load(files[0], machine)
        group = Group(
            raft_group=raft_group,
            node_id=self.node_id,
            log=files[0],
            vote=files[1],
            machine=self.machines[raft_group] if machine is None else machine,
            files=state_files,
            membership=Membership(voters),
            clock=time.monotonic,
            random=self.chance,
            options=options,
        )
        self.host.add(group)
        return group

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that this host reports makes the condition true."""
        async with asyncio.timeout(30):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def payloads(self, raft_group: int = 1) -> list[bytes]:
        """What the machine saw, in order."""
        seen = self.machines[raft_group].seen
        return [seen[index] for index in sorted(seen)]

    def _on_failed(self, raft_group: int, error: Exception) -> None:
        self.failed.append((raft_group, error))
        self._changed.set()


def join(nodes: list[HostNode]) -> None:
    """Let every node dial every other one."""
    for node in nodes:
        for other in nodes:
            if other is not node:
                node.host.links.dial(other.node_id, *other.host.address)


@contextlib.asynccontextmanager
async def hosts(
    folder: Path,
    *names: str,
    groups: int = 1,
    options: HostOptions | None = None,
    versions: Mapping[str, Versions] | None = None,
) -> AsyncIterator[list[HostNode]]:
    """Running nodes, each with a replica of every group (from 1); stops those listed at the end."""
    spoken = dict.fromkeys(names, SPOKEN) | dict(versions or {})
    nodes = [HostNode(name, folder, options=options, versions=spoken[name]) for name in names]
    for node in nodes:
        await node.host.start()
    join(nodes)
    for node in nodes:
        for raft_group in range(1, groups + 1):
            node.open(raft_group, frozenset(names))
    try:
        yield nodes
    finally:
        await asyncio.gather(*(node.host.stop() for node in nodes))


async def leader_of(nodes: list[HostNode], raft_group: int = 1) -> HostNode:
    """The node that leads and can serve, once there is one."""
    by_name = {node.node_id: node for node in nodes}
    async with asyncio.timeout(30):
        while True:
            name = await nodes[0].host.wait_leader(raft_group, deadline_s=30)
            leader = by_name.get(name)
            if leader is not None and leader.host.group(raft_group).role is Role.LEADER:
                await leader.host.wait_leader(raft_group, deadline_s=30)
                if leader.host.group(raft_group).is_ready_leader:
                    return leader
            await asyncio.sleep(0.01)


async def put(node: HostNode, payload: bytes, raft_group: int = 1, *, deadline_s: float = 20) -> int:
    """Have one command stored; its index."""
    stored = await node.host.propose(raft_group, FrameKind.COMMAND, payload, deadline_s=deadline_s)
    return stored.index


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that nothing reports."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
