"""Who the members of the metadata group are before its log says anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from consensus.types import Membership

VOTERS_MAX: Final = 5
"""Of the metadata group; its other members learn."""


def initial_membership(initial_nodes: Iterable[str]) -> Membership:
    """The first five nodes vote, the others learn; the same on every node."""
    nodes = sorted(initial_nodes)
    return Membership(frozenset(nodes[:VOTERS_MAX]), frozenset(nodes[VOTERS_MAX:]))
