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
"""Below the range from which the kernel takes outgoing ports."""


class PortBlock:
    """Ports from ``first`` on that no other block on this machine holds, until ``close`` or our end.

    A port without a listener need not be free: the node that owns it may be down for a while. A block is held
    by the name of a socket (an abstract one of Linux, which leaves no file); on other systems by chance only.
    """

    count: Final = _BLOCK_PORTS

    def __init__(self) -> None:
        """Take a random block. Raises ``NoFreePorts``."""
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
        """Release the block."""
        self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def pick_ports(count: int, *, first: int, besides: Collection[int] = ()) -> list[int]:
    """``count`` ports from ``first`` on, without listeners and not in ``besides``."""
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

    The wildcard address is tried as well: a process that listens on it would answer in place of our node.
    """
    for address in (LOOPBACK, "0.0.0.0"):  # noqa: S104 - bound for a moment, never listened on
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True
