"""Holds everybody to their quotas at one node: principals to the cluster's, addresses to the settings.

Rates are token buckets. Whatever asks for more than there is is refused before anything is done, and told
when there is room. What was read counts once it is known how much that was: whoever owes for it is refused
next time, or, in the middle of a stream, slowed down.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from floodmark.errors import TooManyRequests

from node.budget import share_of
from node.metadata.delta import MetadataDelta
from node.metadata.domains.quotas import EVERYBODY
from node.metadata.domains.users import ANONYMOUS
from node.metadata.state import MetadataState
from node.security.token_bucket import Latest, TokenBucket

PRODUCE: Final = "produce_bytes_per_s"
FETCH: Final = "fetch_bytes_per_s"
REQUESTS: Final = "requests_per_s"
CONNECTIONS: Final = "connections"
INFLIGHT: Final = "inflight_bytes"
PARTITIONS: Final = "partition_changes_per_s"
RATES: Final = (PRODUCE, FETCH, REQUESTS, PARTITIONS)
_WRITE: Final = "write"
_READ: Final = "read"
_WORDS: Final = {
    PRODUCE: "{0:g} bytes a second may be produced",
    FETCH: "{0:g} bytes a second may be read",
    REQUESTS: "{0:g} requests a second may be made",
    PARTITIONS: "{0:g} partitions a second may be created, added and deleted",
}
_RETRY_CONNECTION_S: Final = 1.0
Limits = Mapping[str, float]
_NONE: Final[Limits] = {}


class Asking(Protocol):
    """Whoever asks: the context of a request."""

    @property
    def principal(self) -> str:
        """Its name."""

    @property
    def address(self) -> str:
        """Where it asks from."""


class OwnedConnection:
    """A connection that is counted as a principal's until it is closed."""

    __slots__ = ("_quotas", "principal")

    def __init__(self, quotas: Quotas, principal: str) -> None:
        self._quotas = quotas
        self.principal = principal

    def close(self) -> None:
        """Once."""
        self._quotas.give_connection(self.principal)


class Quotas:
    """One per node. ``address``: the rates of each address; a limit that is not there is none.

    ``exempt``: the principal whose requests were counted where they arrived.
    """

    def __init__(self, address: Limits, *, exempt: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = {name: rate for name, rate in address.items() if rate > 0}
        self._exempt = exempt
        self._clock = clock
        self._own: dict[str, Limits] = {}
        self._everybody: Limits = _NONE
        self._by_principal: Latest[str] = Latest()
        self._by_address: Latest[str] = Latest()
        self._connections: dict[str, int] = {}
        self._connected = 0
        self._connections_max = 0
        self.are_set = bool(self._address)
        """Whether there is anything to hold anybody to: else nobody has to ask."""
        self.count_connections = False
        """Whether some principal may have only so many connections."""
        self.refused: Counter[tuple[str, str]] = Counter()
        """How often, by whose limit (``principal``, ``address``, or a ``share`` of all) and which."""
        self._last_refused = ("", "")

    def metadata_changed(self, state: MetadataState, delta: MetadataDelta) -> None:
        """For the metadata. Who has another quota begins with full buckets."""
        if not delta.concerns("quotas"):
            return
        self._own = {entry.principal: entry.limits for entry in state.quotas.values()}
        self._everybody = self._own.pop(EVERYBODY, _NONE)
        self._by_principal.clear()
        limited = any(CONNECTIONS in entry.limits for entry in state.quotas.values())
        self.count_connections = limited or self._connections_max > 0
        self.are_set = bool(self._address or state.quotas)

    def limits_of(self, principal: str) -> Limits:
        """The principal's own, or else those of everybody who has said who it is."""
        own = self._own.get(principal)
        if own is not None:
            return own
        return _NONE if principal in (ANONYMOUS, self._exempt) else self._everybody

    def admit(self, context: Asking, operation: str, size: int, partitions: int = 0) -> None:
        """Count a request of ``size`` bytes, which changes so many partitions. Raises ``TooManyRequests``,
        and then counts nothing."""
        self._judge(context, operation, size, partitions, counts=True)

    def check(self, context: Asking, operation: str, size: int) -> None:
        """Raises what ``admit`` would, and counts nothing: what would be refused need not be read."""
        self._judge(context, operation, size, 0, counts=False)

    def _judge(self, context: Asking, operation: str, size: int, partitions: int, *, counts: bool) -> None:
        if context.principal == self._exempt:
            return
        now = self._clock()
        wanted: list[tuple[TokenBucket, int]] = []
        for whose, limits, buckets in self._held_to(context):
            for name in RATES:
                rate = limits.get(name)
                if rate is None:
                    continue
                bucket = _bucket(buckets, name, rate, now)
                if name == FETCH:
                    wait_s = bucket.owed_s(now) if operation == _READ else 0.0
                else:
                    of = {REQUESTS: 1, PARTITIONS: partitions}
                    count = of.get(name, size if operation == _WRITE else 0)
                    wait_s = bucket.wait_s(count, now) if count else 0.0
                    wanted.append((bucket, count))
                if wait_s > 0:
                    whom = context.principal if whose == "principal" else f"the address {context.address}"
                    words = f"the quota of {whom} is used up: {_WORDS[name].format(rate)} here"
                    self._refuse(whose, name, words, wait_s)
        for bucket, count in wanted if counts else ():
            bucket.take(count, now)

    def sent(self, context: Asking, count: int) -> float:
        """Count bytes that were read and sent; for how many seconds their reader should get no more."""
        if context.principal == self._exempt:
            return 0.0
        now = self._clock()
        wait_s = 0.0
        for _, limits, buckets in self._held_to(context):
            rate = limits.get(FETCH)
            if rate is not None:
                bucket = _bucket(buckets, FETCH, rate, now)
                bucket.take(count, now)
                wait_s = max(wait_s, bucket.owed_s(now))
        return wait_s

    def inflight_bytes(self, principal: str) -> int:
        """How many bytes of its requests' bodies may be held at once; 0 for no limit."""
        return int(self.limits_of(principal).get(INFLIGHT, 0))

    def share_connections(self, limit: int) -> None:
        """Count connections from now on: once half of ``limit`` are open, each principal has its share."""
        self._connections_max = limit
        self.count_connections = True

    def connection(self, principal: str) -> OwnedConnection:
        """One more connection is the principal's. Raises ``TooManyRequests``."""
        count = self._connections.get(principal, 0)
        most = self.limits_of(principal).get(CONNECTIONS)
        if most is not None and count >= most:
            words = f"{most:g} connections may be open here, and {count} are"
            self._refuse("principal", CONNECTIONS, f"the quota of {principal} is used up: {words}")
        limit = self._connections_max
        if 2 * self._connected >= limit > 0 and principal not in (ANONYMOUS, self._exempt):
            share = share_of(limit, most=limit, parties=len(self._connections) + (not count))
            if count >= share:
                words = f"{count} connections of {principal} are open here already"
                more = f"more than half of all are in use, and then each principal may have {share}"
                self._refuse("share", CONNECTIONS, f"{words}: {more}")
        self._connections[principal] = count + 1
        self._connected += 1
        return OwnedConnection(self, principal)

    def _refuse(self, whose: str, name: str, words: str, retry_after_s: float = _RETRY_CONNECTION_S) -> None:
        self._last_refused = whose, name
        self.refused[whose, name] += 1
        raise TooManyRequests(f"{words}; nothing was done", retry_after_s=retry_after_s, quota=name)

    def uncount_refusal(self) -> None:
        """The last refusal was not the answer: the request goes another way, where it is refused again."""
        self.refused[self._last_refused] -= 1

    def give_connection(self, principal: str) -> None:
        """One of them is closed, or another's now."""
        self._connected -= 1
        left = self._connections[principal] - 1
        if left:
            self._connections[principal] = left
        else:
            del self._connections[principal]

    def _held_to(self, context: Asking) -> list[tuple[str, Limits, dict[str, TokenBucket]]]:
        found: list[tuple[str, Limits, dict[str, TokenBucket]]] = []
        limits = self.limits_of(context.principal)
        if limits:
            found.append(("principal", limits, self._by_principal.of(context.principal)))
        if self._address:
            found.append(("address", self._address, self._by_address.of(context.address)))
        return found


def _bucket(buckets: dict[str, TokenBucket], name: str, rate: float, now: float) -> TokenBucket:
    bucket = buckets.get(name)
    if bucket is None:
        bucket = buckets[name] = TokenBucket(rate, now)
    return bucket
