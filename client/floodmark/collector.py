"""Where the records of one partition gather until they leave as a batch: when it is full, or old enough.

Without lingering, an unfilled batch leaves at once when nothing before it is under way. While something is,
it gathers until the answer comes (as Nagle's algorithm does with small segments), so that there are no more
batches than the nodes keep up with.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from floodmark.limits import BATCH_RECORDS_MAX
from floodmark.parcel import Parcel
from floodmark.produced import BatchOutcome
from floodmark.record import Record

_ANSWER_S_MAX: Final = 0.01
"""How long the answer to another batch is waited for. Nodes far away take longer without being busy."""


class Collector:
    """One open parcel and the full ones before it. While none can leave, the open one goes on growing.

    ``ripe`` is called whenever a parcel may leave.
    """

    def __init__(
        self,
        partition: int,
        *,
        batch_bytes: int,
        linger_s: float,
        delivery_timeout_s: float,
        ripe: Callable[[], None],
    ) -> None:
        self._partition = partition
        self._batch_bytes = batch_bytes
        self._linger_s = linger_s
        self._delivery_timeout_s = delivery_timeout_s
        self._ripe = ripe
        self.room = 0
        """Bytes that the open parcel has room for; 0 when none is open."""
        self._open: Parcel | None = None
        self._is_ripe = False
        self._timer: asyncio.TimerHandle | None = None
        self._full: deque[Parcel] = deque()

    def add(self, record: Record, size: int) -> tuple[BatchOutcome, int]:
        """Take a record in; answers its batch's outcome and its place in the batch."""
        parcel = self._open
        if parcel is None or size > self.room:
            parcel = self._open_parcel()
        index = len(parcel.records)
        parcel.records.append(record)
        parcel.size += size
        self.room -= size
        if self.room <= 0 or index + 1 >= BATCH_RECORDS_MAX:
            self._close_parcel()
        return parcel.outcome, index

    def add_run(self, records: Sequence[Record], size: int) -> tuple[BatchOutcome, int]:
        """Take in records that fit into one batch together; answers the place of the first one."""
        parcel = self._open
        if parcel is None or size > self.room or len(parcel.records) + len(records) > BATCH_RECORDS_MAX:
            parcel = self._open_parcel()
        index = len(parcel.records)
        parcel.records.extend(records)
        parcel.size += size
        self.room -= size
        if self.room <= 0 or len(parcel.records) >= BATCH_RECORDS_MAX:
            self._close_parcel()
        return parcel.outcome, index

    def ripen(self) -> None:
        """Let what has gathered leave without waiting for more."""
        if self._open is not None:
            self._is_ripe = True
            self._ripe()

    def take(self, *, is_first: bool) -> Parcel | None:
        """The next parcel that is to leave, oldest first. ``is_first``: nothing is under way before it."""
        if not self._full and (self._is_ripe or (is_first and not self._linger_s)):
            self._close_parcel()
        return self._full.popleft() if self._full else None

    @property
    def is_gathering(self) -> bool:
        """Whether a parcel is open, and none waits before it."""
        return self._open is not None and not self._full

    def drain(self) -> list[Parcel]:
        """Take everything, ripe or not."""
        self._close_parcel()
        parcels = list(self._full)
        self._full.clear()
        return parcels

    def parcels(self) -> list[Parcel]:
        """Everything that is here."""
        return [*self._full, *([self._open] if self._open is not None else [])]

    def _open_parcel(self) -> Parcel:
        self._close_parcel()
        parcel = self._open = Parcel(self._partition, self._delivery_timeout_s)
        self.room = self._batch_bytes
        self._timer = asyncio.get_running_loop().call_later(self._linger_s or _ANSWER_S_MAX, self.ripen)
        if not self._linger_s:
            self._ripe()
        return parcel

    def _close_parcel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_ripe = False
        self.room = 0
        if self._open is not None:
            self._full.append(self._open)
            self._open = None
            self._ripe()
