"""One Redis primary and two replicas."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import ClassVar

from bench.peers.servers.base import NODES, Servers
from bench.peers.tools import Tools
from bench.peers.variant import Variant
from local.ports import LOOPBACK

_CLIENT = (
    "`redis-py` with hiredis: `XADD` and `WAIT 1` in one pipeline; batched: pipelines of 1,000 `XADD` and "
    "one `WAIT`, from two threads; reading: `XRANGE` with `COUNT 1000`; at the fixed rate: `XREAD BLOCK`"
)
_CONFIGURATION = 'three streams on one primary, two replicas, append-only file, no snapshots (`save ""`); '


def arguments(*, folder: Path, port: int, fsync: str, primary_port: int | None) -> list[str]:
    """The command line of one server, without the program."""
    replica = [] if primary_port is None else ["--replicaof", LOOPBACK, str(primary_port)]
    return [
        *("--port", str(port), "--bind", LOOPBACK, "--dir", str(folder)),
        *("--appendonly", "yes", "--appendfsync", fsync, "--save", ""),
        *("--repl-diskless-sync-delay", "0", *replica),
    ]


def replicas_online(port: int) -> int:
    """How many replicas follow the primary on this port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
            connection.sendall(b"INFO replication\r\nQUIT\r\n")
            text = b""
            while found := connection.recv(65_536):
                text += found
    except OSError:
        return 0
    return text.count(b"state=online")


class Redis(Servers):
    """Replication is asynchronous; ``WAIT`` makes the client wait for it."""

    variants: ClassVar[tuple[Variant, ...]] = tuple(
        Variant(
            name=f"redis-{fsync}",
            system="redis",
            label=f"Redis Streams, fsync {fsync}",
            is_synced=False,
            acknowledged=f"{first}, and in the memory of one replica (`WAIT 1`); a failover can lose it",
            configuration=_CONFIGURATION + f"`appendfsync {fsync}` on all three",
            client=_CLIENT,
            options={"fsync": fsync},
        )
        for fsync, first in (
            ("always", "on the primary's disk (fdatasync)"),
            ("everysec", "in the primary's memory; on its disk up to a second or two later"),
        )
    )

    @staticmethod
    def missing(tools: Tools) -> str | None:
        """It is a Debian package."""
        return tools.missing_clients or tools.missing_debian("redis")

    def start(self) -> None:
        """The primary, then the replicas."""
        ports = self.ports(NODES)
        for number, port in enumerate(ports):
            command = arguments(
                folder=self.node_folder(number),
                port=port,
                fsync=self.variant.options["fsync"],
                primary_port=ports[0] if number else None,
            )
            program = self.tools.debian_program("redis-server")
            self.run(f"n{number + 1}", [str(program), *command], self.tools.debian_environment())
        self.addresses = [f"{LOOPBACK}:{ports[0]}"]
        self.wait_until(lambda: replicas_online(ports[0]) == NODES - 1, "replication")
