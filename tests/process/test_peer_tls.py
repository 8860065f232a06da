"""TLS between real nodes: switched on, and its CA and the secret changed, in rolling steps under load."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import aiohttp
import floodmark
import pytest

from local.certificates import Authority, new_authority
from local.roll import Roll
from tests.process.ledger import Ledger
from tests.support.processes import ProcessCluster

YEAR = timedelta(days=365)


def ca_files(folder: Path, *those: Authority) -> str:
    """The text of the CAs' certificates, which are made into files of their own."""
    text = ""
    for each in those:
        path = folder / f"ca-{each.made.certificate.serial_number:x}.pem"
        each.made.write(path, path.with_suffix(".key"), over=True)
        text += path.read_text()
    return text


def certify(cluster: ProcessCluster, by: Authority, *names: str) -> None:
    """These nodes, or all, get a certificate and a key, in files next to their settings."""
    for name in names or cluster.nodes:
        made = by.node(name, ["127.0.0.1"], lasts=YEAR)
        made.write(cluster.folder / f"{name}.pem", cluster.folder / f"{name}.key", over=True)


def set_tls(cluster: ProcessCluster, mode: str) -> None:
    """In the settings of all nodes, which take it at their next start."""
    for name, node in cluster.nodes.items():
        text = node.config.read_text().partition("\n[peer.tls]\n")[0]
        places = {
            "mode": mode,
            "cert": str(cluster.folder / f"{name}.pem"),
            "key": str(cluster.folder / f"{name}.key"),
            "ca": [str(cluster.folder / "ca.pem")],
        }
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in places.items())
        node.config.write_text(f"{text}\n[peer.tls]\n{lines}")


def set_secrets(cluster: ProcessCluster, *files: str) -> None:
    """Likewise; the first is proved."""
    paths = json.dumps([str(cluster.folder / file) for file in files])
    for node in cluster.nodes.values():
        text = re.sub(r"^secret_files? = .*$", f"secret_files = {paths}", node.config.read_text(), flags=re.M)
        node.config.write_text(text)


async def roll(cluster: ProcessCluster) -> None:
    """Restart every node, each while all is well."""

    async def restart(name: str) -> None:
        assert await cluster.stop(name) == {name: 0}
        await cluster.start(name)

    urls = {name: node.url for name, node in cluster.nodes.items()}
    await Roll(urls, restart, tell=print).run(list(cluster.nodes))


async def plain(cluster: ProcessCluster) -> list[int]:
    """Connections with other nodes that are not encrypted, of each node."""
    counts = []
    async with aiohttp.ClientSession() as session:
        for url in cluster.urls:
            async with session.get(f"{url}/metrics") as answer:
                found = re.search(r"^floodmark_peer_plaintext_connections (\S+)$", await answer.text(), re.M)
                assert found is not None
                counts.append(int(float(found[1])))
    return counts


async def told(cluster: ProcessCluster, event: str, change: Callable[[], None]) -> None:
    """Make a change, tell the nodes to look, and wait until all have logged that they did."""
    before = {name: node.log.read_text().count(event) for name, node in cluster.nodes.items()}
    change()
    for child in cluster.children.values():
        child.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(30):
        while any(  # noqa: ASYNC110 - other processes
            node.log.read_text().count(event) <= before[name] for name, node in cluster.nodes.items()
        ):
            await asyncio.sleep(0.05)


async def test_a_node_reads_its_files_anew_on_sighup(tmp_path: Path) -> None:
    """Also where they look unchanged; and what cannot be used is told and does no harm."""
    cluster = ProcessCluster(tmp_path / "cluster", 1)
    by = new_authority("dev", lasts=YEAR)
    certify(cluster, by)
    (cluster.folder / "ca.pem").write_text(ca_files(cluster.folder, by))
    set_tls(cluster, "require")
    try:
        await cluster.start()
        await cluster.ready()
        await told(cluster, "credentials_reloaded", lambda: None)
        key = cluster.folder / "n1.key"
        await told(cluster, "credentials_not_usable", lambda: key.chmod(0o644))
        assert f"chmod 600 {key}" in cluster.nodes["n1"].log.read_text()
        await told(cluster, "credentials_reloaded", lambda: key.chmod(0o600))
        assert await cluster.stop("n1") == {"n1": 0}
    finally:
        await cluster.kill(*cluster.children)
        cluster.close()


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_tls_is_switched_on_and_its_ca_and_the_secret_are_changed_under_load(tmp_path: Path) -> None:
    """As docs/OPERATIONS.md says. No request fails, nothing is lost, and at the end all is encrypted."""
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create("numbers", partitions=3, replication_factor=3)
        first, second = (new_authority("dev", lasts=YEAR) for _ in range(2))
        certify(cluster, first)
        ca = cluster.folder / "ca.pem"
        ca.write_text(ca_files(cluster.folder, first))
        assert all(await plain(cluster))

        ledger = Ledger("numbers", 3)
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(500)
            for mode in ("prefer", "require"):
                set_tls(cluster, mode)
                await roll(cluster)
                await ledger.wait_acknowledged(500)
                assert await plain(cluster) == [0, 0, 0], mode

            (cluster.folder / "new").touch(mode=0o600)
            (cluster.folder / "new").write_text(secrets.token_hex(32))
            for files in (("secret", "new"), ("new", "secret"), ("new",)):
                set_secrets(cluster, *files)
                await roll(cluster)
                await ledger.wait_acknowledged(500)

            for change in (
                lambda: ca.write_text(ca_files(cluster.folder, first, second)),
                lambda: certify(cluster, second),
                lambda: ca.write_text(ca_files(cluster.folder, second)),
            ):
                await told(cluster, "credentials_reloaded", change)
                await ledger.wait_acknowledged(500)
            assert await plain(cluster) == [0, 0, 0]
        assert ledger.unsettled == {}
        await ledger.check(cluster.urls)
        # What counts no more opens nothing: neither the old secret nor the old CA.
        for spoil, why in (
            (lambda: set_secrets(cluster, "secret"), "does not know the cluster's secret"),
            (lambda: certify(cluster, first, "n3"), "its certificate does not count here"),
        ):
            await cluster.stop("n3")
            spoil()
            await cluster.start("n3")
            async with asyncio.timeout(30):
                while why not in cluster.nodes["n1"].log.read_text():  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
            set_secrets(cluster, "new")
            certify(cluster, second, "n3")
