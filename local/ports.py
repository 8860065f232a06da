"""Free ports on loopback for a local cluster."""

from __future__ import annotations

import socket
from collections.abc import Collection

from local.errors import NoFreePorts

LOOPBACK = "127.0.0.1"
_PORT_MAX = 65_535


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
