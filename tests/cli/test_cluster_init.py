"""``floodmark cluster init`` writes settings by which nodes form a cluster."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import floodmark
from consensus.links.link_tls import node_uri
from node.security.http_tls import HttpTls
from node.security.tls import PeerTls
from node.settings_sources import load
from tests.support.nodes import TestNode, free_port


def _init(*args: str) -> Result:
    return CliRunner().invoke(floodmark, ["cluster", "init", *args], prog_name="floodmark")


def _is_ready(node: TestNode, names: Sequence[str]) -> bool:
    """It serves, and knows all of them."""
    if node.parts is None or not node.broker.health().ready:
        return False
    return sorted(node.running.metadata.state.nodes) == list(names)


async def test_nodes_with_what_it_writes_form_a_cluster(tmp_path: Path) -> None:
    """As it is written, but for the folders, which are on one machine here."""
    to, names = tmp_path / "settings", ("n1", "n2", "n3")
    written = _init(
        *(f"{name}=127.0.0.1:{free_port()}:{free_port()}" for name in names),
        *("--to", str(to), "--id", "shop", "--secret-file", str(to / "secret")),
    )
    assert written.exit_code == 0, written.output
    assert "start each node with its own file" in written.stderr
    assert sorted(path.name for path in to.iterdir()) == ["n1.toml", "n2.toml", "n3.toml", "secret"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in to.iterdir()} == {0o600}
    nodes = [
        TestNode(load(str(to / f"{name}.toml"), flags={"node.data_dir": str(tmp_path / name)}))
        for name in names
    ]
    assert all(node.settings.cluster == nodes[0].settings.cluster for node in nodes)
    try:
        for node in nodes:
            node.start()
        async with asyncio.timeout(60):
            while not all(_is_ready(node, names) for node in nodes):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert nodes[0].broker.cluster.show().cluster_id == "shop"
    finally:
        await asyncio.gather(*(node.stop() for node in nodes))


@pytest.mark.parametrize("options", [(), ("--insecure",), ("--secure",)])
def test_a_node_starts_with_what_is_written(tmp_path: Path, options: tuple[str, ...]) -> None:
    """With TLS and authentication where other machines reach it, or because it is to do without."""
    to = tmp_path / "to"
    written = _init("n1=10.0.0.1", "n2=n2.example", "--to", str(to), "--tls-dir", str(to), *options)
    assert written.exit_code == 0, written.output
    assert {stat.S_IMODE(path.stat().st_mode) for path in to.iterdir()} == {0o600}
    settings = load(str(to / "n1.toml"))
    is_secure = options != ("--insecure",)
    assert settings.http.insecure != is_secure
    assert (settings.http.authentication == "required") == is_secure
    assert settings.peer.tls.mode == ("require" if is_secure else "off")
    assert settings.http.tls.is_on == is_secure
    if is_secure:
        HttpTls(settings.http.tls)
        PeerTls(settings.peer.tls, name=node_uri("floodmark", "n1"))


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """Not the secret of a cluster that may be there, nor half of the files."""
    assert _init("n1=10.0.0.1", "--to", str(tmp_path)).exit_code == 0
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert '[peer]\nlisten = "10.0.0.1:7170"' in before["n1.toml"]
    assert sorted(before) == ["ca.key", "ca.pem", "n1.key", "n1.pem", "n1.toml", "secret"]
    again = _init("n1=10.0.0.1", "n2=10.0.0.2", "--to", str(tmp_path))
    assert (again.exit_code, "n1.toml, secret" in again.stderr) == (4, True), again.output
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("n1",), "'n1' does not name a node and its host"),
        (("n1=",), "does not name a node"),
        (("n 1=host",), "does not name a node"),
        (("n1=host:0",), "does not name a node"),
        (("n1=host:70000",), "does not name a node"),
        (("n1=host:1:2:3",), "does not name a node"),
        (("secret=host",), "does not name a node"),
        (("n1=a", "n1=b"), "n1 is given twice"),
        (("n1=a", "n2=a"), "a:7070 is given twice"),
        (("n1=a:7000:7000",), "a:7000 is given twice"),
    ],
)
def test_what_is_no_cluster_is_refused(tmp_path: Path, given: tuple[str, ...], words: str) -> None:
    """And leaves nothing behind."""
    result = _init(*given, "--to", str(tmp_path / "to"))
    assert (result.exit_code, words in result.stderr) == (2, True), result.output
    assert not (tmp_path / "to").exists()
