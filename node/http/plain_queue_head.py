"""The heads of the plainest requests to receive from a queue and to settle: see ``plain_head.py``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from node.http.plain_head import TOPIC_ID, Heads, Sender, query_in

RECEIVE: Final = "receive"
PARAMETERS: Final[Mapping[str, frozenset[str]]] = {
    RECEIVE: frozenset({"max", "max_bytes", "wait", "worker"}),
    **dict.fromkeys(("ack", "nack", "extend", "reject", "settle"), frozenset({"timeout"})),
}
"""The last part of the path -> what the query may have."""
_REQUEST = re.compile(
    rb"POST (/v1/queues/([A-Za-z0-9._-]{1,249})/([a-z]{1,9}))(?:\?([A-Za-z0-9=&._-]{0,300}))? HTTP/1\.1"
)


class PlainQueueHead(NamedTuple):
    """All that such a head says."""

    path: str
    queue: str
    action: str
    """A key of ``PARAMETERS``."""
    query: Mapping[str, str]
    content_length: int
    is_from_node: bool
    client_id: str
    credential: bytes | None


class PlainQueueHeads(Heads[PlainQueueHead]):
    """Of requests for queues."""

    begins = b"POST /v1/queues/"

    def head(
        self, first: bytes, headers: Mapping[bytes, bytes], sender: Sender, length: int
    ) -> PlainQueueHead | None:
        """See ``Heads``."""
        asked = _REQUEST.fullmatch(first)
        if asked is None or TOPIC_ID in headers or not asked[2].strip(b"."):
            return None
        path, queue, action = asked[1].decode(), asked[2].decode(), asked[3].decode()
        known = PARAMETERS.get(action)
        query = None if known is None else query_in((asked[4] or b"").decode(), known)
        return None if query is None else PlainQueueHead(path, queue, action, query, length, *sender)
