"""A quick disk's fsyncs run on the event loop, a slow one's never hold it up twice."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

from floodmark.format.frame import FrameKind

from consensus.host.sync_place import QUICK_RUN, QUICK_S, SyncPlace
from consensus.types import Stored
from storage.memory_filesystem import MemoryFileSystem
from tests.consensus.host_nodes import HostNode, leader_of, put

TRIES = 2_000
ALONE = frozenset("a")


class WatchedDisk(MemoryFileSystem):
    """Knows which threads waited for its log fsyncs; each takes at least ``sync_s``."""

    def __init__(self) -> None:
        super().__init__()
        self.sync_s = 0.0
        self.threads: list[int] = []

    def enter(self, operation: str, path: str) -> None:
        """As the filesystem does, and note the thread of an fsync."""
        if operation == "sync" and path.endswith(".log"):
            self.threads.append(threading.get_ident())
            # What is slow here is the disk: this is the wait for it.
            time.sleep(self.sync_s)
        super().enter(operation, path)


async def quick_node(disk: WatchedDisk, folder: Path, *, groups: int = 1) -> HostNode:
    """A cluster of one, whose last fsync ran on the event loop, as the next one is to."""
    node = HostNode("a", folder, fs=disk)
    await node.host.start()
    for raft_group in range(1, groups + 1):
        node.open(raft_group, ALONE)
        await leader_of([node], raft_group)
    for _ in range(TRIES):
        await put(node, b"x")
        if disk.threads[-1] == threading.get_ident() and node.host._disk_work._place.is_event_loop:
            return node
    raise AssertionError(f"not one of {TRIES} fsyncs in memory ran on the event loop")


def test_only_a_run_of_quick_ones_counts():
    """The event loop's turn comes after so many quick ones, and is over with a slow one."""
    place = SyncPlace()
    for _ in range(QUICK_RUN):
        assert not place.is_event_loop
        place.took(QUICK_S)
    assert place.is_event_loop
    place.took(QUICK_S * 1.01)
    assert not place.is_event_loop
    place.took(0)
    assert not place.is_event_loop


async def test_a_disk_that_becomes_slow_holds_the_event_loop_up_once(tmp_path):
    """After the first slow fsync all others are waited for in threads."""
    disk = WatchedDisk()
    node = await quick_node(disk, tmp_path)
    try:
        disk.sync_s = 2 * QUICK_S
        del disk.threads[:]
        for _ in range(20):
            await put(node, b"slow")
        assert threading.get_ident() not in disk.threads[1:]
        assert len(disk.threads) >= 20
    finally:
        await node.host.stop()


async def test_what_an_fsync_on_the_event_loop_decides_is_done_in_that_turn(tmp_path):
    """A lone voter's entry is committed when the loop comes to whoever proposed it."""
    disk = WatchedDisk()
    node = await quick_node(disk, tmp_path)
    try:
        for _ in range(TRIES):
            del disk.threads[:]
            pending = node.host.propose_nowait(1, FrameKind.COMMAND, b"x")
            await asyncio.sleep(0)
            # Where the machine was slow just before, a thread has it.
            if disk.threads == [threading.get_ident()]:
                assert isinstance(pending.outcome, Stored)
                return
            await node.until(lambda pending=pending: pending.outcome is not None)
        raise AssertionError(f"not one of {TRIES} fsyncs in memory ran on the event loop")
    finally:
        await node.host.stop()


async def test_a_failed_fsync_on_the_event_loop_ends_its_replica_alone(tmp_path):
    """Nothing is acknowledged, the failure is told, and another group of the process goes on."""
    disk = WatchedDisk()
    node = await quick_node(disk, tmp_path, groups=2)
    try:
        disk.fail("sync", path="/1/")
        pending = node.host.propose_nowait(1, FrameKind.COMMAND, b"lost")
        await node.until(lambda: bool(node.failed))
        assert disk.threads[-1] == threading.get_ident()
        assert [raft_group for raft_group, _ in node.failed] == [1]
        assert not isinstance(pending.outcome, Stored)
        assert b"lost" not in node.payloads(1)
        await put(node, b"well", 2)
        assert node.payloads(2) == [b"well"]
    finally:
        await node.host.stop()


async def test_logs_that_are_due_together_are_synced_side_by_side(tmp_path):
    """Threads wait for them at the same time, though the disk is quick."""
    disk = WatchedDisk()
    node = await quick_node(disk, tmp_path, groups=2)
    try:
        del disk.threads[:]
        await asyncio.gather(put(node, b"one", 1), put(node, b"two", 2))
        assert len(disk.threads) == 2
        assert threading.get_ident() not in disk.threads
    finally:
        await node.host.stop()
