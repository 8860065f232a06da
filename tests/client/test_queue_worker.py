"""What a worker of a queue does with what nodes answer, without any node: it receives, extends, settles."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

import pytest
from floodmark.errors import FloodmarkError, Forbidden, InvalidRequest, NotUsable, OutcomeUnknown, Unavailable
from floodmark.queues import jobs as jobs_module
from floodmark.queues import leases
from floodmark.queues.calls import QueueCalls, Received
from floodmark.queues.job import Job
from floodmark.queues.jobs import Jobs
from floodmark.queues.options import JobsOptions
from floodmark.queues.shapes import Action, Outcome, QueueRecord, Settlement
from floodmark.transport import pacing

SOON_MS = 900
"""An extension of so much is due in 300 ms: after what a test does at once, also on a busy machine."""


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
        self.paused = ""
        self.may_settle = asyncio.Event()
        self.may_settle.set()
        self.is_away = False
        """Every receive ends as ``Unavailable``."""
        self.changed = asyncio.Event()

    def check(self) -> None:
        """The client is open."""

    async def receive(
        self, max_records: int, *, wait_s: float, settlements: Sequence[Settlement] = ()
    ) -> Received:
        """As ``QueueCalls.receive``."""
        self.wanted.append(max_records)
        self.changed.set()
        if self.is_away:
            raise Unavailable("later")
        if self.errors_of_receive:
            raise self.errors_of_receive.pop(0)
        outcomes = self._settle(settlements)
        first, self.delivered = self.delivered, min(self.count, self.delivered + max_records)
        if first == self.delivered:
            await asyncio.sleep(wait_s)
        return Received(
            [self.record(number) for number in range(first, self.delivered)], outcomes, self.paused
        )

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Outcome]:
        """As ``QueueCalls.settle``."""
        self.requests.append([each.receipt for each in settlements])
        self.changed.set()
        await self.may_settle.wait()
        if self.errors_of_settle:
            raise self.errors_of_settle.pop(0)
        return self._settle(settlements)

    def _settle(self, settlements: Sequence[Settlement]) -> Sequence[Outcome]:
        self.settled += settlements
        return [Outcome.LATE if each.receipt in self.late else Outcome.DONE for each in settlements]

    def record(self, number: int) -> QueueRecord:
        """As it is delivered."""
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

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for it; a request may make it true."""
        async with asyncio.timeout(10):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    def ended(self, action: Action) -> list[str]:
        """Receipts of what was done."""
        return [each.receipt for each in self.settled if each.action is action]

    def jobs(self, concurrency: int = 1, **options: Any) -> Jobs:
        """Those of one worker; several at once need their blocks."""
        options = {"settles_last": concurrency == 1, "timeout_s": 10.0, "drain_s": 5.0, **options}
        made = JobsOptions(concurrency=concurrency, **options)
        return Jobs(cast(QueueCalls, self), made)


@contextlib.asynccontextmanager
async def worked_on(*jobs: Job) -> AsyncIterator[None]:
    """In their blocks, which would log what a test raises, and go on."""
    for job in jobs:
        await job.__aenter__()
    yield
    for job in jobs:
        await job.__aexit__(None, None, None)


async def taken(jobs: Jobs, count: int) -> list[Job]:
    """So many of them."""
    return [job for _ in range(count) if (job := await jobs.take()) is not None]


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
        await node.until(lambda: len(node.ended(Action.EXTEND)) >= 2)
        assert not node.errors_of_settle
        assert not job.is_lost
        async with job:
            pass
    assert node.ended(Action.ACK) == ["r0"]


async def test_so_many_are_asked_for_as_there_is_room_for() -> None:
    """In hand and received ahead, together; handed out are no more than may be in hand."""
    node = Node(100)
    async with node.jobs(3, prefetch=2, idle_s=0) as jobs:
        in_hand = await taken(jobs, 3)
        assert (node.wanted, node.delivered, jobs.in_hand) == ([5], 5, 3)
        waiting = asyncio.create_task(jobs.take())
        await asyncio.sleep(0.02)
        assert not waiting.done(), "three are in hand"
        assert node.wanted == [5], "nor is there room for more"
        async with in_hand.pop():
            pass
        fourth = await waiting
        assert fourth is not None
        assert (fourth.offset, jobs.in_hand) == (3, 3)
        await node.until(lambda: len(node.wanted) == 2)
        assert node.wanted == [5, 1]
        assert node.ended(Action.ACK) == ["r2"], "it has ridden along"
        assert node.requests == []
        for job in (fourth, *in_hand):
            async with job:
                pass
    assert sorted(node.ended(Action.RELEASE) + node.ended(Action.ACK)) == [
        f"r{n}" for n in range(node.delivered)
    ]
    assert sorted(node.ended(Action.ACK)) == ["r0", "r1", "r2", "r3"]


async def test_jobs_that_nobody_ends_are_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop over several at once that forgets their blocks stands still, and says why; one that has them, or
    has one job that takes long, says nothing."""
    monkeypatch.setattr(jobs_module, "_STUCK_S", 0.01)
    node = Node(10)
    async with node.jobs(2, drain_s=0) as jobs:
        await taken(jobs, 2)
        waiting = asyncio.create_task(jobs.take())
        async with asyncio.timeout(10):
            while "needs 'async with job:'" not in caplog.text:  # noqa: ASYNC110 - the log is no event
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert caplog.text.count("needs 'async with job:'") == 1
        assert "2 jobs are in hand" in caplog.text
        assert not waiting.done()
        waiting.cancel()
    assert sorted(node.ended(Action.RELEASE)) == ["r0", "r1"], "they are given back at the end"
    caplog.clear()
    node = Node(10)
    async with node.jobs(2) as jobs:
        first, second = await taken(jobs, 2)
        async with worked_on(first, second):
            waiting = asyncio.create_task(jobs.take())
            await asyncio.sleep(0.05)
        await waiting
        jobs.stop()
        async with cast(Job, await waiting):
            pass
    assert "in hand" not in caplog.text


async def test_a_worker_waits_while_nodes_are_away_and_then_goes_on(impatient: None) -> None:
    """It asks again and again, with a pause; nothing is handed out twice, and nothing raised."""
    node = Node(2)
    async with node.jobs() as jobs:
        (first,) = await taken(jobs, 1)
        node.is_away = True
        async with first:
            pass
        asked = len(node.wanted)
        await node.until(lambda: len(node.wanted) >= asked + 3)
        node.is_away = False
        (second,) = await taken(jobs, 1)
        assert (first.offset, second.offset) == (0, 1)
        jobs.stop()
        async with second:
            pass
    assert sorted(node.ended(Action.ACK)) == ["r0", "r1"]


async def test_pauses_between_what_fails_and_between_empty_answers_that_come_too_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a worker would ask as fast as it can. What a node tells it to wait it waits."""
    asked: list[float | None] = []

    def delay(_: object, hint_s: float | None = None) -> float:
        asked.append(hint_s)
        return 0.001

    monkeypatch.setattr(pacing.Backoff, "next_delay_s", delay)
    node = Node(1)
    node.errors_of_receive = []
    async with node.jobs(wait_s=0) as jobs:
        (job,) = await taken(jobs, 1)
        node.errors_of_receive = [Unavailable("later", retry_after_s=7)]
        async with job:
            pass
        await node.until(lambda: len(node.wanted) >= 6)
        assert asked[0] == 7
        assert len(asked) >= len(node.wanted) - 2, "each time but for the first, and the one under way"
        assert set(asked[1:]) == {None}


async def test_what_makes_the_first_receive_fail_is_raised_and_nothing_is_asked_again() -> None:
    """As it is more likely a wrong address, or name, than a cluster that is away."""
    for error in (Unavailable("nobody"), Forbidden("never")):
        node = Node(1)
        node.errors_of_receive = [error]
        with pytest.raises(type(error)):
            await node.jobs().take()
        assert node.wanted == [1]


async def test_a_worker_ends_when_it_may_not_receive_any_more() -> None:
    """What it has in hand ends well."""
    node = Node(1)
    async with node.jobs() as jobs:
        (job,) = await taken(jobs, 1)
        node.errors_of_receive = [Forbidden("no more")]
        async with job:
            pass
        with pytest.raises(Forbidden):
            await jobs.take()
    assert node.ended(Action.ACK) == ["r0"]


async def test_what_ends_badly_is_told_with_its_reason_and_its_delay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of an exception what it says; of a retry how long; what is cancelled is given back as not begun."""
    node = Node(5)
    async with node.jobs(5, idle_s=0) as jobs:
        failed, retried, rejected, released, acked = await taken(jobs, 5)
        async with failed:
            raise ValueError("no " + "x" * 2_000)
        async with retried:
            await retried.retry(2.5)
        async with rejected:
            await rejected.reject("never")
        with pytest.raises(asyncio.CancelledError):
            async with released:
                raise asyncio.CancelledError
        async with worked_on(acked):
            with pytest.raises(NotUsable):
                jobs.begin(acked)
            await acked.ack()
            with pytest.raises(NotUsable):
                await acked.retry()
        with pytest.raises(NotUsable):
            jobs.begin(acked)
    said = {each.receipt: each for each in node.settled}
    assert len(node.settled) == 5
    assert said["r0"].action is Action.NACK
    assert said["r0"].reason.startswith("ValueError: no x")
    assert (len(said["r0"].reason), said["r0"].delay_ms) == (1_000, None)
    assert (said["r1"].action, said["r1"].delay_ms) == (Action.NACK, 2_500)
    assert (said["r2"].action, said["r2"].reason) == (Action.REJECT, "never")
    assert (said["r3"].action, said["r4"].action) == (Action.RELEASE, Action.ACK)
    assert len([record for record in caplog.records if record.exc_info]) == 1


async def test_closing_waits_for_what_is_in_hand_and_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """What is not begun is given back at once, and what does not end in time then."""
    node = Node(4)
    jobs = node.jobs(2, prefetch=2, drain_s=10)
    first, second = await taken(jobs, 2)
    await first.__aenter__()
    await second.__aenter__()
    closing = asyncio.create_task(jobs.aclose())
    await node.until(lambda: len(node.ended(Action.RELEASE)) == 2)
    assert sorted(node.ended(Action.RELEASE)) == ["r2", "r3"]
    await first.__aexit__(None, None, None)
    await node.until(lambda: node.ended(Action.ACK) == ["r0"])
    assert not closing.done()
    await second.__aexit__(None, None, None)
    await closing
    assert jobs.is_over
    assert node.ended(Action.ACK) == ["r0", "r1"]
    assert caplog.text == ""
    node = Node(1)
    jobs = node.jobs(2, drain_s=0.01)
    (slow,) = await taken(jobs, 1)
    async with worked_on(slow):
        await asyncio.wait_for(jobs.aclose(), 10)
        assert node.ended(Action.RELEASE) == ["r0"]
    assert "1 jobs did not end within 0 s and are given back" in caplog.text
    assert len(node.settled) == 1


async def test_settlements_that_a_receive_was_to_bring_are_brought_though_it_fails(impatient: None) -> None:
    """Refused as a whole, each is sent alone; not answered, they are sent again. In their order."""
    node = Node(4)
    async with node.jobs(2, idle_s=0) as jobs:
        first, second = await taken(jobs, 2)
        await asyncio.sleep(0.01)  # There is no room: it waits for some.
        node.errors_of_receive = [InvalidRequest("one is no receipt")]
        node.errors_of_settle = [Unavailable("later")]
        async with first:
            pass
        await node.until(lambda: node.ended(Action.ACK) == ["r0"])
        assert node.requests == [["r0"], ["r0"]]
        third = (await taken(jobs, 1))[0]
        await asyncio.sleep(0.01)
        node.errors_of_receive = [Unavailable("later")]
        async with second:
            pass
        await node.until(lambda: node.ended(Action.ACK) == ["r0", "r1"])
        async with third:
            pass
        jobs.stop()
    assert node.ended(Action.ACK)[:3] == ["r0", "r1", "r2"]


async def test_a_pause_of_the_queue_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    node = Node(0)
    node.paused = "breaker_open"
    async with node.jobs(wait_s=0.001) as jobs:
        waiting = asyncio.create_task(jobs.take())
        await node.until(lambda: len(node.wanted) >= 3)
        assert jobs.paused == "breaker_open"
        node.paused = ""
        await node.until(lambda: jobs.paused == "")
        jobs.stop()
        assert await waiting is None
    assert caplog.text.count("delivers nothing at the moment: breaker_open") == 1


async def test_what_is_due_soon_is_extended_together_and_what_has_ended_not_at_all() -> None:
    """Again and again; also what was received ahead."""
    node = Node(3, visible_ms=SOON_MS)
    async with node.jobs(2, prefetch=1) as jobs:
        ended, held = await taken(jobs, 2)
        async with ended:
            pass
        async with worked_on(held):
            await node.until(lambda: bool(node.requests))
            assert node.requests[0] == ["r1", "r2"], "in one request"
            await node.until(lambda: len(node.requests) >= 2)
        jobs.stop()
    assert {each.receipt for each in node.settled if each.action is Action.EXTEND} == {"r1", "r2"}
    assert {each.visible_ms for each in node.settled if each.action is Action.EXTEND} == {None}


async def test_what_is_due_in_a_moment_is_extended_with_what_is_due_now() -> None:
    """As a request for each of many jobs would be many requests."""
    node = Node(0)
    kept = leases.Leases("q", node.settle)
    for number, visible_s in enumerate((0.30, 0.33, 3_600)):
        kept.add(Job(node.record(number), node.jobs()), visible_s)
    await node.until(lambda: bool(node.requests))
    await kept.close()
    assert node.requests == [["r0", "r1"]]


async def test_a_job_that_ends_while_it_is_extended_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    """What comes of the extension is nothing to it, and others are extended as before."""
    node = Node(2, visible_ms=SOON_MS)
    node.late = {"r0"}
    async with node.jobs(2) as jobs:
        first, second = await taken(jobs, 2)
        async with worked_on(second):
            async with worked_on(first):
                node.may_settle.clear()
                await node.until(lambda: bool(node.requests))
                assert node.requests == [["r0", "r1"]]
            node.may_settle.set()
            await node.until(lambda: ["r1"] in node.requests[1:])
            assert not first.is_lost
        jobs.stop()
    assert "others may have it now" not in caplog.text


async def test_a_thousand_at_most_are_extended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "AT_ONCE", 2)
    node = Node(5, visible_ms=30)
    async with node.jobs(5) as jobs:
        held = await taken(jobs, 5)
        await node.until(
            lambda: {receipt for each in node.requests for receipt in each} == {f"r{n}" for n in range(5)}
        )
        assert max(map(len, node.requests)) == 2
        for job in held:
            async with job:
                pass
        jobs.stop()


async def test_where_nodes_are_slow_those_that_have_waited_longest_are_extended_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else those that were just extended, and are due again by the answer, would keep others from it."""
    monkeypatch.setattr(leases, "AT_ONCE", 2)
    node = Node(0)
    node.may_settle.clear()
    kept = leases.Leases("q", node.settle)
    for number in range(3):
        kept.add(Job(node.record(number), node.jobs()), 0.03)
    await node.until(lambda: bool(node.requests))
    await asyncio.sleep(0.05)  # Longer than the 10 ms in which an extension is due again.
    node.may_settle.set()
    await node.until(lambda: len(node.requests) >= 2)
    await kept.close()
    assert (node.requests[0], node.requests[1][0]) == (["r0", "r1"], "r2")


async def test_a_job_whose_time_was_up_is_marked_and_its_end_is_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Somebody else may have it; others of the same request go on."""
    node = Node(2, visible_ms=30)
    node.late = {"r0"}
    async with node.jobs(2) as jobs:
        lost, kept = await taken(jobs, 2)
        async with worked_on(lost, kept):
            await node.until(lambda: lost.is_lost and sum("r1" in each for each in node.requests) >= 3)
        jobs.stop()
        assert (lost.is_lost, kept.is_lost) == (True, False)
    assert sum("r0" in each for each in node.requests) == 1, "it is not extended again, nor acknowledged"
    assert node.ended(Action.ACK) == ["r1"]
    assert "others may have it now" in caplog.text


async def test_what_may_not_be_extended_is_given_up_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "floodmark")
    node = Node(1, visible_ms=SOON_MS)
    async with node.jobs() as jobs:
        (job,) = await taken(jobs, 1)
        node.errors_of_settle = [Forbidden("no more")]
        async with worked_on(job):
            await node.until(lambda: bool(node.requests))
            await asyncio.sleep(1.5 * SOON_MS / 3000)
            assert node.requests == [["r0"]]
        jobs.stop()
    assert "the time of 1 jobs cannot be extended: no more" in caplog.text


async def test_time_that_was_asked_for_counts_from_then_on() -> None:
    """``extend`` puts the next one off, as a third of what was asked for."""
    node = Node(1, visible_ms=SOON_MS)
    async with node.jobs() as jobs:
        (job,) = await taken(jobs, 1)
        async with worked_on(job):
            await job.extend(3_600)
            assert node.settled[0].visible_ms == 3_600_000
            await asyncio.sleep(1.5 * SOON_MS / 3000)
            assert len(node.requests) == 1, "nothing is due for twenty minutes"
        jobs.stop()


async def test_one_that_is_due_sooner_is_extended_before_those_that_were_there() -> None:
    """Whoever waits for the next one is woken."""
    node = Node(0)
    kept = leases.Leases("q", node.settle)
    kept.add(Job(node.record(0), node.jobs()), 3_600)
    await asyncio.sleep(0.01)
    kept.add(Job(node.record(1), node.jobs()), 0.03)
    await node.until(lambda: bool(node.requests))
    await kept.close()
    assert node.requests == [["r1"]]


async def test_an_extension_waits_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be asked again as fast as it can."""
    asked: list[float | None] = []

    def delay(_: object, hint_s: float | None = None) -> float:
        asked.append(hint_s)
        return 0.001

    monkeypatch.setattr(pacing.Backoff, "next_delay_s", delay)
    node = Node(0)
    node.errors_of_settle = [Unavailable("later", retry_after_s=7), Unavailable("later")]
    kept = leases.Leases("q", node.settle)
    kept.add(Job(node.record(0), node.jobs()), 0.03)
    await node.until(lambda: len(node.requests) >= 3)
    await kept.close()
    assert asked == [7, None]


async def test_a_thousand_at_most_are_received_at_once() -> None:
    """As nodes give no more."""
    node = Node(3)
    async with node.jobs(1_000, prefetch=1_000, idle_s=0) as jobs:
        for job in await taken(jobs, 3):
            async with job:
                pass
    assert max(node.wanted) == 1_000
