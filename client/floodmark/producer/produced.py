"""Acknowledgements of a producer's records, which can be awaited: one small object per send."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import msgspec

from floodmark.errors import FloodmarkError


class Produced(NamedTuple):
    """Where a record is stored. With ``acks="none"`` the offset is not known and -1."""

    partition: int
    offset: int


class BatchOutcome:
    """The outcome that all records of one batch share: stored from ``first_offset`` on, or an error."""

    __slots__ = ("_future", "error", "first_offset", "partition", "was_seen")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.first_offset = -1
        self.error: FloodmarkError | None = None
        self.was_seen = False
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_settled(self) -> bool:
        """Whether the outcome is known."""
        return self._future.done()

    def stored(self, first_offset: int) -> None:
        """The batch is stored."""
        self.first_offset = first_offset
        self._future.set_result(None)

    def failed(self, error: FloodmarkError) -> None:
        """The batch is not stored, or it is not known whether it is."""
        self.error = error
        self._future.set_result(None)

    async def wait(self) -> None:
        """Wait for the outcome; cancelling one waiter does not disturb the others."""
        if not self._future.done():
            await asyncio.shield(self._future)

    def check(self) -> None:
        """Raise the error, if there is one, and note that it was seen."""
        if self.error is not None:
            self.was_seen = True
            # Without the tracebacks of earlier callers: all records of a batch share one error.
            raise self.error.with_traceback(None)

    def offset_of(self, index: int) -> int:
        """The offset of the record at ``index`` in the batch."""
        return self.first_offset + index if self.first_offset >= 0 else -1


class Ack(msgspec.Struct, eq=False, gc=False):
    """The acknowledgement of one record. Await it for ``Produced``, or for the error that kept it from being
    stored.

    It is settled at the latest when the producer's ``delivery_timeout_s`` has passed.
    """

    _outcome: BatchOutcome
    _index: int

    @property
    def partition(self) -> int:
        """The partition, known from the start."""
        return self._outcome.partition

    def done(self) -> bool:
        """Whether ``result`` would answer at once."""
        return self._outcome.is_settled

    def result(self) -> Produced:
        """Where the record is stored; only when ``done``. Raises what went wrong."""
        if not self._outcome.is_settled:
            raise asyncio.InvalidStateError("not settled yet: await the acknowledgement")
        self._outcome.check()
        return Produced(self._outcome.partition, self._outcome.offset_of(self._index))

    def __await__(self) -> Generator[Any, None, Produced]:
        if not self._outcome.is_settled:
            yield from self._outcome.wait().__await__()
        return self.result()


class AckList:
    """The acknowledgements of many records that were sent together. Await it for their ``Produced`` in that
    order."""

    __slots__ = ("_runs",)

    def __init__(self, runs: Sequence[tuple[BatchOutcome, int, int]]) -> None:
        self._runs = runs

    def __len__(self) -> int:
        return sum(count for _, _, count in self._runs)

    def done(self) -> bool:
        """Whether every record is settled."""
        return all(outcome.is_settled for outcome, _, _ in self._runs)

    def acks(self) -> list[Ack]:
        """One acknowledgement per record."""
        return [Ack(outcome, start + i) for outcome, start, count in self._runs for i in range(count)]

    def __await__(self) -> Generator[Any, None, list[Produced]]:
        return self._wait().__await__()

    async def _wait(self) -> list[Produced]:
        for outcome, _, _ in self._runs:
            await outcome.wait()
        for outcome, _, _ in self._runs:
            outcome.check()
        return [
            Produced(outcome.partition, outcome.offset_of(start + index))
            for outcome, start, count in self._runs
            for index in range(count)
        ]
