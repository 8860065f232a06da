"""Free ports on loopback for a local cluster."""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Collection
from typing import Final, Self

from local.errors import NoFreePorts

LOOPBACK = "127.0.0.1"
_PORT_MAX = 65_535
_BLOCK_PORTS: Final = 50
_BLOCKS: Final = range(20_000, 31_000, _BLOCK_PORTS)
"""Below the range that the kernel takes outgoing ports from, to the last port of the last block."""


class PortBlock:
    """Ports from ``first`` on that no other block holds on this machine, until ``close`` or our end.

    A port that nobody listens on is not free for that: the node that has it may be down for a while. What is
    held is a name of a socket (Linux's abstract ones, which leave no file); elsewhere chance has to do.
    """

    count: Final = _BLOCK_PORTS

    def __init__(self) -> None:
        """A random one. Raises ``NoFreePorts``."""
        for first in random.SystemRandom().sample(_BLOCKS, len(_BLOCKS)):
            holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                if sys.platform == "linux":
                    holder.bind(f"\0floodmark-ports-{first}")
            except OSError:
                holder.close()
                continue
            self.first = first
            self._holder = holder
            return
        raise NoFreePorts(f"all ports from {_BLOCKS.start} to {_BLOCKS.stop - 1} are held by local clusters")

    def close(self) -> None:
        """Let others have them."""
        self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def pick_ports(count: int, *, first: int, besides: Collection[int] = ()) -> list[int]:
    """``count`` ports from ``first`` on: those that nobody listens on and that are not in ``besides``."""
    found: list[int] = []
    port = first
    while len(found) < count:
        if port > _PORT_MAX:
            raise NoFreePorts(f"no {count} free ports from {first} on")
        if port not in besides and is_free(port):
            found.append(port)
        port += 1
    return found


def is_free(port: int) -> bool:
    """Whether a server could listen here now, on loopback and on every other address.

    The wildcard is tried as well: whoever holds it would answer where our node does not.
    """
    for address in (LOOPBACK, "0.0.0.0"):  # noqa: S104 - bound for a moment, never listened on
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True
