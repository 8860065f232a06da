"""One measurement, in a process of its own with the clients' Python: ``python -m bench.queues.worker JOB``.

JOB is a ``work.Job`` as JSON; the answer is a ``work.Outcome`` as JSON, on the last line of the output.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from dataclasses import asdict, replace

import uvloop

from bench.machine import percentile
from bench.peers.creating import until_made
from bench.queues.clients.protocol import QueueClient
from bench.queues.work import Job, Outcome


async def main(job: Job) -> Outcome:
    """Connect, work, and go."""
    module = importlib.import_module(f"bench.queues.clients.{job.system}")
    client: QueueClient = await module.connect(job)
    try:
        cpu = time.process_time()
        outcome = await _ACTIONS[job.action](client, job)
        return replace(outcome, client_cpu_s=time.process_time() - cpu)
    finally:
        await client.close()


async def _create(client: QueueClient, job: Job) -> Outcome:
    await until_made(lambda: client.create(job.queue, by_key=job.by_key))
    return Outcome()


async def _fill(client: QueueClient, job: Job) -> Outcome:
    begin = time.perf_counter()
    await client.fill(job.queue, job.count, job.deliver_at_ms)
    return Outcome(job.count, time.perf_counter() - begin)


async def _work(client: QueueClient, job: Job) -> Outcome:
    """Until all records are settled, or the time is over; it begins with the first record and ends with the
    last."""
    clock = time.perf_counter
    workers = [await client.worker(job.queue, number, job.way) for number in range(job.workers)]
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

    await asyncio.gather(*(one(number) for number in range(job.workers)))
    if not latencies:
        return Outcome()
    p50, p99 = (percentile(latencies, fraction) for fraction in (0.5, 0.99))
    return Outcome(done, last - first, p50_ms=p50, p99_ms=p99, first_ms=first_ms, ended_ms=ended_ms)


async def _program(client: QueueClient, job: Job) -> Outcome:
    begin = time.perf_counter()
    done = await client.program(job.queue, job.workers, count=job.count, seconds=job.seconds)
    return Outcome(done, time.perf_counter() - begin)


async def _look(client: QueueClient, job: Job) -> Outcome:
    return Outcome(delayed=await client.delayed(job.queue))


_ACTIONS = {"create": _create, "fill": _fill, "work": _work, "program": _program, "look": _look}


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(main(Job(**json.loads(sys.argv[1])))))))
