"""The members of the metadata group before its log names any."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from consensus.types import Membership

VOTERS_MAX: Final = 5
"""Of the metadata group; its other members are learners."""


def initial_membership(initial_nodes: Iterable[str]) -> Membership:
    """The first five nodes are voters, the others learners; the same on every node."""
    nodes = sorted(initial_nodes)
    return Membership(frozenset(nodes[:VOTERS_MAX]), frozenset(nodes[VOTERS_MAX:]))
