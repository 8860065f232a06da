"""How many replicas the nodes take: counted when a topic is made, before anything of it exists.

A node says its limit with its health; it follows from the descriptors that the process may open, or is set.
What the metadata put on a node counts whether it is open or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from floodmark.errors import TooManyPartitions

from node.metadata.holders import all_holders
from node.metadata.state import MetadataState


class PartitionRoom:
    """Of all nodes, on the one that makes topics."""

    def __init__(self) -> None:
        self._coming = Counter[str]()
        """Replicas by node of topics that are being made."""

    @contextmanager
    def held(
        self, state: MetadataState, placed: Sequence[Sequence[str]], limits: Mapping[str, int]
    ) -> Iterator[None]:
        """Room for new partitions (nodes of each) until the metadata tell of them, or they came to nothing.

        Raises ``TooManyPartitions`` where a node, by ``limits``, has less.
        """
        wanted = Counter(node for replicas in placed for node in replicas)
        there = Counter(
            node
            for _, entry in state.partitions()
            for node in all_holders(entry, state.moves.get(entry.raft_group))
        )
        for node, count in sorted(wanted.items()):
            used, limit = there[node] + self._coming[node], limits[node]
            if used + count > limit:
                raise TooManyPartitions(
                    f"node {node} has replicas of {used} partitions and takes {limit} "
                    "(limits.partitions_per_node_max, by default what its file descriptors allow for); this "
                    f"topic would bring {count}. Ask for fewer partitions, delete topics, or allow the node "
                    "more descriptors (LimitNOFILE, ulimit -Hn)",
                    node=node,
                    partitions=used,
                    limit=limit,
                )
        self._coming.update(wanted)
        try:
            yield
        finally:
            self._coming.subtract(wanted)
