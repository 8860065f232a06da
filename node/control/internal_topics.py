"""How many replicas the cluster's own topics have: three, or one for each node that takes replicas.

They are made in clusters of any size, which then grow, and nobody thinks of them. Where a node is drained and
fewer than three are left they get along with those, so that no drain is refused because of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from node.metadata.domains.topics import ChangeReplicationFactor
from node.metadata.state import INTERNAL_TOPICS, MetadataState

REPLICAS: Final = 3


def factor(state: MetadataState) -> int:
    """What these topics are to have now."""
    return max(1, min(REPLICAS, len(state.nodes.keys() - state.draining.keys())))


def due(state: MetadataState) -> Iterator[ChangeReplicationFactor]:
    """The changes that are to be made; moves of replicas follow from them. Looks at a few topics only."""
    for name in INTERNAL_TOPICS:
        topic = state.topics.get(name)
        if topic is not None and topic.replication_factor != factor(state):
            yield ChangeReplicationFactor(name, topic.topic_id, factor(state))
