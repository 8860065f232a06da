"""Bounds on bytes under way, so that load beyond them is refused and not queued."""

from __future__ import annotations

from types import TracebackType

from floodmark.errors import TooManyRequests

RETRY_AFTER_S = 0.2


class ByteBudget:
    """So many bytes may be held at once. ``name`` is for the message that refuses more."""

    __slots__ = ("_limit", "_name", "used")

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self.used = 0

    def take(self, count: int) -> None:
        """Hold ``count`` bytes. Raises ``TooManyRequests``; one request always fits into an empty budget."""
        if self.used and self.used + count > self._limit:
            raise TooManyRequests(
                f"{self.used} bytes are under way in {self._name}, {self._limit} are allowed: "
                "wait for answers before sending more",
                retry_after_s=RETRY_AFTER_S,
            )
        self.used += count

    def give(self, count: int) -> None:
        """Let ``count`` bytes go."""
        self.used -= count
        assert self.used >= 0, "more was given back than taken"

    def hold(self, count: int) -> Held:
        """``take`` now and ``give`` at the end of a with-block."""
        self.take(count)
        return Held(self, count)


class Held:
    """Bytes that are held until the with-block ends."""

    __slots__ = ("_budget", "_count")

    def __init__(self, budget: ByteBudget, count: int) -> None:
        self._budget = budget
        self._count = count

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.give(self._count)
