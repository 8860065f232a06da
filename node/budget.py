"""Bounds on bytes under way, so that load beyond them is refused rather than queued."""

from __future__ import annotations

from types import TracebackType

from floodmark.errors import TooManyRequests

RETRY_AFTER_S = 0.2
_PARTIES_MAX = 64


def share_of(limit: int, *, most: int, parties: int) -> int:
    """What each of so many parties may have of ``limit`` when it gets scarce: as much as would leave another
    such share to whoever comes next, at most ``most``, and never less than a 64th.
    """
    return max(min(most, limit // (parties + 1)), limit // _PARTIES_MAX)


class ByteBudget:
    """At most ``limit`` bytes are held at once. ``name`` is for the message that refuses more."""

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
        """Give back ``count`` bytes."""
        self.used -= count
        assert self.used >= 0, "more was given back than taken"


class SharedBudget:
    """At most ``limit`` bytes are held at once; once half of them are, no party may hold more than its share:
    ``share`` (as much as ``limit``: no share), or less the more parties there are.

    A lone client may use half of it; others find room whatever it does. The only request of a party is not
    bound by the share. A party is a principal, or an address where nobody says who it is.
    """

    def __init__(self, limit: int, share: int, name: str) -> None:
        self.limit = limit
        self._share = share
        self._name = name
        self._of: dict[str, int] = {}
        self.used = 0

    def account(self, who: str) -> Account:
        """The account of one request of this party."""
        return Account(self, who)

    def take(self, who: str, count: int, *, held: int, quota: int = 0) -> None:
        """Hold ``count`` more bytes for a request that holds ``held``. Raises ``TooManyRequests``.

        ``quota``: how many its party may hold whatever the others do; 0 for no such limit.
        """
        used = self.used + count
        of = self._of.get(who, 0)
        if used > self.limit and self.used:
            raise TooManyRequests(
                f"{self.used} bytes are under way in {self._name}, {self.limit} are allowed: "
                "wait for answers before sending more",
                retry_after_s=RETRY_AFTER_S,
            )
        if quota and of + count > quota and of > held:
            raise TooManyRequests(
                f"the quota of {who} is used up: {quota} bytes of its requests' bodies may be held in "
                f"{self._name} at once; wait for answers before sending more",
                retry_after_s=RETRY_AFTER_S,
            )
        if self._share < self.limit and 2 * used > self.limit and of > held:
            share = share_of(self.limit, most=self._share, parties=len(self._of) + (not of))
            if of + count > share:
                raise TooManyRequests(
                    f"{of} bytes of yours are under way in {self._name}, more than half of which is used: "
                    f"then each of its {len(self._of)} clients may have {share}; wait for answers before "
                    "sending more",
                    retry_after_s=RETRY_AFTER_S,
                )
        self.used = used
        self._of[who] = of + count

    def give(self, who: str, count: int) -> None:
        """Give back ``count`` bytes."""
        self.used -= count
        left = self._of.get(who, 0) - count
        assert self.used >= 0 <= left, "more was given back than taken"
        if left:
            self._of[who] = left
        else:
            self._of.pop(who, None)


class Account:
    """What one request holds of a ``SharedBudget``: more as it comes, nothing after the with-block."""

    __slots__ = ("_budget", "_who", "held", "quota")

    def __init__(self, budget: SharedBudget, who: str) -> None:
        self._budget = budget
        self._who = who
        self.held = 0
        self.quota = 0
        """See ``SharedBudget.take``."""

    def take(self, count: int) -> None:
        """Hold ``count`` more bytes. Raises ``TooManyRequests``."""
        self._budget.take(self._who, count, held=self.held, quota=self.quota)
        self.held += count

    def close(self) -> None:
        """Let all go."""
        held, self.held = self.held, 0
        self._budget.give(self._who, held)

    def __enter__(self) -> Account:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
