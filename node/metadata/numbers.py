"""Numbers and UUIDs beside the names, for protocols that name nodes and topics by them.

Below feature level 3 all of them follow from what the metadata has had since the first build, so every node
whose build knows the rules derives the same ones. From there on nodes come and go, and keep the numbers that
they were given; the first nodes keep the derived ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Final

from node.metadata.state import MetadataState

_TOPICS: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:floodmark:topics")
"""The namespace of all topics' UUIDs: it must never change."""


def node_number(members: Collection[str], node_id: str, given: Mapping[str, int]) -> int | None:
    """The node's number, an int32 from 1 on: the first nodes are numbered in order of id.

    A node that came later has the next number; from feature level 3 on all are ``given``. No number passes to
    another node; a node that lost its disk is the same node. None for a node that is not the cluster's own.
    """
    if given:
        return given.get(node_id)
    return sorted(members).index(node_id) + 1 if node_id in members else None


def topic_uuid(state: MetadataState, topic_id: int) -> str | None:
    """A topic's UUID, of version 5: unique to each topic of each cluster, even under the same name.

    None until a new cluster has the name that tells it from all others.
    """
    return str(uuid.uuid5(_TOPICS, f"{state.formation}/{topic_id}")) if state.formation else None
