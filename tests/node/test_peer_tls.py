"""Whole nodes whose links have TLS: files that change while they run, and nodes that are refused."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from local.certificates import Authority
from node.security import credentials
from node.settings import InvalidSettings
from tests.node.test_cluster import payload, produce, values
from tests.node.test_strangers import readyz
from tests.support.certificates import authority
from tests.support.nodes import NodeCluster, TestNode

CLUSTER: Final = "floodmark"
HOUR: Final = timedelta(hours=1)
ENDED: Final = timedelta(seconds=-1)


@pytest.fixture(autouse=True)
def quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at often."""
    monkeypatch.setattr(credentials, "LOOK_S", 0.05)


class Files:
    """What lies on the machines of a cluster's nodes."""

    def __init__(self, folder: Path, by: Authority, *names: str) -> None:
        self.folder = folder
        folder.mkdir()
        self.trust(by, nodes=names)
        for name in names:
            self.certify(name, by)

    def certify(self, name: str, by: Authority, *, lasts: timedelta = HOUR, as_node: str = "") -> None:
        """A node gets a certificate, with a new key."""
        made = by.node(as_node or name, ["127.0.0.1"], lasts=lasts)
        made.write(self.folder / f"{name}.pem", self.folder / f"{name}.key", over=True)

    def trust(self, *those: Authority, nodes: tuple[str, ...]) -> None:
        """Nodes get the certificates of these CAs."""
        for number, each in enumerate(those):
            each.made.write(self.folder / f"ca{number}.pem", self.folder / f"ca{number}.key", over=True)
        text = "".join((self.folder / f"ca{number}.pem").read_text() for number in range(len(those)))
        for name in nodes:
            (self.folder / f"{name}.ca").write_text(text)

    def http_flags(self) -> dict[str, Any]:
        """For settings by which the same certificates are shown to users."""
        return {
            "http.tls.cert": lambda name: str(self.folder / f"{name}.pem"),
            "http.tls.key": lambda name: str(self.folder / f"{name}.key"),
        }

    def flags(self, mode: str = "require") -> dict[str, Any]:
        """For settings of nodes that have these files."""
        return {
            "peer.tls.mode": mode,
            "peer.tls.cert": lambda name: str(self.folder / f"{name}.pem"),
            "peer.tls.key": lambda name: str(self.folder / f"{name}.key"),
            "peer.tls.ca": lambda name: [str(self.folder / f"{name}.ca")],
        }


@contextlib.asynccontextmanager
async def running(folder: Path, by: Authority) -> AsyncIterator[tuple[NodeCluster, Files]]:
    """Three nodes that require TLS, with a topic; all that is stored is still there at the end."""
    files = Files(folder / "files", by, "n1", "n2", "n3")
    async with NodeCluster.running(folder, **files.flags()) as cluster:
        await cluster.create("orders")
        yield cluster, files


def put(path: Path, content: bytes) -> None:
    """At once: nodes may look at the file while this goes on."""
    new = path.with_name(f"{path.name}.new")
    new.touch(0o600)
    new.write_bytes(content)
    new.replace(path)


def plain(cluster: NodeCluster) -> list[int]:
    """Connections without TLS, by node."""
    return [node.running.host.links.plain for node in cluster.up]


async def works(cluster: NodeCluster) -> None:
    """A record is stored at the leader, and one at another node."""
    leader = await cluster.leader("orders")
    await produce(leader.broker.partition("orders", 0), payload([b"x"]))
    other = next(node for node in cluster.up if node is not leader and node.broker.health().ready)
    async with cluster.session.post(f"{other.url}/v1/topics/orders/records", json={"value": 1}) as answer:
        assert answer.status == 200, await answer.text()


async def warned(cluster: NodeCluster, node: TestNode, words: str) -> None:
    """Wait until a node, which is ready, says so."""
    await cluster.until(
        lambda: words in " ".join(node.broker.health().warnings), f"{node.node_id} warns: {words}"
    )
    status, _, warnings = await readyz(cluster, node)
    assert status == 200
    assert words in warnings


async def test_nodes_that_require_tls_form_a_cluster_and_take_in_another(tmp_path: Path) -> None:
    """Nothing between them is in plain text, whoever asks whom; metrics count it."""
    by = authority(CLUSTER)
    async with running(tmp_path, by) as (cluster, files):
        files.certify("n4", by)
        files.trust(by, nodes=("n4",))
        await cluster.grow("n4")
        await works(cluster)
        assert plain(cluster) == [0, 0, 0, 0]
        async with cluster.session.get(f"{cluster['n4'].url}/metrics") as answer:
            assert "floodmark_peer_plaintext_connections 0.0" in await answer.text()
        assert [node.broker.health().warnings for node in cluster.up] == [[], [], [], []]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"as_node": "n3"}, "n2: its certificate is for node n3, and not for n2"),
        ({"lasts": ENDED}, "its certificate does not count here: certificate has expired"),
        ({"by": authority(CLUSTER)}, "its certificate does not count here: unable to get local issuer"),
        ({"by": authority("other")}, "its certificate does not count here: unable to get local issuer"),
    ],
    ids=["of another node", "ended", "other CA", "other cluster"],
)
async def test_a_node_with_a_certificate_that_does_not_count_is_named_by_the_others(
    tmp_path: Path, bad: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut off, they say why, and it is taken in again with a good one, without a restart."""
    by = authority(CLUSTER)
    async with running(tmp_path, by) as (cluster, files):
        await cluster["n2"].stop()
        files.certify("n2", **{"by": by, **bad})
        with capture_logs() as log:
            if bad.keys() & {"as_node"} or bad.get("by", by).cluster_uri != by.cluster_uri:
                # Its own node notices first.
                cluster["n2"].start()
                with pytest.raises(InvalidSettings, match=r"peer\.tls\.cert: .* is for spiffe://"):
                    await cluster["n2"].ended()
                monkeypatch.setattr("node.security.tls.PeerTls._check_name", lambda _self, _own: None)
            cluster["n2"].start()
            await warned(cluster, cluster["n1"], why)
            await works(cluster)
        assert any(line["event"] == "node_refused" and why in line["reason"] for line in log)
        files.certify("n2", by)
        await cluster.ready()
        await cluster.until(lambda: cluster["n1"].broker.hears("n2"), "n2 is heard again")
        assert plain(cluster) == [0, 0, 0]


async def test_links_outlive_their_certificates_and_no_new_one_is_made(tmp_path: Path) -> None:
    """The health says so from before the end on; new files put it right while everything runs."""
    by = authority(CLUSTER)
    async with running(tmp_path, by) as (cluster, files):
        for name in cluster.nodes:
            files.certify(name, by, lasts=timedelta(seconds=90))
        for node in cluster.up:  # 390 seconds in all, of which less than a third is left.
            await warned(cluster, node, f"{node.node_id}.pem ends at ")
        for name in cluster.nodes:
            files.certify(name, by, lasts=ENDED)
        for node in cluster.up:
            await warned(cluster, node, f"{node.node_id}.pem ended at ")
        await works(cluster)
        # One that has to make its links anew gets none.
        await cluster["n2"].stop()
        cluster["n2"].start()
        await warned(cluster, cluster["n1"], "certificate has expired")
        assert not cluster["n1"].broker.hears("n2")
        for name in cluster.nodes:
            files.certify(name, by)
        await cluster.ready()
        await works(cluster)
        assert not [text for node in cluster.up for text in node.broker.health().warnings if "ended" in text]


async def test_files_that_are_broken_while_a_node_runs_change_nothing(tmp_path: Path) -> None:
    """A wrong key, rubbish, a file that is gone: it is said, and what was read before counts."""
    by = authority(CLUSTER)
    async with running(tmp_path, by) as (cluster, files):
        one = cluster["n1"]
        pem, key = files.folder / "n1.pem", files.folder / "n1.key"
        good = {path: path.read_bytes() for path in (pem, key)}
        with capture_logs() as log:
            put(pem, b"rubbish")
            await warned(cluster, one, "what was read before stays in force: peer.tls.cert")
            pem.unlink()
            await warned(cluster, one, "No such file")
            put(pem, good[pem])
            put(key, (files.folder / "n2.key").read_bytes())
            await warned(cluster, one, "it is not the key of the certificate")
            await cluster["n2"].stop()
            cluster["n2"].start()
            await cluster.ready()
            await cluster.until(lambda: one.broker.hears("n2"), "a link is made by what was read before")
        assert [line["event"] for line in log].count("credentials_not_usable") == 3
        for path, text in good.items():
            put(path, text)
        await cluster.until(lambda: not one.broker.health().warnings, "all is well again")


async def test_the_ca_is_changed_while_nodes_run_and_records_come(tmp_path: Path) -> None:
    """No produce fails, whatever node it goes to, and afterwards the old CA opens nothing."""
    old, new = authority(CLUSTER), authority(CLUSTER)
    async with running(tmp_path, old) as (cluster, files):
        nodes = tuple(cluster.nodes)
        async with load(cluster) as stored:
            await more(cluster, stored)
            files.trust(old, new, nodes=nodes)
            await taken_by(cluster, lambda node: trusted(node) == 2)
            before = {node.node_id: node.running.credentials.tls.server for node in cluster.up}
            for name in nodes:
                files.certify(name, new)
            # One of both files alone is refused: another context has the new certificate and its key.
            await taken_by(
                cluster, lambda node: node.running.credentials.tls.server is not before[node.node_id]
            )
            files.trust(new, nodes=nodes)
            await taken_by(cluster, lambda node: trusted(node) == 1)
            await cluster.until(lambda: all_hear_all(cluster), "links are made anew")
            await more(cluster, stored)
        await works(cluster)
        files.certify("n3", old)
        await cluster["n3"].stop()
        cluster["n3"].start()
        await warned(cluster, cluster["n1"], "its certificate does not count here")


async def test_the_secret_is_changed_while_nodes_run_and_records_come(tmp_path: Path) -> None:
    """By the files alone; afterwards the old one opens nothing."""
    (tmp_path / "secrets").mkdir()

    def write(first: str, second: str, *names: str) -> None:
        for name in names:
            for number, text in enumerate((first, second)):
                path = tmp_path / "secrets" / f"{name}-{number}"
                path.write_text(text)
                path.chmod(0o600)

    old, new = "the old secret of the tests", "the new secret of the tests"
    names = ("n1", "n2", "n3")
    write(old, old, *names)
    flags = {
        "cluster.secret": None,
        "cluster.secret_files": lambda name: [str(tmp_path / "secrets" / f"{name}-{at}") for at in (0, 1)],
    }
    async with NodeCluster.running(tmp_path, **flags) as cluster:
        await cluster.create("orders")
        async with load(cluster) as stored:
            for first, second in ((old, new), (new, old), (new, new)):
                await more(cluster, stored)
                for name in names:
                    write(first, second, name)
                wanted = tuple(dict.fromkeys((first.encode(), second.encode())))
                await taken_by(
                    cluster, lambda node, wanted=wanted: node.running.credentials.secrets == wanted
                )
            await cluster.until(lambda: all_hear_all(cluster), "links are made anew")
            await more(cluster, stored)
        await cluster["n3"].stop()
        write(old, old, "n3")
        with capture_logs() as log:
            cluster["n3"].start()
            await cluster.until(
                lambda: any("does not know the cluster's secret" in line.get("reason", "") for line in log),
                "the others refuse it",
            )
        assert not cluster["n1"].broker.hears("n3")


@contextlib.asynccontextmanager
async def load(cluster: NodeCluster) -> AsyncIterator[list[int]]:
    """Records one after the other, at each node in turn; every one is stored, once, in order.

    In a producer's name: what is under way on a link that ends with its secret may be answered 503 or 504,
    and is sent again.
    """
    stored: list[int] = []
    stop = asyncio.Event()

    async def write() -> None:
        turns = itertools.count()
        while not stop.is_set():
            number = len(stored)
            node = cluster.up[next(turns) % len(cluster.up)]
            url = f"{node.url}/v1/topics/orders/partitions/0/records"
            headers = {"Producer-Id": "load", "Producer-Seq": str(number)}
            async with cluster.session.post(url, json={"value": number}, headers=headers) as answer:
                assert answer.status in (200, 503, 504), await answer.text()
                if answer.status == 200:
                    stored.append(number)

    task = asyncio.create_task(write())
    try:
        yield stored
    finally:
        stop.set()
        await task
    assert await values(await cluster.on_leader("orders")) == [b"%d" % number for number in stored]


async def more(cluster: NodeCluster, stored: list[int]) -> None:
    """Wait until some more are stored."""
    before = len(stored)
    await cluster.until(lambda: len(stored) > before + 5, "records are stored")


def trusted(node: TestNode) -> int:
    """How many CAs a node takes certificates of."""
    tls = node.running.credentials.tls
    assert tls is not None
    return len(tls.server.get_ca_certs())


def all_hear_all(cluster: NodeCluster) -> bool:
    """Links stand both ways between all."""
    names = list(cluster.nodes)
    return all(
        node.running.host.links.connected(name)
        for node in cluster.up
        for name in names
        if name != node.node_id
    )


async def taken_by(cluster: NodeCluster, condition: Any) -> None:
    """Wait until every node has read what changed."""
    await cluster.until(lambda: all(condition(node) for node in cluster.up), "all have read it")
