"""Small produces share batches: what arrives while one batch is on its way leaves together with the next one.

A lone request is sent at once. Under load a batch, a frame, a log entry and an acknowledgement per request
would cost far more than the records themselves. Records of one request stay together, in their order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from floodmark import batch as codec
from floodmark.batch import BatchHeader
from floodmark.errors import FloodmarkError, OutcomeUnknown, Unavailable
from floodmark.record import Record

from consensus import waiting
from consensus.types import NotStored, Outcome, Proposal, Stored

SHARE_BYTES_MAX: Final = 64 << 10
"""A request above this has a batch of its own."""
SHARED_BYTES_MAX: Final = 256 << 10
"""A batch leaves when it has grown to this, whatever is on its way."""
WAIT_S_MAX: Final = 0.02
"""The longest that a request waits for the batch before it; only its commit can take longer than this."""

Append = Callable[[bytes, BatchHeader], Proposal]
"""Admit one batch. Raises classes of ``floodmark.errors``."""


@dataclass(slots=True)
class _Share:
    """One request's records in a batch to come."""

    records: Sequence[Record]
    proposal: Proposal = field(default_factory=Proposal)
    error: FloodmarkError | None = None


class Coalescer:
    """One per local replica; used only while it leads."""

    def __init__(self, append: Append) -> None:
        self._append = append
        self._waiting: list[_Share] = []
        self._waiting_bytes = 0
        self._under_way: Proposal | None = None
        self._timer: asyncio.Handle | None = None

    async def produce(self, records: Sequence[Record], size: int, *, timeout_s: float) -> int:
        """The first offset of ``records`` (``size`` bytes), once they are stored by a quorum.

        Raises what admission raises; ``Unavailable`` (not stored) or ``OutcomeUnknown``.
        """
        share = _Share(records)
        begin = time.monotonic()
        self._waiting.append(share)
        self._waiting_bytes += size
        self._schedule()
        try:
            stored = await waiting.stored(share.proposal, deadline_s=timeout_s)
        except (Unavailable, OutcomeUnknown):
            if share.error is not None:
                raise share.error from None
            if share in self._waiting:
                self._waiting.remove(share)
                spent = time.monotonic() - begin
                raise Unavailable(f"not stored: it did not leave within {spent:.3g} s") from None
            raise
        return stored.first_offset

    def _schedule(self) -> None:
        if self._waiting_bytes >= SHARED_BYTES_MAX:
            self._send()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            if self._under_way is None:
                # What else is read from sockets in this turn of the loop comes along.
                self._timer = loop.call_soon(self._send)
            else:
                self._timer = loop.call_later(WAIT_S_MAX, self._send)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        shares, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not shares:
            return
        records = [record for share in shares for record in share.records]
        try:
            batch = codec.encode(records)
            proposal = self._append(batch, codec.decode_header(batch))
        except FloodmarkError as error:
            for share in shares:
                share.error = error
                share.proposal.resolve(NotStored(error.detail))
            return
        self._under_way = proposal
        proposal.add_done_callback(lambda outcome: self._settled(proposal, shares, outcome))

    def _settled(self, proposal: Proposal, shares: list[_Share], outcome: Outcome) -> None:
        if self._under_way is proposal:
            self._under_way = None
            if self._waiting:
                self._send()
        if not isinstance(outcome, Stored):
            for share in shares:
                share.proposal.resolve(outcome)
            return
        offset = outcome.first_offset
        for share in shares:
            share.proposal.resolve(Stored(outcome.index, outcome.term, offset))
            offset += len(share.records)
