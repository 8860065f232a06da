"""Working off queues of a real node: how jobs end, what their workers do meanwhile, and what they leave."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from floodmark import Action, Breaker, Client, DeadLetter, Job, Outcome, QueueInfo, QueueRecord, Settlement
from floodmark.errors import (
    InvalidRequest,
    NotUsable,
    QueueExists,
    ReceiptExpired,
    UnknownQueue,
    UnknownTopic,
)
from floodmark.queues import leases
from floodmark.sync import Client as SyncClient
from floodmark.sync import Job as SyncJob

from tests.client.front import Front, problem
from tests.support.nodes import NodeCluster


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """Of a node."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        yield cluster["n1"].url


@pytest.fixture
async def queues(url: str) -> AsyncIterator[Client]:
    """A client, of a cluster with topic ``t``."""
    async with Client(url) as client:
        await client.topics.create("t", partitions=2, replication_factor=1)
        yield client


async def fill(client: Client, count: int, *, keys: int = 0) -> None:
    """The numbers from 0 on; each key has those that have its remainder."""
    async with client.producer("t") as producer:
        named = [f"k{number % keys}" for number in range(count)] if keys else None
        await (await producer.send_many(list(range(count)), keys=named))


async def dead(client: Client) -> list[DeadLetter]:
    """All that is listed, once nothing is on its way there."""
    await until(client, lambda queue: not queue.dying)
    return [letter async for letter in client.queues.dead("q")]


async def until(client: Client, condition: Callable[[QueueInfo], object]) -> None:
    """Wait until it holds of the queue."""
    async with asyncio.timeout(60):
        while not condition(await info(client)):  # noqa: ASYNC110 - it is looked at elsewhere
            await asyncio.sleep(0.01)


async def worked_off(client: Client, count: int) -> list[Job]:
    """So many jobs, each acknowledged; and there are no more."""
    found: list[Job] = []
    queue = client.queue("q")
    async with asyncio.timeout(60):
        async for job in queue.jobs():
            found.append(job)
            if len(found) == count:
                queue.stop()
    assert (await info(client)).depth == 0
    return found


async def received(client: Client, count: int) -> list[QueueRecord]:
    """So many records; a request may bring fewer than there are."""
    found: list[QueueRecord] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await client.queues.receive("q", count - len(found), wait_s=5, worker="me")
    return found


def letters_of(found: list[DeadLetter]) -> set[str]:
    """Their names."""
    return {letter.id for letter in found}


async def value_of(client: Client, letter: DeadLetter) -> object:
    """Of its record."""
    record = (await client.queues.dead_letter("q", letter.id)).record
    assert record is not None
    return record.json()


async def info(client: Client) -> QueueInfo:
    """What the queue says of itself."""
    return await client.queues.describe("q")


async def test_how_a_block_ends_is_how_its_job_ends(queues: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Well, with an exception, or as is said inside; the loop goes on, and all of it is stored at the end."""
    caplog.set_level(logging.WARNING, "floodmark")
    await queues.queues.put("q", "t", max_deliveries=2, backoff_s=[0.01], breaker=Breaker(failures=0))
    await fill(queues, 7)
    ended: defaultdict[int, list[int]] = defaultdict(list)
    async with queues.queue("q", worker="w") as queue:
        async for job in queue.jobs():
            async with job:
                number = job.json()
                ended[number].append(job.deliveries)
                if sum(map(len, ended.values())) == 10:
                    queue.stop()
                if number == 1:
                    raise ValueError("never")
                if number == 2 and job.deliveries == 1:
                    raise ValueError("once")
                if number == 3:
                    await job.reject("no such account")
                    with pytest.raises(NotUsable):
                        await job.ack()
                if number == 4:
                    await job.ack()
                    raise ValueError("too late")
                if number == 5 and job.deliveries == 1:
                    await job.retry(0.02)
    assert ended == {0: [1], 1: [1, 2], 2: [1, 2], 3: [1], 4: [1], 5: [1, 2], 6: [1]}
    found = await info(queues)
    assert (found.depth, found.in_flight, found.settled, found.dead) == (0, 0, 7, 2)
    letters = {letter.reason: letter for letter in await dead(queues)}
    assert {letter.worker for letter in letters.values()} == {"w"}
    assert letters.pop("no such account").deliveries == 1
    assert [letter.deliveries for letter in letters.values()] == [2]
    assert "ValueError: never" in next(iter(letters)), "what was raised is the reason"
    assert len([record for record in caplog.records if record.exc_info]) == 4, "each is told of"


async def test_a_loop_without_blocks_is_done_with_a_job_when_it_asks_for_the_next(queues: Client) -> None:
    """Leaving it gives the job in hand back, which counts as nothing; an exception counts as a failure."""
    await queues.queues.put("q", "t", max_deliveries=1, backoff_s=[0])
    await fill(queues, 4)
    seen = []
    async with queues.queue("q") as queue:
        async for job in queue.jobs(prefetch=3):
            seen.append(job.json())
            if len(seen) == 2:
                break
    assert ((await info(queues)).settled, (await info(queues)).in_flight) == (1, 0)

    async def fail() -> None:
        async with queues.queue("q") as queue:
            async for job in queue.jobs(prefetch=3):
                seen.append(job.json())
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert seen[1] == seen[2], "it was given back"
    assert [letter.deliveries for letter in await dead(queues)] == [2], "once in vain, and once it failed"
    seen += [job.json() for job in await worked_off(queues, 2)]
    assert sorted(seen[3:] + seen[:2]) == [0, 1, 2, 3]


async def test_so_many_jobs_are_in_hand_at_once_and_never_two_of_one_key(queues: Client) -> None:
    """``run`` does as many as it may, and each key's in order, though one fails now and then."""
    await queues.queues.put("q", "t", ordering="key", backoff_s=[0.01], breaker=Breaker(failures=0))
    await fill(queues, 120, keys=12)
    working: Counter[str] = Counter()
    are_eight = asyncio.Event()
    most = 0
    done: defaultdict[str, list[int]] = defaultdict(list)

    async def handle(job: Job) -> None:
        nonlocal most
        key = job.key_text or ""
        working[key] += 1
        most = max(most, working.total())
        assert working[key] == 1
        if working.total() == 8:
            are_eight.set()
        await are_eight.wait()
        await asyncio.sleep(0.02)
        working[key] -= 1
        if job.json() % 7 == 0 and job.deliveries == 1:
            raise ValueError("once")
        done[key].append(job.json())
        if sum(map(len, done.values())) == 120:
            queue.stop()

    async with queues.queue("q") as queue:
        await queue.run(handle, concurrency=8)
    assert most == 8
    assert (await info(queues)).depth == 0
    assert done == {f"k{key}": list(range(key, 120, 12)) for key in range(12)}


async def test_the_time_of_a_job_in_hand_is_extended_for_as_long_as_it_takes(queues: Client) -> None:
    """Nobody else gets it meanwhile, not what was received ahead either."""
    await queues.queues.put(
        "q", "t", visibility_timeout_s=3.0
    )  # Which a busy machine does not stand still for.
    await fill(queues, 2)
    may_end = asyncio.Event()
    ended: list[int] = []

    async def handle(job: Job) -> None:
        assert job.deliveries == 1
        await may_end.wait()
        assert not job.is_lost
        ended.append(job.json())
        if len(ended) == 2:
            queue.stop()

    async with queues.queue("q") as queue:
        first = asyncio.create_task(queue.run(handle, prefetch=1))
        await until(queues, lambda queue: queue.in_flight == 2)
        assert [job async for job in queues.queue("q").jobs(idle_s=4.5)] == []
        may_end.set()
        await first
    assert ((await info(queues)).settled, (await info(queues)).redelivered) == (2, 0)


async def test_what_came_too_late_is_an_error_to_who_asks_and_a_line_in_the_log(
    queues: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is told that it may be somebody else's."""
    monkeypatch.setattr(leases, "_PART", 300)  # Extended at once, and yet its time is not up by itself.
    await queues.queues.put("q", "t", visibility_timeout_s=60, backoff_s=[0])
    await fill(queues, 1)

    async def stolen(job: Job) -> None:
        """As when its time was up."""
        nack = Settlement(job.receipt, Action.NACK, delay_ms=0)
        assert await queues.queues.settle("q", [nack]) == [Outcome.DONE]

    async with queues.queue("q") as queue:
        async for job in queue.jobs():
            await stolen(job)
            with pytest.raises(ReceiptExpired):
                await job.ack()
            break
        async for job in queue.jobs():
            async with job:
                await stolen(job)
            break
        async for job in queue.jobs():
            async with job:
                await stolen(job)
                await until(queues, lambda _, job=job: job.is_lost)
            break
    assert "1 deliveries ended too late" in caplog.text
    assert "others may have it now" in caplog.text
    assert ((await info(queues)).settled, (await info(queues)).depth) == (0, 1)


async def test_busy_nodes_and_lost_answers_are_waited_out(queues: Client, url: str) -> None:
    """429 and 503 are obeyed; settlements without an answer are sent again; nothing is raised or left."""
    await queues.queues.put("q", "t", visibility_timeout_s=2, backoff_s=[0], max_deliveries=100)
    await fill(queues, 40)
    asked: dict[tuple[str, bytes], float] = {}
    waited: list[float] = []
    count = 0

    async def trouble(request: web.Request, body: bytes) -> web.StreamResponse | None:
        nonlocal count
        count += 1
        if (since := asked.pop((request.path, body), None)) is not None:
            waited.append(time.monotonic() - since)
        if count % 5 == 2:
            asked[request.path, body] = time.monotonic()
            return problem(429, "too_many_requests", retry_after_s=0.1)
        return problem(503, "unavailable", cause="no_leader") if count % 5 == 3 else None

    async def lost(request: web.Request, _: bytes) -> web.StreamResponse | None:
        return problem(504, "outcome_unknown") if count % 5 == 0 else None

    front = await Front(url).start()
    front.trouble, front.after = trouble, lost
    done: Counter[int] = Counter()

    async def handle(job: Job) -> None:
        done[job.json()] += 1

    try:
        async with Client(front.url) as client, client.queue("q") as queue:
            working = asyncio.create_task(queue.run(handle, concurrency=4))
            await until(queues, lambda queue: queue.settled == 40)
            queue.stop()
            await working
    finally:
        await front.stop()
    assert waited
    assert min(waited) >= 0.1
    assert sorted(done) == list(range(40))
    assert ((await info(queues)).settled, (await info(queues)).depth) == (40, 0)
    assert count > 20


async def test_closing_finishes_what_is_in_hand_and_gives_back_the_rest(queues: Client, url: str) -> None:
    """Which is there for others at once, and was not delivered as far as counts go."""
    await queues.queues.put("q", "t", max_deliveries=1)
    await fill(queues, 10)
    begun: list[int] = []
    may_end = asyncio.Event()

    async def handle(job: Job) -> None:
        begun.append(job.json())
        await may_end.wait()

    client = Client(url)
    working = asyncio.create_task(client.queue("q").run(handle, concurrency=3, prefetch=4))
    await until(queues, lambda queue: len(begun) == 3 and queue.in_flight == 7)
    closing = asyncio.create_task(client.close())
    await until(queues, lambda queue: queue.in_flight == 3)
    assert not closing.done()
    may_end.set()
    await closing
    with pytest.raises(NotUsable):
        await working
    assert len(begun) == 3
    found = await info(queues)
    assert (found.settled, found.in_flight, found.depth) == (3, 0, 7)
    rest = [job.json() for job in await worked_off(queues, 7)]
    assert sorted(rest + begun) == list(range(10))


async def test_what_does_not_end_in_time_or_is_cancelled_is_given_back(queues: Client) -> None:
    """The program goes on, and others get it at once."""
    await queues.queues.put("q", "t", max_deliveries=1)
    await fill(queues, 2)
    begun: list[int] = []
    started = asyncio.Event()
    ended: list[str] = []

    async def handle(job: Job) -> None:
        begun.append(job.json())
        if len(begun) == 2:
            started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    for is_cancelled in (False, True):
        begun.clear()
        started.clear()
        async with queues.queue("q") as queue:
            working = asyncio.create_task(queue.run(handle, concurrency=2, drain_s=0.05))
            await started.wait()
            if is_cancelled:
                working.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await working
            else:
                queue.stop()
                await working
        assert (await info(queues)).in_flight == 0
    assert len(ended) == 4
    assert len(await worked_off(queues, 2)) == 2


async def test_looking_after_queues_and_their_dead_letters(queues: Client) -> None:
    """Made, changed, listed, purged, deleted; what died is shown, replayed by key, and forgotten."""
    admin = queues.queues
    made = await admin.put("q", "t", ordering="key", max_deliveries=1)
    assert (made.config.max_deliveries, made.config.dead_letter_topic) == (1, "q.dead")
    changed = await admin.put("q", "t", visibility_timeout_s=5, backoff_s=[0.5, 2], dead_letter_topic=None)
    assert changed.config.backoff_ms == [500, 2000]
    assert (changed.config.max_deliveries, changed.config.dead_letter_topic) == (1, None)
    await admin.put("q", "t", dead_letter_topic="letters")
    with pytest.raises(QueueExists):
        await admin.put("q", "t", ordering="none")
    with pytest.raises(UnknownTopic):
        await admin.put("other", "nowhere")
    assert [(each.queue, each.topic) async for each in admin.list("q")] == [("q", "t")]
    assert [each async for each in admin.list("r")] == []
    await fill(queues, 4, keys=4)
    records = await received(queues, 4)
    rejected = [Settlement(record.receipt, Action.REJECT, reason="bad") for record in records]
    assert await admin.settle("q", rejected) == [Outcome.DONE] * 4
    letters = await dead(queues)
    shown = await admin.dead_letter("q", letters[0].id)
    assert shown.letter == letters[0]
    assert shown.record is not None
    assert (shown.record.topic, shown.record.headers["floodmark-dead-reason"]) == ("letters", "bad")
    assert (letters[0].worker, letters[0].deliveries, letters[0].reason) == ("me", 1, "bad")
    with pytest.raises(InvalidRequest):
        await admin.replay("q", [letters[0].id], key_prefix="k")
    (named,) = [each.id for each in letters if await value_of(queues, each) == 2]
    assert await admin.replay("q", key_prefix="k2") == 1
    assert [job.json() for job in await worked_off(queues, 1)] == [2]
    assert letters_of(letters) - letters_of(await dead(queues)) == {named}
    assert await admin.purge_dead("q", [(await dead(queues))[0].id]) == 1
    assert await admin.replay("q", per_second=1000) == 2
    assert len(await worked_off(queues, 2)) == 2
    assert await dead(queues) == []
    await fill(queues, 5)
    assert await admin.purge("q") == 5
    await admin.delete("q")
    for call in (admin.describe("q"), admin.delete("q"), admin.receive("q")):
        with pytest.raises(UnknownQueue):
            await call
    with pytest.raises(UnknownQueue):
        async for _ in queues.queue("q").jobs():
            pass


def replay_one(client: SyncClient) -> None:
    """It comes, and nothing else does."""
    assert client.queues.replay("q") == 1
    with client.queue("q") as queue:
        for job in queue.jobs():
            assert (job.json(), job.topic, job.is_settled) == (4, "q.dead", False)
            queue.stop()
    assert client.queues.describe("q").depth == 0


async def test_a_program_without_an_event_loop(queues: Client, url: str) -> None:
    """The same: loops, blocks, threads, stopping from another one."""

    def work() -> None:
        seen: list[int] = []
        with SyncClient(url) as client:
            made = client.queues.put("q", "t", max_deliveries=2, backoff_s=[0], breaker=Breaker(failures=0))
            assert made.queue == "q"
            with client.queue("q") as queue:
                for job in queue.jobs():
                    with job:
                        if job.json() == 3 and job.deliveries == 1:
                            raise ValueError("once")
                        if job.json() == 4:
                            job.reject("never")
                        seen.append(job.json())
                        if len(seen) == 10:
                            queue.stop()
            assert sorted(seen) == list(range(10))
            for number in range(10):
                client.produce("t", number)
            seen.clear()

            def handle(job: SyncJob) -> None:
                job.extend()
                seen.append(job.json())
                if len(seen) == 10:
                    client_queue.stop()

            with client.queue("q") as client_queue:
                client_queue.run(handle, concurrency=4)
            assert sorted(seen) == list(range(10))
            while client.queues.describe("q").dying:
                time.sleep(0.01)
            assert client.queues.describe("q").settled == 20
            assert [letter.reason for letter in client.queues.dead("q")] == ["never"]
            replay_one(client)
            assert [listed.queue for listed in client.queues.list()] == ["q"]
            client.queues.delete("q")

    await fill(queues, 10)
    await asyncio.to_thread(work)
