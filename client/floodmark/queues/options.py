"""How a worker works."""

from __future__ import annotations

from typing import Final

import msgspec

from floodmark.errors import InvalidRequest

AT_ONCE_MAX: Final = 1000


class JobsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of ``Queue.jobs`` and ``Queue.run``; they are described at ``jobs``."""

    concurrency: int = 1
    prefetch: int = 0
    wait_s: float = 20.0
    idle_s: float | None = None
    drain_s: float = 30.0
    timeout_s: float
    settles_last: bool
    """Whether a job is done with when the next one is asked for."""

    def __post_init__(self) -> None:
        if not 1 <= self.concurrency <= AT_ONCE_MAX:
            raise InvalidRequest(f"concurrency is from 1 to {AT_ONCE_MAX}, not {self.concurrency!r}")
        if not 0 <= self.prefetch <= AT_ONCE_MAX:
            raise InvalidRequest(f"prefetch is from 0 to {AT_ONCE_MAX}, not {self.prefetch!r}")
        if self.idle_s is not None and not self.idle_s >= 0:
            raise InvalidRequest(f"idle_s is a number of seconds, not {self.idle_s!r}")
        for name in ("wait_s", "drain_s"):
            if not getattr(self, name) >= 0:
                raise InvalidRequest(f"{name} is a number of seconds, not {getattr(self, name)!r}")
