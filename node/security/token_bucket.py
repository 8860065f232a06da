"""Token buckets: so much a second, at most one second's worth at once, and a bounded number of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

BUCKETS_MAX: Final = 16_384
BURST_S: Final = 1.0
K = TypeVar("K", bound=Hashable)


class TokenBucket:
    """``rate`` tokens a second come in, up to a second's worth. ``now`` is a monotonic clock's, in seconds.

    What is larger than the bucket is let through by a full one, which then owes the rest: nothing is refused
    for ever, and in the long run nobody gets more than the rate.
    """

    __slots__ = ("_at", "_tokens", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._tokens = rate * BURST_S
        self._at = now

    def wait_s(self, count: float, now: float) -> float:
        """Seconds until ``count`` tokens may be taken; 0.0 where they may now."""
        missing = min(count, self.rate * BURST_S) - self._filled(now)
        return missing / self.rate if missing > 0 else 0.0

    def take(self, count: float, now: float) -> None:
        """Take them, whether or not they are there: what is not is owed."""
        self._filled(now)
        self._tokens -= count

    def owed_s(self, now: float) -> float:
        """Seconds until nothing is owed any more; 0.0 where nothing is."""
        tokens = self._filled(now)
        return -tokens / self.rate if tokens < 0 else 0.0

    def _filled(self, now: float) -> float:
        if now > self._at:
            full = self.rate * BURST_S
            self._tokens = min(full, self._tokens + (now - self._at) * self.rate)
            self._at = now
        return self._tokens


class Latest(Generic[K]):
    """The buckets of whoever asked last, of each a few, by limit; never more than ``most`` of them.

    Whoever has not been seen while half as many others came is forgotten, which costs it nothing: its buckets
    would be full again. Only what it owed for more than its bucket holds may be forgotten with it.
    """

    def __init__(self, most: int = BUCKETS_MAX) -> None:
        self._half = max(1, most // 2)
        self._young: dict[K, dict[str, TokenBucket]] = {}
        self._old: dict[K, dict[str, TokenBucket]] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def of(self, who: K) -> dict[str, TokenBucket]:
        """Its buckets; a new dictionary where nothing is known of it."""
        found = self._young.get(who)
        if found is None:
            found = self._old.pop(who, None) or {}
            if len(self._young) >= self._half:
                self._old, self._young = self._young, {}
            self._young[who] = found
        return found

    def clear(self) -> None:
        """Forget all."""
        self._young, self._old = {}, {}
