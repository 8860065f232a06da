"""A process that hosts two groups and nothing else: one keeps a large keyed state in files, one has no state.

``python -m tests.support.large_host SETTINGS`` takes its orders as JSON lines from stdin and answers each
with one on stdout, in any order; it ends when stdin does, so that it outlives nobody. large_cluster.py is the
other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import uvloop
from floodmark.errors import FloodmarkError
from floodmark.format.frame import Frame, FrameKind

from consensus.core.group import Group
from consensus.core.keyed_state import KeyedState, command
from consensus.host.group_host import GroupHost
from consensus.host.host_types import HostHooks, HostOptions
from consensus.links.handshake import Identity
from consensus.types import GroupOptions, Membership, Role
from node.callbacks import CallbackMeter, measured
from node.replicas.replica_store import ReplicaStore
from storage.filesystem import RealFileSystem
from storage.options import LogOptions

LARGE, SMALL = 1, 2


class NoState:
    """A machine of which nothing is kept."""

    def apply(self, frame: Frame) -> None:
        """Nothing."""

    def snapshot(self) -> bytes:
        """Nothing."""
        return b""

    def restore(self, state: bytes) -> None:
        """Nothing."""


def value_of(number: int, size: int) -> bytes:
    """What the write of this number stores: other bytes for every number."""
    return b"%d|" % number + random.Random(number).randbytes(max(0, size - 8))


class Node:
    """One process."""

    def __init__(self, settings: dict[str, Any], meter: CallbackMeter) -> None:
        self._settings = settings
        self._meter = meter
        self._names = sorted(settings["ports"])
        self.state = KeyedState()
        name = settings["name"]
        identity = Identity("large", name, f"{name}-disk", b"a secret of tests")
        hooks = HostHooks(on_group_failed=lambda _group, error: self._failed(error))
        # What the orders say is written and trimmed here, and nothing by itself unless they say so.
        idle = settings["checkpoint_idle_s"]
        options = HostOptions(checkpoint_idle_s=idle, checkpoint_bytes=settings["checkpoint_bytes"])
        self.host = GroupHost(identity, ("127.0.0.1", settings["ports"][name]), hooks=hooks, options=options)

    async def start(self) -> None:
        """Open the files, and take part."""
        store = ReplicaStore(RealFileSystem(), self._settings["folder"])
        await self.host.start()
        for raft_group in (LARGE, SMALL):
            await asyncio.to_thread(self._open, store, raft_group)
        for name, port in self._settings["ports"].items():
            if name != self.host.node_id:
                self.host.links.dial(name, "127.0.0.1", port)

    def _open(self, store: ReplicaStore, raft_group: int) -> None:
        large = self.state if raft_group == LARGE else None
        options = LogOptions(segment_bytes=self._settings["segment_bytes"])
        opened = store.open(raft_group, options, known=False, wiped=False, machine=large)
        group = Group(
            raft_group=raft_group,
            node_id=self.host.node_id,
            log=opened.log,
            vote=opened.vote,
            machine=NoState() if large is None else large,
            membership=Membership(frozenset(self._names)),
            clock=time.monotonic,
            random=random.Random(),
            options=GroupOptions(state_chunk_bytes=self._settings["chunk_bytes"]),
            files=opened.files,
        )
        self._loop.call_soon_threadsafe(self.host.add, group)

    def _failed(self, error: Exception) -> None:
        _say({"failed": str(error)})
        os._exit(3)

    # Orders.

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """One order; what it answers."""
        do: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]] = getattr(self, f"_do_{order['do']}")
        return await do(order)

    async def _do_status(self, _order: dict[str, Any]) -> dict[str, Any]:
        group = self.host.group(LARGE)
        return {
            "leads": group.role is Role.LEADER and group.is_ready_leader,
            "leads_small": self.host.group(SMALL).is_ready_leader,
            "applied": group.applied_index,
            "last": group.log.last_index,
            "base": group.log.base_index,
            "covered": group.log.checkpoint_index,
            "entries": len(self.state),
            "bytes": self.state.size,
        }

    async def _do_put(self, order: dict[str, Any]) -> dict[str, Any]:
        """Set the keys from ``first`` on to the value of ``number``."""
        size, number = order["size"], order["number"]
        keys = range(order["first"], order["first"] + order["count"])
        value = value_of(number, size)
        payload = command((b"%d" % key, value) for key in keys)
        try:
            stored = await self.host.propose(
                LARGE, FrameKind.COMMAND, payload, deadline_s=order["deadline_s"]
            )
        except FloodmarkError as error:
            return {"refused": str(error)}
        return {"stored": stored.index}

    async def _do_write(self, order: dict[str, Any]) -> dict[str, Any]:
        """So many callers for so long, each with one small entry at a time; how long each took, in ms."""
        raft_group, end, took = order["group"], time.perf_counter() + order["seconds"], []
        payload = command([(b"small", b"x" * 900)]) if raft_group == LARGE else bytes(900)

        async def call() -> None:
            while (begun := time.perf_counter()) < end:
                await self.host.propose(raft_group, FrameKind.COMMAND, payload, deadline_s=30)
                took.append(round((time.perf_counter() - begun) * 1000, 3))
                await asyncio.sleep(order["pause_s"])

        await asyncio.gather(*(call() for _ in range(order["callers"])))
        return {"took": took}

    async def _do_checkpoint(self, _order: dict[str, Any]) -> dict[str, Any]:
        begun = time.perf_counter()
        await self.host.disk.checkpoint(LARGE)
        seconds = time.perf_counter() - begun
        group = self.host.group(LARGE)
        return {"seconds": seconds, "covered": group.log.checkpoint_index}

    async def _do_truncate_head(self, _order: dict[str, Any]) -> dict[str, Any]:
        return {"base": await self.host.disk.truncate_head(LARGE, 1 << 60)}

    async def _do_digest(self, _order: dict[str, Any]) -> dict[str, Any]:
        """Of all that is here, while nobody writes."""
        digest = await asyncio.to_thread(self.state.digest)
        return {"digest": digest, "applied": self.host.group(LARGE).applied_index}

    async def _do_get(self, order: dict[str, Any]) -> dict[str, Any]:
        """The number whose value each of these keys has."""
        found: list[int] = []
        whole: dict[int, bytes] = {-1: b""}
        for key in range(order["first"], order["first"] + order["count"]):
            value = self.state.get(b"%d" % key)
            number = -1 if value is None else int(value.partition(b"|")[0])
            if number not in whole:
                whole[number] = value_of(number, order["size"])
            assert (value or b"") == whole[number], f"key {key} is torn"
            found.append(number)
        return {"numbers": found}

    async def _do_lead(self, order: dict[str, Any]) -> dict[str, Any]:
        """Hand both leaderships over to a node."""
        for raft_group in (LARGE, SMALL):
            if self.host.group(raft_group).role is Role.LEADER and order["to"] != self.host.node_id:
                self.host.transfer(raft_group, order["to"])
        return {}

    async def _do_slowest(self, _order: dict[str, Any]) -> dict[str, Any]:
        """The callback that has used the most processor time since this was last asked for."""
        slow = self._meter.take()
        if slow is None:
            return {"callback": "", "cpu_ms": 0.0, "wall_ms": 0.0}
        return {"callback": slow.callback, "cpu_ms": slow.cpu_s * 1000, "wall_ms": slow.wall_s * 1000}

    async def run(self) -> None:
        """Until stdin ends."""
        self._loop = asyncio.get_running_loop()
        await self.start()
        reader = asyncio.StreamReader(limit=1 << 20)
        await self._loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        answering: set[asyncio.Task[None]] = set()
        _say({"started": self.host.node_id})
        while line := await reader.readline():
            task = asyncio.create_task(self._answer(json.loads(line)))
            answering.add(task)
            task.add_done_callback(answering.discard)

    async def _answer(self, order: dict[str, Any]) -> None:
        answer = await self.obey(order)
        _say({"order": order["order"], **answer})


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run until stdin ends; then as if killed, for nobody waits for what it would still do."""
    settings = json.loads(sys.argv[1])
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    meter = CallbackMeter()
    with contextlib.ExitStack() as held:
        if settings["measure"]:
            held.enter_context(measured(meter))
        factory = asyncio.new_event_loop if settings["measure"] else uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(Node(settings, meter).run())
            os._exit(0)


if __name__ == "__main__":
    main()
