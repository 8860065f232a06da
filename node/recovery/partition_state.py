"""The state of a partition's machine as a checkpoint has it, next to the log that it is stored with.

A replica that is being brought in gets its leader's present state, and then the log from its first entry on.
So its state may be ahead of its log. As long as the group goes on that does no harm, since what is missing
comes. After a recovery it never comes: other entries take those places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from node.partition import producers


class PartitionState(NamedTuple):
    """``last_index``: the last entry that is in a state. ``cut``: see ``node.partition.producers.cut``."""

    last_index: Callable[[bytes], int]
    cut: Callable[..., bytes]


PARTITION_STATE: Final = PartitionState(producers.last_index_in, producers.cut)
