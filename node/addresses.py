"""Addresses as they are written in settings: host:port."""

from __future__ import annotations

import ipaddress


def split_address(address: str) -> tuple[str, int]:
    """("host", port) of ``host:port`` or ``[v6]:port``; raises ``ValueError``."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"{address!r} is not host:port")
    if host.startswith("[") != host.endswith("]"):
        raise ValueError(f"{address!r} is not host:port")
    if ":" in host and not host.startswith("["):
        raise ValueError(f"{address!r}: put an IPv6 address into brackets, as in [::1]:7070")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
