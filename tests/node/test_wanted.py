"""Which replicas belong on a node, according to the metadata."""

from __future__ import annotations

from typing import Any

from node.metadata.state import MetadataState, PartitionEntry, TopicEntry
from node.metadata.topic_config import TopicConfig
from node.replicas.wanted import groups_here


class _Walked(dict[str, TopicEntry]):
    """Counts how often all topics are looked through."""

    walks = 0

    def values(self) -> Any:
        self.walks += 1
        return super().values()


def test_a_new_topic_of_many_partitions_costs_one_walk_over_the_clusters_topics() -> None:
    """Of 300 groups asked for, those with a replica here are answered, in order, after a single walk."""
    entries = [
        PartitionEntry(number, number + 1, ("n1", "n2") if number % 3 else ("n2", "n3"), ("a", "b"))
        for number in range(300)
    ]
    topics = _Walked({"t": TopicEntry("t", 1, 2, TopicConfig(), tuple(entries))})
    state = MetadataState(topics=topics)
    assert groups_here(state, "n1", [3, 2, 1, 301]) == [3, 2]
    assert (
        groups_here(state, "n1", range(300, 0, -1))
        == [e.raft_group for e in entries if "n1" in e.replicas][::-1]
    )
    assert topics.walks == 2
