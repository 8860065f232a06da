"""One measurement, in a process of its own with the clients' Python: ``python -m bench.queues.worker JOB``.

JOB is a ``work.QueueJob`` as JSON; the answer is a ``work.QueueOutcome`` as JSON, on the last line of the
output.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, replace
from typing import Any

from bench.machine import percentile
from bench.peers.creating import until_made
from bench.peers.worker_main import answer_job
from bench.queues.clients.protocol import QueueClient
from bench.queues.work import QueueJob, QueueOutcome


async def _act(client: QueueClient, job: QueueJob) -> dict[str, Any]:
    cpu = time.process_time()
    outcome = await _ACTIONS[job.action](client, job)
    return asdict(replace(outcome, client_cpu_s=time.process_time() - cpu))


async def _create(client: QueueClient, job: QueueJob) -> QueueOutcome:
    await until_made(lambda: client.create(job.topic, by_key=job.by_key))
    return QueueOutcome()


async def _fill(client: QueueClient, job: QueueJob) -> QueueOutcome:
    begin = time.perf_counter()
    await client.fill(job.topic, job.count, job.deliver_at_ms)
    return QueueOutcome(job.count, time.perf_counter() - begin)


async def _work(client: QueueClient, job: QueueJob) -> QueueOutcome:
    """Until all records are settled, or the time is over; it begins with the first record and ends with the
    last."""
    clock = time.perf_counter
    workers = [await client.worker(job.topic, number, job.way) for number in range(job.callers)]
    ends = clock() + job.seconds
    latencies: list[float] = []
    done = 0
    first = last = 0.0
    first_ms: int | None = None
    ended_ms = 0

    async def one(number: int) -> None:
        nonlocal done, first, last, first_ms, ended_ms
        while done < job.count and (begin := clock()) < ends:
            got = await workers[number].turn(job.batch)
            if not got:
                await asyncio.sleep(0.001)
                continue
            last = clock()
            latencies.append((last - begin) * 1e3)
            done += got
            ended_ms = time.time_ns() // 1_000_000
            if first_ms is None:
                first, first_ms = begin, ended_ms

    await asyncio.gather(*(one(number) for number in range(job.callers)))
    if not latencies:
        return QueueOutcome()
    p50, p99 = (percentile(latencies, fraction) for fraction in (0.5, 0.99))
    return QueueOutcome(done, last - first, p50_ms=p50, p99_ms=p99, first_ms=first_ms, ended_ms=ended_ms)


async def _program(client: QueueClient, job: QueueJob) -> QueueOutcome:
    begin = time.perf_counter()
    done = await client.program(job.topic, job.callers, count=job.count, seconds=job.seconds)
    return QueueOutcome(done, time.perf_counter() - begin)


async def _look(client: QueueClient, job: QueueJob) -> QueueOutcome:
    return QueueOutcome(delayed=await client.delayed(job.topic))


_ACTIONS = {"create": _create, "fill": _fill, "work": _work, "program": _program, "look": _look}


if __name__ == "__main__":
    answer_job(QueueJob, _act)
