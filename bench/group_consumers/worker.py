"""One measurement, in a process of its own with the clients' Python: ``python -m bench.group_consumers.worker
JOB``.

JOB is a ``work.GroupJob`` as JSON; the answer is an object of figures, on the last line of the output. Before
it, a process that follows a topic prints the number of the server that coordinates its group: kill it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from bench.group_consumers.clients.protocol import GroupClient, Reading
from bench.group_consumers.watch import Watch
from bench.group_consumers.work import GroupJob
from bench.machine import percentile
from bench.peers.creating import until_made
from bench.peers.worker_main import answer_job

_JOIN_S = 30.0
"""What a reading may take besides its own bound, until the group has its first member."""
_REBALANCE_TIMEOUT_S = 90.0
_STEADY_TIMEOUT_S = 30.0
_RECOVER_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 5.0
_LOOK_S = 0.02


async def _act(client: GroupClient, job: GroupJob) -> dict[str, float]:
    return await _ACTIONS[job.action](client, job)


async def _create(client: GroupClient, job: GroupJob) -> dict[str, float]:
    await until_made(lambda: client.create(job.topic, partitions=job.partitions, replicas=job.replicas))
    return {}


async def _read(client: GroupClient, job: GroupJob) -> dict[str, float]:
    reading = Reading(job.count, seconds=job.seconds, patience_s=_JOIN_S)
    await client.read(job.topic, reading, group=job.group, way=job.way)
    return reading.answer()


async def _rebalance(client: GroupClient, job: GroupJob) -> dict[str, float]:
    """All join, each to have one partition; then one leaves."""
    begin = time.perf_counter()
    async with client.members(job.topic, group=job.group, count=job.count, way=job.way) as members:
        each = [1] * job.count
        await _until(lambda: members.counts() == each, _REBALANCE_TIMEOUT_S)
        joined = time.perf_counter()
        await members.leave()
        await _until(lambda: sum(members.counts()) == job.count, _REBALANCE_TIMEOUT_S)
        return {"join_s": joined - begin, "leave_s": time.perf_counter() - joined}


async def _commit(client: GroupClient, job: GroupJob) -> dict[str, float]:
    latencies: list[float] = []
    begin = 0.0
    for seconds in (job.lead_in_s, job.seconds):
        begin = time.perf_counter()
        latencies = await client.commit(
            job.topic, group=job.group, callers=job.callers, deadline=begin + seconds
        )
    return {
        "rate": len(latencies) / (time.perf_counter() - begin),
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
    }


async def _follow(client: GroupClient, job: GroupJob) -> dict[str, float]:
    watch = Watch(job.partitions)
    following = asyncio.create_task(client.follow(job.topic, watch, group=job.group, way=job.way))

    def is_steady() -> bool:
        if following.done():
            following.result()
        return watch.is_steady

    def has_recovered() -> bool:
        if following.done():
            following.result()
        return watch.has_recovered

    await _until(is_steady, _STEADY_TIMEOUT_S)
    number = await client.coordinator(job.topic, job.group)
    await _until(is_steady, _STEADY_TIMEOUT_S)
    watch.begin()
    print(number, flush=True)
    await _until(has_recovered, _RECOVER_TIMEOUT_S)
    found = watch.longest() | {"assignments": watch.assignments}
    following.cancel()
    await asyncio.wait([following], timeout=_END_TIMEOUT_S)
    return found


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"it has not come about within {seconds:.0f} s")
        await asyncio.sleep(_LOOK_S)


_ACTIONS = {"create": _create, "read": _read, "rebalance": _rebalance, "commit": _commit, "follow": _follow}


if __name__ == "__main__":
    answer_job(GroupJob, _act)
