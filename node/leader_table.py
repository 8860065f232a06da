"""Who leads each partition, as the leaders themselves tell: every node knows it without asking.

The table is a hint. A wrong row costs a retry, since a node that is asked and does not lead says so. A row of
a lower term never replaces one of a higher term.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final, NamedTuple

from consensus.host.host_types import Waiters

ROWS_MAX: Final = 500_000
"""The most rows kept for partitions that this node does not know yet."""


class Led(NamedTuple):
    """Who leads a group, and in which term."""

    leader: str
    term: int


class LeaderTable:
    """``changed`` wakes those that wait for a leader."""

    def __init__(self) -> None:
        self._rows: dict[int, Led] = {}
        self._there: Container[int] = ()
        self._below = 0
        self.changed = Waiters()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, raft_group: int) -> Led | None:
        """Who leads a group, as last heard; None where nobody is known to lead it."""
        return self._rows.get(raft_group)

    def led(self, node: str, raft_group: int, term: int) -> None:
        """``node`` leads in ``term``, as it or a follower of it has told; that of a deleted group is void."""
        if raft_group < self._below and raft_group not in self._there:
            return
        known = self._rows.get(raft_group)
        if (known is None and len(self._rows) < ROWS_MAX) or (known is not None and term > known.term):
            self._rows[raft_group] = Led(node, term)
            self.changed.changed()

    def left(self, node: str, raft_group: int, term: int) -> None:
        """``node`` no longer leads as it did in ``term``."""
        known = self._rows.get(raft_group)
        if known is not None and known.leader == node and known.term <= term:
            del self._rows[raft_group]
            self.changed.changed()

    def all_led(self, node: str, rows: Mapping[int, int]) -> None:
        """``rows`` (group -> term) are all that ``node`` leads."""
        for raft_group, term in rows.items():
            self.led(node, raft_group, term)
        for raft_group in [group for group, row in self._rows.items() if row.leader == node]:
            if raft_group not in rows:
                self.left(node, raft_group, self._rows[raft_group].term)

    def forget_deleted(self, there: Container[int], below: int) -> None:
        """Drop the rows of groups numbered under ``below`` that are not ``there``: those were deleted.

        What is told of them later is ignored.
        """
        self._there, self._below = there, below
        for raft_group in [group for group in self._rows if group < below and group not in there]:
            del self._rows[raft_group]
