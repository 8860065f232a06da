"""The ports of local clusters: no two clusters share one, and what goes wrong with one is said."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from local.cluster import LocalCluster
from local.errors import NotReady
from local.ports import LOOPBACK, PortBlock


def test_a_port_of_a_stopped_node_is_nobody_elses(tmp_path: Path) -> None:
    """Clusters that run side by side never pick the same ports, also where nothing listens yet."""
    clusters = [LocalCluster(tmp_path / str(number), 9) for number in range(20)]
    ports = [
        port for each in clusters for node in each.nodes.values() for port in (node.http_port, node.peer_port)
    ]
    for each in clusters:
        each.close()
    assert len(set(ports)) == 20 * 18


def test_no_port_is_one_that_outgoing_connections_get() -> None:
    """The kernel gives any of its range to whoever connects, also one that a node is about to listen on."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as text:
        lowest = int(text.read().split()[0])
    blocks = [PortBlock() for _ in range(100)]
    last = max(each.first + PortBlock.count - 1 for each in blocks)
    for each in blocks:
        each.close()
    assert last < lowest


async def test_a_node_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    """Its port was taken after it was chosen: that is said with its last lines, at once."""
    cluster = LocalCluster(tmp_path, 1)
    with socket.socket() as taken:
        taken.bind((LOOPBACK, cluster.nodes["n1"].peer_port))
        taken.listen()
        await cluster.start()
        try:
            with pytest.raises(NotReady, match=r"n1 ended with \d+ before it was ready(.|\n)*in use"):
                await cluster.ready()
        finally:
            await cluster.stop()
            cluster.close()
