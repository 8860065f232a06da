"""Nodes that do not go with the cluster that they meet: each row of the table in docs/OPERATIONS.md.

Both sides say what is wrong and what to do, nobody gets a place by mistake, and all that was stored stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import structlog

from node.membership.identity import IdentityProblem, Standing
from node.metadata.domains.nodes import RemoveNode
from node.settings import InvalidSettings
from tests.node.test_cluster import frames_of, payload, produce
from tests.support.nodes import NodeCluster, TestNode, free_port

TABLE: Final = Path(__file__).parents[2] / "docs" / "OPERATIONS.md"
KEPT: Final = payload([b"kept"])


class Meeting:
    """A cluster that holds a record, and nodes beside it."""

    def __init__(self, cluster: NodeCluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder

    @property
    def members(self) -> list[str]:
        """Whom the metadata name."""
        return sorted(self.cluster["n1"].running.metadata.state.nodes)

    def peers(self, **others: str) -> dict[str, str]:
        """The first nodes' addresses, and others."""
        return {**self.cluster["n1"].settings.cluster.peers, **others}

    def node(self, name: str, *, folder: str = "", **flags: Any) -> TestNode:
        """One that is to join by n1, or otherwise as ``flags`` say; not started."""
        data_dir = str(self.folder / (folder or f"new-{name}"))
        return self.cluster.newcomer(name, **{"node.data_dir": data_dir, **flags})

    @contextlib.asynccontextmanager
    async def running(self, *nodes: TestNode) -> AsyncIterator[None]:
        """Others that run beside the cluster."""
        for one in nodes:
            one.start()
        try:
            await self.cluster.until(lambda: all(one.parts is not None for one in nodes), "they run")
            yield
        finally:
            for one in nodes:
                await one.stop()

    async def not_ready(self, one: TestNode, *words: str) -> None:
        """It says so for these reasons."""

        def told() -> str:
            health = one.broker.health()
            assert not health.ready
            return " ".join(health.reasons)

        try:
            await self.cluster.until(lambda: all(each in told() for each in words), "")
        except AssertionError:
            raise AssertionError(f"{one.node_id} does not say {words}: {told()}") from None

    async def warns(self, words: str, *, by: str = "n1") -> None:
        """A node of the cluster is ready, and names what it refused."""
        one = self.cluster[by]

        def told() -> str:
            health = one.broker.health()
            return " ".join(health.warnings) if health.ready else ""

        try:
            await self.cluster.until(lambda: words in told(), "")
        except AssertionError:
            raise AssertionError(f"{by} does not say {words!r}: {one.broker.health()}") from None

    async def lost_nothing(self) -> None:
        """Its nodes are ready, and the record is where it was."""
        await self.cluster.ready()
        assert frames_of(await self.cluster.leader("orders"), "orders") == [KEPT]


Row = Callable[[Meeting], Awaitable[None]]
_ROWS: dict[str, Row] = {}


_NODES: dict[str, int] = {}


def row(text: str, *, nodes: int = 2) -> Callable[[Row], Row]:
    """The row of the table that a function shows, by a cluster of so many nodes."""

    def kept(function: Row) -> Row:
        _ROWS[text] = function
        _NODES[text] = nodes
        return function

    return kept


def content(folder: Path) -> dict[str, str]:
    """Digests of a folder's files, but for what every start changes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("node.json", "lock")
    }


@row("an empty folder with a new id and `--join`")
async def joins(meeting: Meeting) -> None:
    """It is registered, learns the metadata, and is ready."""
    four = meeting.node("n4")
    async with meeting.running(four):
        await meeting.cluster.until(lambda: four.broker.health().ready, "it is ready")
        assert meeting.members == ["n1", "n2", "n4"]


@row("an empty folder with a new id, without `--join`")
async def comes_without_join(meeting: Meeting) -> None:
    """Whether its peers name all or only itself and one; to list a node is not to add it."""
    port = f"127.0.0.1:{free_port()}"
    three = meeting.node(
        "n3", **{"cluster.join": None, "peer.listen": port, "cluster.peers": meeting.peers(n3=port)}
    )
    async with meeting.running(three):
        await meeting.not_ready(three, "knows no node n3: start this node with --join")
        await meeting.warns(
            "n3 is not one of the nodes of this cluster (n1, n2): start it with an empty folder"
        )
        assert meeting.members == ["n1", "n2"]


@row("an empty folder with the id of a node that runs")
async def takes_a_live_id(meeting: Meeting) -> None:
    """Asked at another node and at the very one; it goes on, on its own folder."""
    two = meeting.cluster["n2"]
    before = two.running.discovery.identity
    for seed in ("n1", "n2"):
        other = meeting.node("n2", folder=f"other-{seed}", seeds=(seed,))
        async with meeting.running(other):
            await meeting.not_ready(other, "two nodes never share an id")
            await meeting.warns("another process runs under the id n2", by=seed)
    assert two.running.discovery.identity.incarnation == before.incarnation
    assert two.running.discovery.standing is Standing.MEMBER


@row("an empty folder with the id of a node that is gone", nodes=3)
async def replaces(meeting: Meeting) -> None:
    """With a seed alone; it is rebuilt, and votes only then."""
    two = meeting.cluster.nodes["n2"]
    await two.stop()
    await meeting.cluster.until(lambda: not meeting.cluster["n1"].broker.hears("n2"), "n1 misses it")
    other = meeting.node("n2")
    meeting.cluster.nodes["n2"] = other
    other.start()
    await meeting.cluster.ready()
    assert other.running.discovery.standing is Standing.WIPED
    assert frames_of(other, "orders") == [KEPT]


@row("an empty folder with the id of a removed node")
async def takes_a_removed_id(meeting: Meeting) -> None:
    """Ids of removed nodes never return."""
    await _removed_third(meeting)
    again = meeting.node("n3", folder="again")
    async with meeting.running(again):
        await meeting.not_ready(again, "the id n3 never returns")
        await meeting.warns("n3 was removed from this cluster, and its id never returns")
        assert meeting.members == ["n1", "n2"]


@row("the folder of a removed node")
async def comes_back_removed(meeting: Meeting) -> None:
    """It takes part in nothing, and what it holds stays."""
    three = await _removed_third(meeting)
    held = content(three.data_dir)
    assert any(name.startswith("groups") for name in held)
    async with meeting.running(three):
        await meeting.not_ready(
            three, "this node was removed from the cluster", "what this folder holds stays"
        )
        await meeting.warns("n3 was removed from this cluster")
    assert held.keys() <= content(three.data_dir).keys()
    assert meeting.members == ["n1", "n2"]


async def _removed_third(meeting: Meeting) -> TestNode:
    three = await meeting.cluster.grow("n3")
    leader = await meeting.cluster["n1"].broker.metadata.wait_leader(timeout_s=10)
    await meeting.cluster[leader].running.metadata.propose(RemoveNode("n3"), timeout_s=10)
    del meeting.cluster.nodes["n3"]
    await three.stop()
    return three


@row("another `cluster.secret`")
async def has_another_secret(meeting: Meeting) -> None:
    """The cluster's log says so; the other side can only be told that it was refused."""
    with structlog.testing.capture_logs() as log:
        four = meeting.node("n4", **{"cluster.secret": "another secret of the tests"})
        async with meeting.running(four):
            await meeting.not_ready(four, "could not be asked", "cluster.secret")
    assert "the dialer does not know the cluster's secret" in _reasons(log, "peer_connection_refused")


@row("another `cluster.id`")
async def has_another_cluster_id(meeting: Meeting) -> None:
    """The same."""
    with structlog.testing.capture_logs() as log:
        four = meeting.node("n4", **{"cluster.id": "elsewhere"})
        async with meeting.running(four):
            await meeting.not_ready(four, "could not be asked", "cluster.id")
    assert "the dialer belongs to another cluster" in _reasons(log, "peer_connection_refused")


def _reasons(log: list[Any], event: str) -> set[str]:
    return {line["reason"] for line in log if line["event"] == event}


@row("a seed that is this node itself, or where no node answers")
async def has_bad_seeds(meeting: Meeting) -> None:
    """It waits and names both; a good seed among them is enough."""
    port, nobody = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    four = meeting.node("n4", **{"peer.listen": port, "cluster.join": [port, nobody]})
    async with meeting.running(four):
        await meeting.not_ready(four, f"{port} could not be asked", f"{nobody} could not be asked")
    good = meeting.cluster["n2"].settings.peer.listen
    four = meeting.node("n4", **{"peer.listen": port, "cluster.join": [port, nobody, good]})
    async with meeting.running(four):
        await meeting.cluster.until(lambda: four.broker.health().ready, "it is ready")


@row("seeds of two clusters")
async def has_seeds_of_two_clusters(meeting: Meeting) -> None:
    """It joins the one that it heard first, and says which one it has nothing to do with."""
    async with NodeCluster.running(meeting.folder / "second", 1) as second:
        seeds = [one["n1"].settings.peer.listen for one in (meeting.cluster, second)]
        four = meeting.node("n4", **{"cluster.join": seeds})
        async with meeting.running(four):
            await meeting.cluster.until(lambda: four.broker.health().ready, "it is ready")
            joined, left = (meeting.cluster, second) if "n4" in meeting.members else (second, meeting.cluster)
            assert "n4" in joined["n1"].running.metadata.state.nodes
            assert "n4" not in left["n1"].running.metadata.state.nodes
            await meeting.cluster.until(
                lambda: "belongs to another cluster" in " ".join(four.broker.health().warnings), "it warns"
            )
            await meeting.cluster.until(
                lambda: "n4 belongs to another cluster" in " ".join(left["n1"].broker.health().warnings),
                "so does the other cluster",
            )


@row("a folder with data of another cluster, with `--join`")
async def joins_with_data(meeting: Meeting) -> None:
    """It stays what it is, and both say so."""
    async with NodeCluster.running(meeting.folder / "second", 1) as second:
        await second.create("theirs")
        one = second["n1"]
        await one.stop()
        seed = meeting.cluster["n2"].settings.peer.listen
        flags = {
            "node.data_dir": str(one.data_dir),
            "peer.listen": one.settings.peer.listen,
            "cluster.peers": one.settings.cluster.peers,
            "cluster.join": [seed],
        }
        other = meeting.node("n1", **flags)
        async with meeting.running(other):
            await meeting.warns("belongs to another cluster", by="n2")
            await meeting.cluster.until(lambda: other.broker.health().ready, "it is ready")
            await meeting.cluster.until(
                lambda: "n2 belongs to another cluster" in " ".join(other.broker.health().warnings),
                "it says so",
            )
            assert list(other.running.metadata.state.nodes) == ["n1"]
            assert list(other.running.metadata.state.topics) == ["theirs"]


@row("a folder of another `node.id` or `cluster.id`")
async def has_a_folder_of_another(meeting: Meeting) -> None:
    """The process ends before it says anything to anybody."""
    two = meeting.cluster["n2"]
    await two.stop()
    for flags in ({"node.id": "n4"}, {"cluster.id": "elsewhere"}):
        wrong = meeting.node("n2", **{"node.data_dir": str(two.data_dir), **flags})
        wrong.start()
        with pytest.raises(IdentityProblem, match=r"belongs to (node n2|cluster floodmark)"):
            await wrong.ended()
    two.start()


@row("an empty folder with neither `--join` nor itself in `cluster.peers`")
async def has_nowhere_to_go(meeting: Meeting) -> None:
    """It does not start; the folder that there is by then changes nothing."""
    for peers in ({}, meeting.peers()):
        with pytest.raises(InvalidSettings, match=r"--join HOST:PORT"):
            meeting.node("n4", **{"cluster.join": None, "cluster.peers": peers})


@row("a folder with data whose settings name other peers")
async def has_other_settings(meeting: Meeting) -> None:
    """The metadata say who belongs to the cluster: it goes on, also with none at all."""
    two = meeting.cluster.nodes["n2"]
    for peers in ({}, {"n8": "127.0.0.1:1", "n9": "127.0.0.1:2"}, {"n2": two.settings.peer.listen}):
        await two.stop()
        flags = {
            "node.data_dir": str(two.data_dir),
            "peer.listen": two.settings.peer.listen,
            "cluster.join": None,
            "cluster.peers": peers,
        }
        two = meeting.cluster.nodes["n2"] = meeting.node("n2", **flags)
        two.start()
        await meeting.cluster.ready()
        assert meeting.members == ["n1", "n2"]
        assert two.broker.hears("n1")
        assert "n9" not in two.running.host.links.peers


@row("`--join` to nodes that have not formed a cluster")
async def joins_none(meeting: Meeting) -> None:
    """It waits for them, and joins once they have."""
    names = ("n1", "n2")
    ports = {name: f"127.0.0.1:{free_port()}" for name in names}
    first, second = (
        meeting.node(
            name,
            folder=f"forming-{name}",
            **{"cluster.join": None, "peer.listen": ports[name], "cluster.peers": ports},
        )
        for name in names
    )
    three = meeting.node("n3", folder="forming-n3", **{"cluster.join": [ports["n1"]]})
    async with meeting.running(first, three):
        await meeting.not_ready(three, "n1 belongs to no cluster that has formed")
        async with meeting.running(second):
            await meeting.cluster.until(lambda: three.broker.health().ready, "it has joined")
            assert sorted(first.running.metadata.state.nodes) == ["n1", "n2", "n3"]


@row("a first node that is started with `--join` while the others wait to form")
async def joins_instead_of_forming(meeting: Meeting) -> None:
    """Each says for what the other one waits."""
    ports = {name: f"127.0.0.1:{free_port()}" for name in ("n1", "n2")}
    flags = {"cluster.peers": ports}
    first = meeting.node(
        "n1", folder="forming-n1", **{**flags, "cluster.join": None, "peer.listen": ports["n1"]}
    )
    second = meeting.node(
        "n2", folder="forming-n2", **{**flags, "cluster.join": [ports["n1"]], "peer.listen": ports["n2"]}
    )
    async with meeting.running(first, second):
        await meeting.not_ready(first, "n2 was started with --join", "start it without --join")
        await meeting.not_ready(second, "n1 belongs to no cluster that has formed")


@pytest.mark.parametrize("text", sorted(_ROWS), ids=lambda text: _ROWS[text].__name__)
async def test_a_row_of_the_table(tmp_path: Path, text: str) -> None:
    """As its function says; afterwards the cluster is as it was."""
    async with NodeCluster.running(tmp_path / "cluster", _NODES[text]) as cluster:
        await cluster.create("orders")
        await produce(await cluster.on_leader("orders"), KEPT)
        meeting = Meeting(cluster, tmp_path)
        await _ROWS[text](meeting)
        await meeting.lost_nothing()


def test_each_row_of_the_table_is_shown() -> None:
    """And each that is shown stands there."""
    section = (
        TABLE.read_text().partition("| what comes to a cluster at feature level 3 |")[2].partition("\n\n")[0]
    )
    rows = [line.split(" | ")[0].removeprefix("| ") for line in section.splitlines()[2:]]
    others = [row for row in rows if "recovered" in row]  # tests/node/test_epochs.py
    assert len(others) == 2
    assert sorted(rows) == sorted([*_ROWS, *others])
    assert len(set(map(str, rows))) == len(rows) > 10
    assert not [text for text in _ROWS if re.search(r"\|", text)]
