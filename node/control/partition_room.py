"""How many replicas the nodes take: checked when a topic is created, before anything of it exists.

A node reports its limit with its health; it is set, or follows from the descriptors that the process may
open. Replicas that the metadata places on a node count whether they are open or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from floodmark.errors import TooManyPartitions

from node.metadata.holders import all_holders
from node.metadata.state import MetadataState


class PartitionRoom:
    """The room on all nodes; used on the node that creates topics."""

    def __init__(self) -> None:
        self._coming = Counter[str]()
        """By node: replicas of topics that are being created."""

    @contextmanager
    def held(
        self, state: MetadataState, placed: Sequence[Sequence[str]], limits: Mapping[str, int]
    ) -> Iterator[None]:
        """Reserve room for new partitions (nodes of each) until the metadata has them, or creating them
        failed.

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
