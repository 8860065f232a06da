"""Headers that name the leader, for clients that go there next time."""

from __future__ import annotations

from typing import Final

from node.broker import Broker

LEADER: Final = "Floodmark-Leader"
LEADER_URL: Final = "Floodmark-Leader-Url"


def leader_headers(broker: Broker, leader: str) -> dict[str, str]:
    """The leader's id and URL; empty where it is this node."""
    headers = {LEADER: leader}
    url = None if leader == broker.node_id else broker.node_url(leader)
    if url is not None:
        headers[LEADER_URL] = url.rstrip("/")
    return headers
