"""One measurement, in a process of its own with the clients' Python: ``python -m bench.peers.worker JOB``.

JOB is a ``work.Job`` as JSON; the answer is a ``work.Outcome`` as JSON, on the last line of the output.
"ready" on a line before means that a follower listens.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from typing import Any

from bench.machine import percentile
from bench.payload import payload
from bench.peers.clients.protocol import PeerClient
from bench.peers.creating import until_made
from bench.peers.work import PACED_LEAD_IN_S, PACED_TICK_S, Job, Outcome
from bench.peers.worker_main import answer_job

_FIRST_RECORD_S = 15.0
_GRACE_S = 3.0
_STAMP = struct.Struct("<q")
_NOT_COUNTED = 0


async def _act(client: PeerClient, job: Job) -> dict[str, Any]:
    cpu = time.process_time()
    begin = time.perf_counter()
    outcome = await _ACTIONS[job.action](client, job)
    if not outcome.seconds:
        outcome = replace(outcome, seconds=time.perf_counter() - begin)
    return asdict(replace(outcome, client_cpu_s=time.process_time() - cpu))


async def _create(client: PeerClient, job: Job) -> Outcome:
    await until_made(lambda: client.create(job.topic))
    return Outcome()


async def _waiting(client: PeerClient, job: Job) -> Outcome:
    value = payload(job.size)
    begin = time.perf_counter()
    for seconds in (job.lead_in_s, job.seconds):
        begin = time.perf_counter()
        latencies = await client.waiting(
            job.topic, value, callers=job.callers, deadline=begin + seconds, way=job.way
        )
    return replace(_with_latencies(len(latencies), latencies), seconds=time.perf_counter() - begin)


async def _flood(client: PeerClient, job: Job) -> Outcome:
    deadline = time.perf_counter() + job.seconds
    value = payload(job.size)
    return Outcome(await client.flood(job.topic, value, count=job.count, deadline=deadline, way=job.way))


async def _read(client: PeerClient, job: Job) -> Outcome:
    deadline = time.perf_counter() + job.seconds
    records, size = await client.read(job.topic, count=job.count, deadline=deadline, way=job.way)
    if size != records * job.size:
        raise ValueError(f"{records} records of {job.size} bytes were read as {size} bytes")
    return Outcome(records)


async def _pace(client: PeerClient, job: Job) -> Outcome:
    """A burst each tick, however the ones before fare; every record bears the time at which it was due.

    Those of the lead-in bear none.
    """
    burst = round(job.rate * PACED_TICK_S) or 1
    tick_ns = round(burst / job.rate * 1e9)
    rest = payload(job.size)[_STAMP.size :]
    start = time.monotonic_ns()
    lead_in = round(PACED_LEAD_IN_S * 1e9 / tick_ns)
    for number in range(lead_in + job.count // burst):
        due = start + number * tick_ns
        if (early := due - time.monotonic_ns()) > 0:
            await asyncio.sleep(early / 1e9)
        else:
            await asyncio.sleep(0)
        stamp = _STAMP.pack(due if number >= lead_in else _NOT_COUNTED)
        await client.send_soon(job.topic, [stamp + rest] * burst)
    await client.settle()
    return Outcome(job.count)


async def _follow(client: PeerClient, job: Job) -> Outcome:
    """How late each record comes."""
    latencies: list[float] = []
    try:
        async with asyncio.timeout(_FIRST_RECORD_S + PACED_LEAD_IN_S + job.seconds + _GRACE_S):
            async for value in _told(client.follow(job.topic)):
                now = time.monotonic_ns()
                (due,) = _STAMP.unpack_from(value)
                if due != _NOT_COUNTED:
                    latencies.append((now - due) / 1e6)
                if len(latencies) == job.count:
                    break
    except TimeoutError:
        pass  # What came is the answer.
    outcome = _with_latencies(len(latencies), latencies)
    return replace(outcome, seconds=job.seconds + (latencies[-1] / 1e3 if latencies else 0.0))


async def _told(values: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass on what comes after the first, empty one, which means that the follower listens."""
    async for value in values:
        if value:
            yield value
        else:
            print("ready", flush=True)


_ACTIONS = {
    "create": _create,
    "waiting": _waiting,
    "flood": _flood,
    "read": _read,
    "pace": _pace,
    "follow": _follow,
}


def _with_latencies(records: int, latencies: list[float]) -> Outcome:
    if not latencies:
        return Outcome(records)
    p50, p99, p999 = (percentile(latencies, fraction) for fraction in (0.5, 0.99, 0.999))
    return Outcome(records, p50_ms=p50, p99_ms=p99, p999_ms=p999)


if __name__ == "__main__":
    answer_job(Job, _act)
