"""Three group hosts in one process with real sockets and files, and nothing above them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from floodmark.format.frame import Frame

from consensus.core.group import Group
from consensus.host.group_host import GroupHost
from consensus.host.host_types import HostOptions
from consensus.links.handshake import Identity
from consensus.types import GroupOptions, Membership
from storage.filesystem import RealFileSystem
from storage.log import Log
from storage.options import LogOptions
from storage.vote import VoteFile

NAMES = ("n1", "n2", "n3")


class NoMachine:
    """A state machine without state."""

    def apply(self, frame: Frame) -> None:
        """Does nothing."""

    def snapshot(self) -> bytes:
        """Nothing."""
        return b""

    def restore(self, state: bytes) -> None:
        """Nothing."""


@asynccontextmanager
async def three_hosts(folder: Path, groups: int) -> AsyncIterator[list[GroupHost]]:
    """Connected hosts with a replica each of ``groups`` groups (ids from 1), all of them with a leader."""
    options = HostOptions(io_threads=2)
    hosts = [
        GroupHost(Identity("bench", name, f"{name}-disk", b"bench"), ("127.0.0.1", 0), options=options)
        for name in NAMES
    ]
    files = await _open_all(folder, groups)
    for host in hosts:
        await host.start()
    for host in hosts:
        for other in hosts:
            if other is not host:
                host.links.dial(other.node_id, *other.address)
    for raft_group in range(1, groups + 1):
        for host in hosts:
            host.add(_group(host.node_id, raft_group, *files[host.node_id, raft_group]))
    for raft_group in range(1, groups + 1):
        await leader(hosts, raft_group)
    try:
        yield hosts
    finally:
        await asyncio.gather(*(host.stop() for host in hosts))


async def leader(hosts: list[GroupHost], raft_group: int) -> GroupHost:
    """The host that leads a group and can serve it."""
    while True:
        name = await hosts[0].wait_leader(raft_group, deadline_s=60)
        host = next(host for host in hosts if host.node_id == name)
        if host.group(raft_group).is_ready_leader:
            return host
        await asyncio.sleep(0.01)


async def _open_all(folder: Path, groups: int) -> dict[tuple[str, int], tuple[Log, VoteFile]]:
    """Before anything runs, and in threads: making a replica's files takes several fsyncs."""
    names = [(node, raft_group) for node in NAMES for raft_group in range(1, groups + 1)]
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(16) as executor:
        opened = [loop.run_in_executor(executor, _open, folder / node / str(group)) for node, group in names]
        return dict(zip(names, await asyncio.gather(*opened), strict=True))


def _open(path: Path) -> tuple[Log, VoteFile]:
    fs = RealFileSystem()
    fs.mkdir(str(path))
    return Log.open(fs, str(path), LogOptions()), VoteFile(fs, str(path))


def _group(node_id: str, raft_group: int, log: Log, vote: VoteFile) -> Group:
    return Group(
        raft_group=raft_group,
        node_id=node_id,
        log=log,
        vote=vote,
        machine=NoMachine(),
        membership=Membership(frozenset(NAMES)),
        clock=time.monotonic,
        random=random.Random(f"{node_id} {raft_group}"),
        options=GroupOptions(),
    )
