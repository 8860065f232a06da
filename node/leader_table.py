"""Who leads each partition, as the leaders themselves say: what every node knows without asking.

The table is a hint. A wrong row costs a retry, for whoever is asked as a leader and is none says so. What is
of a lower term never replaces what is of a higher one.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final, NamedTuple

from consensus.host.host_types import Waiters

ROWS_MAX: Final = 500_000
"""Of partitions that this node knows nothing of yet, no more are remembered."""


class Led(NamedTuple):
    """Who leads a group, and in which term."""

    leader: str
    term: int


class LeaderTable:
    """``changed`` wakes who waits for a leader."""

    def __init__(self) -> None:
        self._rows: dict[int, Led] = {}
        self.changed = Waiters()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, raft_group: int) -> Led | None:
        """Who leads a group as was heard last; None where nobody said so, or the last one does no more."""
        return self._rows.get(raft_group)

    def led(self, node: str, raft_group: int, term: int) -> None:
        """``node`` leads in ``term``, by its own word or by that of a replica that follows it."""
        known = self._rows.get(raft_group)
        if (known is None and len(self._rows) < ROWS_MAX) or (known is not None and term > known.term):
            self._rows[raft_group] = Led(node, term)
            self.changed.changed()

    def left(self, node: str, raft_group: int, term: int) -> None:
        """``node`` leads no more, as it did in ``term``."""
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
        """Keep rows of groups that are ``there``, and of those that are not known yet: from ``below`` on."""
        for raft_group in [group for group in self._rows if group < below and group not in there]:
            del self._rows[raft_group]
