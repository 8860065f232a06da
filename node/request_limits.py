"""Limits and deadlines of requests through any door, as operators set them in the table ``limits``.

The defaults suit a node of a small cluster. The rules between them are in node/settings_limits.py.
"""

from __future__ import annotations

import msgspec


class RequestLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes are in bytes and times in seconds, as the names say."""

    body_bytes_max: int = 16 << 20
    """A request's body, as sent and after decompression. A JSON body is larger than its record batch."""
    produce_timeout_s: float = 10.0
    """For a produce that names no ``timeout``."""
    produce_timeout_s_max: float = 60.0
    wait_s_max: float = 60.0
    """A longer ``wait`` of a long poll is cut to this."""
    fetch_bytes: int = 1 << 20
    """For a fetch that names no ``max_bytes``."""
    fetch_bytes_max: int = 8 << 20
    """The most in one answer to a fetch; at least one batch is always returned."""
    fetch_records: int = 10_000
    """For a fetch that names no ``max_records``."""
    fetch_records_max: int = 100_000
    stream_bytes: int = 256 << 10
    """How many bytes of a log a stream reads at a time."""
    responses_bytes_max: int = 256 << 20
    """All pages on their way to consumers; beyond this, fetches are refused with 429."""
    keep_alive_comment_s: float = 15.0
    """An idle event stream is sent a comment this often, so that proxies keep it open."""

    line_bytes_max: int = 8190
    header_bytes_max: int = 8190
    headers_max: int = 128
    header_timeout_s: float = 10.0
    """From a request's first byte (or the connection's start) to the end of its headers."""
    body_window_s: float = 10.0
    body_bytes_per_s_min: int = 1024
    """A body that arrives more slowly than this, averaged over ``body_window_s``, is given up."""
    body_timeout_s: float = 60.0
    """A body is given up after this, and a second more for each ``body_bytes_per_s`` bytes announced."""
    body_bytes_per_s: int = 64 << 10
    idle_timeout_s: float = 75.0
    write_stall_s: float = 30.0
    """A client that takes nothing of its answer for this long is dropped."""
    linger_s: float = 2.0
    """How long the rest of a refused body is read, so that the client gets to see why."""
    sweep_s: float = 1.0
    """How often connections are checked against the limits above."""

    address_produce_bytes_per_s: int = 0
    """How many bytes of records one client address may send to this node in a second; 0: as many as it likes.
    Behind a load balancer all clients may have one address: limit principals instead (``floodmark quota``).
    """
    address_fetch_bytes_per_s: int = 0
    """... and read."""
    address_requests_per_s: float = 0.0
    """... and how many requests it may make."""

    connections_max: int = 4096
    connections_per_address_max: int = 1024
    file_descriptors_reserve: int = 256
    """Descriptors left to segment files and peer links, whatever ``connections_max`` says: a quarter of all
    at most."""

    forward_connect_timeout_s: float = 2.0
    forward_grace_s: float = 2.0
    """How much longer a forwarded request is waited for than the leader was given."""
    forward_connections_max: int = 1024
    """Connections to nodes of earlier builds. Half of them are for long polls there; beyond that, these poll
    now and then."""
