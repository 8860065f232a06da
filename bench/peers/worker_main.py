"""A worker process from the inside: one job, done with its system's client, and the answer."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import uvloop

from bench.peers.work import Job

J = TypeVar("J", bound=Job)


def answer_job(kind: type[J], act: Callable[[Any, J], Awaitable[dict[str, Any]]]) -> None:
    """The command line has a job of this kind as JSON. What ``act`` answers is printed as JSON, as the last
    line; it is given a client of the job's system, which is closed after.
    """
    job = kind(**json.loads(sys.argv[1]))
    print(json.dumps(uvloop.run(_with_client(job, act))))


async def _with_client(job: J, act: Callable[[Any, J], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    module = importlib.import_module(f"{job.package}.clients.{job.system}")
    client = await module.connect(job)
    try:
        return await act(client, job)
    finally:
        await client.close()
