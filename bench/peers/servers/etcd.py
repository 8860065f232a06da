"""Three etcd servers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from bench.peers.servers.base import NODES, Servers, answers_ok
from bench.peers.tools import Tools
from bench.peers.variant import Variant
from local.ports import LOOPBACK

_QUOTA_BYTES = 8 << 30


def arguments(number: int, *, folder: Path, client_ports: list[int], peer_ports: list[int]) -> list[str]:
    """The command line of one server, without the program."""
    client, peer = (f"http://{LOOPBACK}:{ports[number]}" for ports in (client_ports, peer_ports))
    cluster = ",".join(f"n{each + 1}=http://{LOOPBACK}:{port}" for each, port in enumerate(peer_ports))
    return [
        *("--name", f"n{number + 1}", "--data-dir", str(folder)),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", cluster, "--initial-cluster-state", "new"),
        *("--quota-backend-bytes", str(_QUOTA_BYTES), "--logger", "zap", "--log-level", "error"),
    ]


class Etcd(Servers):
    """A store of keys, not a log: one group of all three, whatever the key."""

    variants: ClassVar[tuple[Variant, ...]] = (
        Variant(
            name="etcd",
            system="etcd",
            label="etcd",
            is_synced=True,
            acknowledged="in the write-ahead logs (fdatasync) of two of three servers",
            configuration="a record is a key that counts up; `--quota-backend-bytes` above what is written",
            client="its JSON gateway with aiohttp (payloads in base64); batched: transactions of 128 puts, "
            "the most that it takes, eight at once; reading: ranges of 1,000 keys; at the fixed rate a watch",
        ),
    )

    @staticmethod
    def missing(tools: Tools) -> str | None:
        """It is a Debian package."""
        return tools.missing_clients or tools.missing_debian("etcd")

    def start(self) -> None:
        """One process per server."""
        ports = self.ports(2 * NODES)
        clients, peers = ports[:NODES], ports[NODES:]
        for number in range(NODES):
            folder = self.node_folder(number)
            command = arguments(number, folder=folder, client_ports=clients, peer_ports=peers)
            self.run(f"n{number + 1}", [str(self.tools.debian_program("etcd")), *command])
        self.addresses = [f"http://{LOOPBACK}:{port}" for port in clients]
        self.wait_each([partial(answers_ok, port, "/health") for port in clients], "health of a server")
