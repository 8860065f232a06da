"""A machine that keeps its state in files, on a host with real files and threads."""

from __future__ import annotations

import asyncio
from pathlib import Path

from consensus.core.keyed_state import KeyedState, command
from consensus.host.host_types import HostOptions
from consensus.host.upkeep import Upkeep
from storage.options import LogOptions
from storage.state_file import SUFFIX
from tests.consensus.host_nodes import FAST, HostNode, eventually, hosts, leader_of, put


async def _fill(node: HostNode, count: int, value: bytes) -> None:
    await asyncio.gather(
        *(
            put(node, command([(b"%d" % (number * 10 + key), value) for key in range(10)]))
            for number in range(count)
        )
    )


def _names(tmp_path: Path, node: str = "a") -> list[str]:
    return [path.name for path in (tmp_path / node / "1").iterdir() if "state" in path.name]


async def test_a_group_that_rests_gets_one_file_and_restarts_from_it(tmp_path, monkeypatch):
    """It is not written again for as little as came since, not even when the node stops."""
    options = HostOptions(checkpoint_idle_s=0.1)
    may_rest = asyncio.Event()
    rests = Upkeep._rests
    monkeypatch.setattr(Upkeep, "_rests", lambda self, slot: may_rest.is_set() and rests(self, slot))
    async with hosts(tmp_path, "a", groups=0, options=options) as nodes:
        [node] = nodes
        machine = KeyedState()
        group = node.open(1, frozenset("a"), FAST, LogOptions(segment_bytes=20_000), machine)
        await leader_of(nodes)
        await _fill(node, 40, bytes(300))
        may_rest.set()  # Not while it is filled, however long the process is held up.
        await eventually(lambda: group.log.checkpoint_index == group.applied_index)
        index = group.log.checkpoint_index
        assert await node.host.disk.truncate_head(1, 10**9) > 2
        last = await put(node, command([(b"late", b"one")]))
        await eventually(lambda: not node.host._upkeep._dirty)
        assert group.log.checkpoint_index == index < last
        nodes.remove(node)
        await node.host.stop()
        assert _names(tmp_path) == [f"{index:020d}{SUFFIX}"]
        again = HostNode("a", tmp_path)
        await again.host.start()
        nodes.append(again)
        loaded = KeyedState()
        again.open(1, frozenset("a"), machine=loaded)
        assert (loaded.applied, loaded.get(b"late")) == (index, None)
        await leader_of(nodes)
        await put(again, command([(b"later", b"two")]))
        assert (loaded.get(b"late"), loaded.get(b"399"), len(loaded)) == (b"one", bytes(300), 402)


async def test_a_group_is_removed_while_its_file_is_written(tmp_path):
    """What a thread does for it ends first; the next start removes what it left."""
    async with hosts(tmp_path, "a", groups=0) as nodes:
        [node] = nodes
        node.open(1, frozenset("a"), machine=KeyedState())
        await leader_of(nodes)
        await _fill(node, 300, bytes(300))
        writing = asyncio.create_task(node.host.disk.checkpoint(1))
        await asyncio.sleep(0)
        assert node.host.group(1).storage.checkpoint_under_way
        await node.host.remove(1)
        await writing
        machine = KeyedState()
        node.open(1, frozenset("a"), machine=machine)
        assert _names(tmp_path) == []
        await leader_of(nodes)
        await put(node, command([(b"more", b"x")]))
        assert len(machine) == 3001


async def test_a_file_that_went_bad_at_rest_is_found_and_replaced(tmp_path):
    """By whoever reads what is stored; the replica goes on meanwhile, and restarts from the new file."""
    async with hosts(tmp_path, "a", groups=0) as [node]:
        group = node.open(1, frozenset("a"), machine=KeyedState())
        await leader_of([node])
        await _fill(node, 20, bytes(100))
        await node.host.disk.checkpoint(1)
        await node.host.disk.verify_files(1)
        [name] = _names(tmp_path)
        path = tmp_path / "a" / "1" / name
        good = path.read_bytes()
        path.write_bytes(good[:300] + bytes([good[300] ^ 1]) + good[301:])
        await node.host.disk.verify_files(1)
        await eventually(lambda: not group.storage.checkpoint_under_way)
        assert _names(tmp_path) == [name]
        found = path.read_bytes()
        assert len(found) == len(good)
        assert found[:64] != good[:64], "it has another id"
        await node.host.remove(1)
        machine = KeyedState()
        node.open(1, frozenset("a"), machine=machine)
        assert len(machine) == 200
