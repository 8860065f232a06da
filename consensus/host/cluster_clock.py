"""The time of day that a node gives to records: its own, kept near to what most of its cluster's nodes say.

Beats carry the wall clocks of their senders. A clock that is more than ``TOLERANCE_MS`` off the median of all
that are heard, this node's among them, does not count: what is appended gets a time at the tolerance's edge.
Where an even number is heard, the two in the middle may be far apart, and which is right is not known: then
everything between them is taken, and retention goes by the earlier one, so that nothing is removed too soon.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from consensus.links.link_types import Peer

TOLERANCE_MS: Final = 5_000
_REFRESH_S: Final = 0.1


class ClusterClock:
    """Read by one thread. An offset is how many milliseconds a wall clock is ahead of our monotonic one."""

    def __init__(
        self,
        own_ms: Callable[[], int],
        peers: Callable[[], Iterable[Peer]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own_ms = own_ms
        self._peers = peers
        self._monotonic = monotonic
        self._refreshed_at = -1.0
        self._heard = 0
        self._earlier = self._later = 0.0
        """The middle of all offsets: one value where their number is odd."""
        self._offsets: Mapping[str, float] = {}

    def now_ms(self) -> int:
        """For what is appended now: milliseconds since the Unix epoch."""
        own, mono_ms = self._read()
        if self._heard == 0:
            return own
        low = self._earlier - TOLERANCE_MS
        high = self._later + TOLERANCE_MS
        if low <= own - mono_ms <= high:
            return own
        return int(mono_ms + (low if own - mono_ms < low else high))

    def retention_ms(self) -> int:
        """What retention counts from: never later than what half of the nodes say."""
        own, mono_ms = self._read()
        if self._heard == 0:
            return own
        low, high = self._earlier - TOLERANCE_MS, self._earlier + TOLERANCE_MS
        return int(mono_ms + min(max(own - mono_ms, low), high))

    def ahead_ms(self) -> int:
        """How far the own clock is ahead of the median (behind: negative); 0 while no other node is heard."""
        own, mono_ms = self._read()
        offset = own - mono_ms
        if self._heard == 0 or self._earlier <= offset <= self._later:
            return 0
        return int(offset - (self._earlier if offset < self._earlier else self._later))

    @property
    def is_off(self) -> bool:
        """Whether this node's own clock does not count."""
        return abs(self.ahead_ms()) > TOLERANCE_MS

    def is_off_at(self, node: str) -> bool:
        """Whether that node's clock does not count, by what was heard of it last."""
        self._read()
        offset = self._offsets.get(node)
        if offset is None:
            return False
        return not self._earlier - TOLERANCE_MS <= offset <= self._later + TOLERANCE_MS

    def _read(self) -> tuple[int, float]:
        """Own wall clock, monotonic clock; the others' are taken in when that was a while ago."""
        mono = self._monotonic()
        own = self._own_ms()
        if not 0 <= mono - self._refreshed_at < _REFRESH_S:
            self._refreshed_at = mono
            self._refresh(own - mono * 1000)
        return own, mono * 1000

    def _refresh(self, own_offset: float) -> None:
        self._offsets = {
            peer.node_id: peer.wall_ms - peer.wall_at * 1000
            for peer in self._peers()
            if peer.wall_ms is not None and not peer.silent
        }
        self._heard = len(self._offsets)
        ordered = sorted([own_offset, *self._offsets.values()])
        self._earlier = ordered[(len(ordered) - 1) // 2]
        self._later = ordered[len(ordered) // 2]
