"""What a worker of a queue does with what nodes answer, without any node: it receives, extends, settles."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest
from floodmark.errors import FloodmarkError, OutcomeUnknown
from floodmark.queues.calls import QueueCalls, Received
from floodmark.queues.jobs import Jobs
from floodmark.queues.options import JobsOptions
from floodmark.queues.shapes import Action, Outcome, QueueRecord, Settlement


class Node:
    """Delivers the numbers from 0 on, ``count`` of them, and notes what it is asked."""

    queue = "q"
    is_here = True

    def __init__(self, count: int, *, visible_ms: int = 3_600_000) -> None:
        self.count = count
        self.visible_ms = visible_ms
        self.delivered = 0
        self.wanted: list[int] = []
        self.settled: list[Settlement] = []
        self.requests: list[list[str]] = []
        """Receipts of each ``settle``."""
        self.errors_of_receive: list[FloodmarkError] = []
        self.errors_of_settle: list[FloodmarkError] = []
        self.late: set[str] = set()
        self.changed = asyncio.Event()

    def check(self) -> None:
        """The client is open."""

    async def receive(
        self, max_records: int, *, wait_s: float, settlements: Sequence[Settlement] = ()
    ) -> Received:
        """As ``QueueCalls.receive``."""
        self.wanted.append(max_records)
        if self.errors_of_receive:
            raise self.errors_of_receive.pop(0)
        outcomes = self._settle(settlements)
        first, self.delivered = self.delivered, min(self.count, self.delivered + max_records)
        if first == self.delivered:
            await asyncio.sleep(wait_s)
        return Received([self._record(number) for number in range(first, self.delivered)], outcomes, "")

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Outcome]:
        """As ``QueueCalls.settle``."""
        self.requests.append([each.receipt for each in settlements])
        self.changed.set()
        if self.errors_of_settle:
            raise self.errors_of_settle.pop(0)
        return self._settle(settlements)

    def _settle(self, settlements: Sequence[Settlement]) -> Sequence[Outcome]:
        self.settled += settlements
        return [Outcome.LATE if each.receipt in self.late else Outcome.DONE for each in settlements]

    def _record(self, number: int) -> QueueRecord:
        return QueueRecord(
            topic="t",
            partition=0,
            offset=number,
            timestamp=None,
            key=None,
            value=b"%d" % number,
            is_json=True,
            pairs=None,
            receipt=f"r{number}",
            deliveries=1,
            visible_ms=self.visible_ms,
        )

    def ended(self, action: Action) -> list[str]:
        """Receipts of what was done."""
        return [each.receipt for each in self.settled if each.action is action]

    def jobs(self, concurrency: int = 1, **options: float) -> Jobs:
        """Those of one worker; several at once need their blocks."""
        made = JobsOptions(
            **{"concurrency": concurrency, "settles_last": concurrency == 1, "timeout_s": 10.0, **options}  # type: ignore[arg-type]
        )
        return Jobs(cast(QueueCalls, self), made)


async def test_an_unknown_outcome_is_asked_for_again(
    impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    """As nothing that a worker asks does more when it is done twice; but not before anything was answered."""
    node = Node(3)
    node.errors_of_receive = [OutcomeUnknown("maybe")]
    with pytest.raises(OutcomeUnknown):
        await node.jobs(idle_s=0).take()
    async with node.jobs(idle_s=0) as jobs:
        assert (await jobs.take()) is not None
        node.errors_of_receive = [OutcomeUnknown("maybe")] * 2
        node.errors_of_settle = [OutcomeUnknown("maybe")] * 2
        assert [job.offset async for job in jobs] == [1, 2]
    assert node.ended(Action.ACK) == ["r0", "r1", "r2"]
    assert node.ended(Action.RELEASE) == []
    assert "could not be settled" not in caplog.text


async def test_time_is_extended_though_outcomes_are_unknown(impatient: None) -> None:
    node = Node(1, visible_ms=30)
    async with node.jobs(idle_s=0) as jobs:
        job = await jobs.take()
        assert job is not None
        node.errors_of_settle = [OutcomeUnknown("maybe")] * 3
        async with asyncio.timeout(10):
            while len(node.ended(Action.EXTEND)) < 2:
                node.changed.clear()
                await node.changed.wait()
        assert not node.errors_of_settle
        assert not job.is_lost
        async with job:
            pass
    assert node.ended(Action.ACK) == ["r0"]
