"""Three NATS servers with JetStream."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from bench.peers.servers.base import NODES, Servers, answers_ok
from bench.peers.tools import Tools
from bench.peers.variant import Variant
from local.ports import LOOPBACK

_CONFIGURATION = (
    "three streams (what partitions are elsewhere), file storage, 3 replicas, no limits; "
    "`max_file_store` above what is written; "
)
_CLIENT = (
    "`nats-py` (asyncio): `js.publish`; batched: `js.publish_async` with its 4,000 pending at most; "
    "reading: an ordered consumer per stream, which its documentation names for reading a stream in order"
)


def settings(
    number: int, *, folder: Path, client_port: int, monitor_port: int, route_ports: list[int], sync: str
) -> str:
    """The configuration file of one server."""
    routes = ", ".join(f'"nats://{LOOPBACK}:{port}"' for port in route_ports)
    interval = f", sync_interval: {sync}" if sync else ""
    return (
        f"server_name: n{number + 1}\n"
        f'listen: "{LOOPBACK}:{client_port}"\n'
        f'http: "{LOOPBACK}:{monitor_port}"\n'
        f'jetstream {{ store_dir: "{folder}", max_file_store: 64GB, max_memory_store: 1GB{interval} }}\n'
        f'cluster {{ name: bench, listen: "{LOOPBACK}:{route_ports[number]}", routes: [{routes}] }}\n'
    )


class Nats(Servers):
    """JetStream over file storage."""

    variants: ClassVar[tuple[Variant, ...]] = (
        Variant(
            name="nats-always",
            system="nats",
            label="NATS JetStream, sync always",
            is_synced=True,
            acknowledged="written and synced to disk by two of three servers",
            configuration=_CONFIGURATION + "`sync_interval: always`",
            client=_CLIENT,
            options={"sync": "always"},
        ),
        Variant(
            name="nats-default",
            system="nats",
            label="NATS JetStream",
            is_synced=False,
            acknowledged="written to the page cache of two of three servers; synced up to two minutes later",
            configuration=_CONFIGURATION + "`sync_interval` as it comes (two minutes)",
            client=_CLIENT,
        ),
    )

    @staticmethod
    def missing(tools: Tools) -> str | None:
        """It comes with the clients."""
        return tools.missing_clients

    def start(self) -> None:
        """One process per server."""
        ports = self.ports(3 * NODES)
        clients, monitors, routes = ports[:NODES], ports[NODES : 2 * NODES], ports[2 * NODES :]
        for number in range(NODES):
            text = settings(
                number,
                folder=self.node_folder(number),
                client_port=clients[number],
                monitor_port=monitors[number],
                route_ports=routes,
                sync=self.variant.options.get("sync", ""),
            )
            path = self.folder / f"n{number + 1}.conf"
            path.write_text(text)
            self.run(f"n{number + 1}", [str(self.tools.program("nats-server")), "-c", str(path)])
        self.addresses = [f"nats://{LOOPBACK}:{port}" for port in clients]
        self.wait_each([partial(answers_ok, port, "/healthz") for port in monitors], "health of a server")
