"""Where another node's HTTP is, and how a large body goes there."""

from __future__ import annotations

import io
import re
from typing import Final

from floodmark.errors import Unavailable

from node.broker import Broker

_ADDRESS = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+", re.ASCII)
_WHOLE_BYTES: Final = 256 << 10


def base_url(broker: Broker, node: str) -> str:
    """From the replicated metadata. Raises ``Unavailable`` when it is not known or not a plain address."""
    url = broker.node_url(node)
    if url is None or _ADDRESS.fullmatch(url.rstrip("/")) is None:
        raise Unavailable(f"the address of node {node} is not known", leader=node)
    return url.rstrip("/")


def in_pieces(body: bytes) -> bytes | io.BytesIO:
    """Large bodies go out in pieces, so that the event loop is not held up."""
    return body if len(body) <= _WHOLE_BYTES else io.BytesIO(body)
