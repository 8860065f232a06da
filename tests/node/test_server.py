"""A node as a process would run it: what stops it from starting is told, and its exit code says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from node import server, settings_sources
from node.membership.identity import FolderLock, IdentityProblem, load_or_create
from node.replicas.group_factory import scaled
from node.settings import Settings
from storage.filesystem import RealFileSystem
from tests.support.nodes import SECRET, free_port


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """The process-wide logging is put back."""
    yield
    structlog.reset_defaults()


def settings(folder: Path, **flags: str) -> Settings:
    """Of a cluster of one."""
    port = free_port()
    return settings_sources.load(
        flags={
            "node.id": "n1",
            "node.data_dir": str(folder),
            "http.listen": "127.0.0.1:0",
            "peer.listen": f"127.0.0.1:{port}",
            "cluster.peers": {"n1": f"127.0.0.1:{port}"},
            "cluster.secret": SECRET,
            **flags,
        }
    )


async def test_a_node_stops_when_it_is_told_to(tmp_path: Path) -> None:
    """And leaves its folder to the next process."""
    stop = asyncio.Event()
    stop.set()
    await server.serve(settings(tmp_path), stop=stop)
    FolderLock(str(tmp_path)).release()


async def test_a_folder_that_is_in_use_or_of_another_node_stops_the_start(tmp_path: Path) -> None:
    """Before anything listens."""
    lock = FolderLock(str(tmp_path))
    with pytest.raises(IdentityProblem, match="in use"):
        await server.serve(settings(tmp_path))
    lock.release()
    load_or_create(RealFileSystem(), str(tmp_path), node_id="n9", cluster_id="floodmark")
    with pytest.raises(IdentityProblem, match="belongs to node n9"):
        await server.serve(settings(tmp_path))


async def test_a_port_that_is_taken_ends_the_node(tmp_path: Path) -> None:
    """With the operating system's words, and not with a hang."""
    taken = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        await server.serve(settings(tmp_path, **{"http.listen": f"127.0.0.1:{port}"}))
    taken.close()
    await taken.wait_closed()


async def test_a_node_that_others_can_reach_says_so(tmp_path: Path) -> None:
    """Loudly, at every start."""
    stop = asyncio.Event()
    stop.set()
    wide = {"http.listen": "0.0.0.0:0", "http.advertise": "http://127.0.0.1:1", "http.insecure": True}
    with capture_logs() as lines:
        await server.serve(settings(tmp_path, **wide), stop=stop)
    warned = [line for line in lines if line["event"] == "reachable_and_insecure"]
    assert [line["listener"] for line in warned] == ["http.listen = 0.0.0.0:0"]


def test_nodes_with_many_groups_give_elections_more_time(tmp_path: Path) -> None:
    """Up to 200 groups the settings hold as they are; heartbeats are stretched with the timeouts."""
    options = settings(tmp_path).raft.options()
    assert scaled(options, 200) == options
    assert scaled(options, 1_000).election_timeout_min_s == options.election_timeout_min_s * 5
    assert scaled(options, 1_000).heartbeat_s == options.heartbeat_s * 5
