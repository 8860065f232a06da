"""The data folder of a local cluster and the ports of its nodes."""

from __future__ import annotations

import socket
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from local.cluster import LocalCluster
from local.errors import FolderInUse, NoFreePorts, OtherSize
from local.folder import LocalFolder, LocalNode, Route
from local.ports import LOOPBACK, pick_ports
from node import settings_sources
from node.security.secret_files import secrets_of


def _listening() -> socket.socket:
    server = socket.socket()
    server.bind((LOOPBACK, 0))
    server.listen()
    return server


def test_ports_in_use_are_skipped() -> None:
    """The next free one is taken instead."""
    with _listening() as server:
        taken = server.getsockname()[1]
        ports = pick_ports(2, first=taken, besides=[taken + 1])
    assert taken not in ports
    assert taken + 1 not in ports
    assert len(set(ports)) == 2


def test_ports_run_out() -> None:
    """An error rather than a loop."""
    with pytest.raises(NoFreePorts, match="no 3 free ports"):
        pick_ports(3, first=65_534)


def test_the_settings_are_what_a_node_takes(tmp_path: Path) -> None:
    """Each node knows all peers, itself included, and they share a secret that only the owner can read."""
    folder = LocalFolder(tmp_path / 'it\'s "data"')
    nodes = folder.write_settings(3, http_port=20_000, peer_port=20_000)
    loaded = [settings_sources.load(node.config) for node in nodes]
    folder.close()
    assert [each.node.id for each in loaded] == ["n1", "n2", "n3"]
    assert all(each.cluster == loaded[0].cluster for each in loaded)
    assert [loaded[0].cluster.peers[each.node.id] for each in loaded] == [each.peer.listen for each in loaded]
    ports = [port for node in nodes for port in (node.http_port, node.peer_port)]
    assert len(set(ports)) == 6
    assert len(secrets_of(loaded[0])[0]) == 64
    assert stat.S_IMODE((folder.path / "secret").stat().st_mode) == 0o600


def test_routes_lead_around_the_direct_way(tmp_path: Path) -> None:
    """A node tells others its proxy's URL, and dials a peer where its route says; everything else stays."""
    folder = LocalFolder(tmp_path)

    def routes(nodes: Sequence[LocalNode]) -> Mapping[str, Route]:
        assert [node.name for node in nodes] == ["n1", "n2"]
        return {"n1": Route("http://127.0.0.1:1", {"n2": "127.0.0.1:2"}), "n2": Route()}

    nodes = folder.write_settings(2, http_port=20_200, peer_port=20_300, routes=routes)
    first, second = (settings_sources.load(node.config) for node in nodes)
    folder.close()
    assert (first.http.advertise, first.cluster.dial) == ("http://127.0.0.1:1", {"n2": "127.0.0.1:2"})
    assert (second.http.advertise, second.cluster.dial) == ("", {})
    assert first.cluster.peers == second.cluster.peers


def test_nodes_that_are_to_come_are_routed_from_the_beginning(tmp_path: Path) -> None:
    """Those that form the cluster dial them by their routes and do not list them; one that comes looks for
    the others by its own. Added anew it keeps its ports, and one that nobody knew of gets free ones.
    """

    def routes(nodes: Sequence[LocalNode]) -> Mapping[str, Route]:
        assert [node.name for node in nodes] == ["n1", "n2", "n3"]
        return {
            node.name: Route(dial={other.name: f"127.0.0.1:{port}" for port, other in enumerate(nodes, 1)})
            for node in nodes
        }

    cluster = LocalCluster(tmp_path, 2, routes=routes, further=1)
    try:
        assert list(cluster.nodes) == ["n1", "n2"]
        first = settings_sources.load(cluster.nodes["n1"].config)
        assert list(first.cluster.peers) == ["n1", "n2"]
        assert first.cluster.dial["n3"] == "127.0.0.1:3"
        third = cluster.add("n3", seeds=["n2"])
        assert settings_sources.load(third.config).cluster.join == ("127.0.0.1:2",)
        assert cluster.add("n3") == third
        assert settings_sources.load(third.config).cluster.join == ("127.0.0.1:1", "127.0.0.1:2")
        fourth = cluster.add("n4")
        ports = [port for node in cluster.nodes.values() for port in (node.http_port, node.peer_port)]
        assert len(set(ports)) == 8
        assert len(settings_sources.load(fourth.config).cluster.join) == 3
    finally:
        cluster.close()


def test_a_second_start_keeps_the_secret_and_the_number_of_nodes(tmp_path: Path) -> None:
    """Ports may change, what identifies the cluster does not."""
    folder = LocalFolder(tmp_path)
    folder.write_settings(2, http_port=20_000, peer_port=20_100)
    secret = (tmp_path / "secret").read_text()
    folder.close()
    again = LocalFolder(tmp_path)
    assert again.node_count(None) == 2
    with pytest.raises(OtherSize, match="holds a cluster of 2 nodes, not 3"):
        again.node_count(3)
    again.write_settings(2, http_port=21_000, peer_port=21_100)
    again.close()
    assert (tmp_path / "secret").read_text() == secret
    assert tomllib.loads((tmp_path / "n1.toml").read_text())["http"]["listen"] == f"{LOOPBACK}:21000"


def test_two_clusters_cannot_share_a_folder(tmp_path: Path) -> None:
    """The second one is told so before it touches anything."""
    folder = LocalFolder(tmp_path)
    with pytest.raises(FolderInUse, match="another local cluster runs on"):
        LocalFolder(tmp_path)
    folder.close()
    LocalFolder(tmp_path).close()
