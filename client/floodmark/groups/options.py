"""How a group's consumer reads, and when it commits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import msgspec

from floodmark.errors import InvalidRequest
from floodmark.format.names import check_name
from floodmark.groups.paths import group_path
from floodmark.groups.shapes import TopicPartition

WhereNone = Literal["earliest", "latest", "none"]
Commit = Literal["next", "manual"] | float
Told = Awaitable[None] | None
OnPartitions = Callable[[list[TopicPartition]], Told]
OnGap = Callable[[TopicPartition, int, int], Told]
SESSION_S: Final = 45.0
REBALANCE_S: Final = 300.0


class ConsumeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of ``client.consume``; they are described there."""

    group: str
    topics: tuple[str, ...] = ()
    pattern: str | None = None
    start: WhereNone = "earliest"
    commit: Commit = "next"
    follow: bool = True
    instance_id: str | None = None
    assignor: str | None = None
    session_timeout_s: float = SESSION_S
    rebalance_timeout_s: float = REBALANCE_S
    on_assigned: OnPartitions | None = None
    on_revoked: OnPartitions | None = None
    on_lost: OnPartitions | None = None
    on_gap: OnGap | None = None
    prefetch_bytes: int
    timeout_s: float

    def __post_init__(self) -> None:
        group_path(self.group)
        for topic in self.topics:
            check_name(topic)
        if bool(self.topics) == (self.pattern is not None):
            raise InvalidRequest("say what to read: topics, or a pattern of their names")
        if self.start not in ("earliest", "latest", "none"):
            raise InvalidRequest(f"start is 'earliest', 'latest' or 'none', not {self.start!r}")
        if isinstance(self.commit, str):
            is_right = self.commit in ("next", "manual")
        else:
            is_right = not isinstance(self.commit, bool) and self.commit > 0
        if not is_right:
            raise InvalidRequest(f"commit is 'next', 'manual' or seconds above 0, not {self.commit!r}")
        for name in ("session_timeout_s", "rebalance_timeout_s", "timeout_s"):
            if not getattr(self, name) > 0:
                raise InvalidRequest(f"{name} is a number of seconds above 0, not {getattr(self, name)!r}")

    @property
    def commits_by_itself(self) -> bool:
        """Whether records count as done when the next one is asked for."""
        return self.commit != "manual"


def topics_of(topics: str | Sequence[str] | None) -> tuple[str, ...]:
    """One name, or several, or none."""
    if topics is None:
        return ()
    return (topics,) if isinstance(topics, str) else tuple(topics)
