"""The shapes that every step shares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

R = TypeVar("R")
Pair = tuple[bytes, bytes | None]


class Decision(NamedTuple, Generic[R]):
    """What a step comes to. Without pairs there is nothing to commit, and the answer may be given at once."""

    pairs: list[Pair]
    """What to write, all or nothing; None removes."""
    answer: R
    """What the caller is told once the pairs are committed."""


class TopicsView(Protocol):
    """The topics that users may see, as the cluster's metadata describe them."""

    def id_of(self, name: str) -> int | None:
        """The id of the topic that has this name now."""

    def partitions(self, topic_id: int) -> int:
        """How many a topic has; 0 where there is none with this id (any more)."""

    def names(self) -> Iterable[str]:
        """Of all topics."""
