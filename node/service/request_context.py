"""Who asks, through which door, and until when: the context of every request."""

from __future__ import annotations

import time
from typing import Final

import msgspec

ANONYMOUS: Final = "anonymous"
"""The principal of unauthenticated requests."""
A_NODE: Final = "(node)"
"""The principal of a node of this cluster that asks over a users' door, as builds without an inside line do.
No user can have this name. The request was authorized where it arrived, so it may do everything.
"""
NOBODY_IN_PARTICULAR: Final = frozenset({ANONYMOUS, A_NODE})
"""A node's memory is shared out among principals, and among addresses where it is one of these."""


class RequestContext(msgspec.Struct, frozen=True, kw_only=True):
    """Made by a door for exactly one request. The door has authenticated ``principal``.

    ``deadline``: until when an answer is of use, on the event loop's monotonic clock (``time.monotonic``).
    ``address``: the client's, without its port. ``trace``: the W3C ``traceparent`` that came along, if any.
    """

    protocol: str
    principal: str = ANONYMOUS
    client_id: str = ""
    address: str = ""
    credential: str = ""
    """By what the principal is known, without any secret of it."""
    expires_ms: int = 0
    """When that expires, in milliseconds since 1970; 0: never."""
    deadline: float | None = None
    trace: str | None = None
    judged: set[object] = set()
    """What the policy has allowed so far, so that it is asked once for each operation and resource, and once
    for the quota, however many steps check it. Copies for another deadline share it. Only the service uses
    it."""

    def within(self, timeout_s: float) -> RequestContext:
        """The same request, to be answered within ``timeout_s`` seconds from now."""
        return msgspec.structs.replace(self, deadline=time.monotonic() + timeout_s)

    def left_s(self) -> float:
        """Seconds until the deadline, never below 0; infinite without one."""
        return float("inf") if self.deadline is None else max(0.0, self.deadline - time.monotonic())
