"""A leader whose disk does not come back from an fsync gives way, and nothing of what it took in is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

from floodmark.format.frame import FrameKind

from consensus.host.host_types import HostOptions
from consensus.types import Stored
from storage.memory_filesystem import MemoryFileSystem
from tests.consensus.host_nodes import HostNode, eventually, join, leader_of, put

STALL_S = 0.4
GROUPS = (1, 2)


class StallingDisk(MemoryFileSystem):
    """Its log fsyncs and votes wait while ``goes_on`` is not set, and take ``takes_s`` otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.takes_s = 0.0
        self.goes_on = threading.Event()
        self.goes_on.set()

    def enter(self, operation: str, path: str) -> None:
        """As the filesystem does, later."""
        if operation == "sync":
            assert self.goes_on.wait(60), "the test forgot it"
            time.sleep(self.takes_s)
        super().enter(operation, path)


async def nodes_with_disks(folder: Path, *names: str) -> list[HostNode]:
    """Each with a disk of its own, and all groups."""
    nodes = [
        HostNode(name, folder, fs=StallingDisk(), options=HostOptions(stall_s=STALL_S)) for name in names
    ]
    for node in nodes:
        await node.host.start()
    join(nodes)
    for node in nodes:
        for raft_group in GROUPS:
            node.open(raft_group, frozenset(names))
    return nodes


async def test_a_leader_whose_fsync_stalls_gives_way_with_all_that_it_leads(tmp_path: Path) -> None:
    """The successor has the entry that waited for that disk; an idle group on the disk moves as well."""
    nodes = await nodes_with_disks(tmp_path, "a", "b", "c")
    try:
        stalled = await leader_of(nodes, 1)
        idle = await leader_of(nodes, 2)
        if idle is not stalled:
            assert idle.host.transfer(2, stalled.node_id)
            await stalled.until(lambda: stalled.host.group(2).is_ready_leader)
        await put(stalled, b"before")
        disk = stalled.fs
        assert isinstance(disk, StallingDisk)
        others = [node for node in nodes if node is not stalled]
        disk.goes_on.clear()
        waiting = stalled.host.propose_nowait(1, FrameKind.COMMAND, b"waits for the disk")
        for raft_group in GROUPS:
            await eventually(lambda: any(node.host.group(raft_group).is_ready_leader for node in others))  # noqa: B023
        assert stalled.host.disk.stalls == 1
        assert stalled.host.disk.stalled_s >= STALL_S
        successor = await leader_of(others, 1)
        await put(successor, b"after")
        assert successor.payloads() == [b"before", b"waits for the disk", b"after"]
        disk.goes_on.set()
        await eventually(lambda: stalled.payloads() == successor.payloads())
        await eventually(lambda: waiting.outcome is not None)
        assert isinstance(waiting.outcome, Stored)
        await eventually(lambda: stalled.host.disk.stalled_s == 0)
        assert [node.failed for node in nodes] == [[], [], []]
    finally:
        for node in nodes:
            assert isinstance(node.fs, StallingDisk)
            node.fs.goes_on.set()
        await asyncio.gather(*(node.host.stop() for node in nodes))


async def test_a_leader_that_is_needed_for_a_majority_stays(tmp_path: Path) -> None:
    """Two replicas: the other one could not be elected without this disk, so nobody tries."""
    nodes = await nodes_with_disks(tmp_path, "a", "b")
    try:
        stalled = await leader_of(nodes, 1)
        disk = stalled.fs
        assert isinstance(disk, StallingDisk)
        term = stalled.host.group(1).term
        disk.goes_on.clear()
        waiting = stalled.host.propose_nowait(1, FrameKind.COMMAND, b"x")
        await eventually(lambda: stalled.host.disk.stalled_s > 2 * STALL_S)
        disk.goes_on.set()
        await eventually(lambda: isinstance(waiting.outcome, Stored))
        assert (stalled.host.group(1).term, stalled.host.disk.stalls) == (term, 1)
    finally:
        for node in nodes:
            assert isinstance(node.fs, StallingDisk)
            node.fs.goes_on.set()
        await asyncio.gather(*(node.host.stop() for node in nodes))


async def test_disks_that_answer_are_left_alone(tmp_path: Path) -> None:
    """Many fsyncs, one right after the other for longer than a stall, are no long one."""
    nodes = await nodes_with_disks(tmp_path, "a", "b", "c")
    try:
        for node in nodes:
            assert isinstance(node.fs, StallingDisk)
            node.fs.takes_s = STALL_S / 20
        leader = await leader_of(nodes, 1)
        enough = leader.host.disk.flushes + 50

        async def write() -> None:
            while leader.host.disk.flushes < enough:
                await put(leader, b"x")

        await asyncio.gather(*(write() for _ in range(4)))
        assert [node.host.disk.stalls for node in nodes] == [0, 0, 0]
    finally:
        await asyncio.gather(*(node.host.stop() for node in nodes))
