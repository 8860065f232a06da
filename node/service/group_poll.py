"""What somebody asks for who reads as a group's member without joining by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from floodmark.errors import InvalidRequest

from node.service.group_request import check_group

TOPICS_MAX: Final = 100
STARTS: Final = ("earliest", "latest", "none")


class PollGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One call. ``start``: where to begin where the group has no offset. ``leave``: commit, and be no
    member."""

    group: str
    topics: Sequence[str]
    token: str | None
    start: str = "earliest"
    leave: bool = False

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        check_group(self.group)
        if not 0 < len(self.topics) <= TOPICS_MAX:
            raise InvalidRequest(
                f"say which topics to read, 1 to {TOPICS_MAX} of them: ?topics=orders,payments"
            )
        if self.start not in STARTS:
            raise InvalidRequest(f"start is one of {', '.join(STARTS)}, not {self.start[:100]!r}")
        if self.leave and self.token is None:
            raise InvalidRequest("only a member can leave: send the commit token along")
