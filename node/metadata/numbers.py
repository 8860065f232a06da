"""Numbers and UUIDs beside the names, for protocols that know their nodes and topics by these.

Below feature level 3 all of them follow from what the metadata has had from the first build on, so every node
of every build that knows the rules gives the same ones. From there on nodes come and go, and have the numbers
that they were given, of which the first are the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Final

from node.metadata.state import MetadataState

_TOPICS: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:floodmark:topics")
"""The namespace of all topics' UUIDs: never another one."""


def node_number(members: Collection[str], node_id: str, given: Mapping[str, int]) -> int | None:
    """Which of the nodes that the cluster was formed of it is, in order of id, from 1 on: an int32.

    Who came later has the next number, ``given`` with all others from feature level 3 on. No number passes to
    another node; one that lost its disk is the same node. None for a node that has no part in anything.
    """
    if given:
        return given.get(node_id)
    return sorted(members).index(node_id) + 1 if node_id in members else None


def topic_uuid(state: MetadataState, topic_id: int) -> str | None:
    """A topic's UUID, of version 5: another one for each topic of each cluster, also under the same name.

    None for the moment until a new cluster has the name that tells it from all others.
    """
    return str(uuid.uuid5(_TOPICS, f"{state.formation}/{topic_id}")) if state.formation else None
