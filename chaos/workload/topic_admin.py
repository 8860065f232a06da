"""Topic administration on topics without records, each operation a single attempt.

The client's own calls retry silently and could meet the effect of their own first attempts, so requests are
sent here one by one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from floodmark.errors import FloodmarkError
from floodmark.transport.http import Answer, Request, Transport

from chaos.history import Action, Alter, Config, Create, Delete, Describe, Described, Done, Result
from chaos.workload.site import NODE_TIMEOUT_S, Site, attempt, ticks

_INTERVAL_S: Final = 0.7
_POOL: Final = 2
"""Topics that all admins share at a time."""
_TOPICS_LIVE_S: Final = 15.0
"""Then other topics take their place, because operations with unknown outcomes make the search for an order
slower forever."""
_CONFIG: Final[Config] = {
    "retention_ms": None,
    "retention_bytes": None,
    "max_record_bytes": 1 << 20,
    "segment_bytes": 8 << 20,
}
"""Every setting, so that the history has the whole configuration."""


class _Partition(msgspec.Struct):
    partition: int


class _Topic(msgspec.Struct):
    config: Config
    partitions: list[_Partition]


@dataclass(frozen=True, slots=True)
class AdminOperation:
    """One operation: as recorded in the history, and as it is sent."""

    action: Action
    method: str
    body: dict[str, Any] | None = None


async def administrate(site: Site, process: str, replication: int) -> None:
    """Random operations on the topics that all admins share. Runs until ``site.stop``."""
    rng = site.rng(process)
    transport = site.transport(process)
    try:
        async for turn in ticks(_INTERVAL_S, site.stop):
            if site.pauses.of_all:
                continue
            topic = f"admin-{int(turn * _INTERVAL_S / _TOPICS_LIVE_S)}-{rng.randrange(_POOL)}"
            await do(site, transport, process, topic, _draw(rng, topic, replication))
    finally:
        await transport.close()


def create(topic: str, partitions: int, replication: int) -> AdminOperation:
    """With every setting said."""
    body = {"partitions": partitions, "replication_factor": replication, "config": _CONFIG}
    return AdminOperation(Create(topic, partitions, _CONFIG), "PUT", body)


def delete(topic: str) -> AdminOperation:
    """Remove it."""
    return AdminOperation(Delete(topic), "DELETE")


def _draw(rng: random.Random, topic: str, replication: int) -> AdminOperation:
    retention_ms = rng.choice([3_600_000, 7_200_000])
    match rng.choices(("create", "alter", "describe", "delete"), (4, 3, 2, 2))[0]:
        case "create":
            return create(topic, rng.choice([1, 1, 2]), replication)
        case "alter":
            config: Config = {"retention_ms": retention_ms}
            return AdminOperation(Alter(topic, config), "PATCH", {"config": config})
        case "delete":
            return delete(topic)
        case _:
            return AdminOperation(Describe(topic), "GET")


async def do(site: Site, transport: Transport, process: str, topic: str, operation: AdminOperation) -> None:
    """One attempt, recorded."""
    request = Request(
        method=operation.method,
        path=f"/v1/topics/{topic}",
        query={"timeout": f"{round(NODE_TIMEOUT_S * 1000)}ms"} if operation.method != "GET" else {},
        headers={"Content-Type": "application/json"} if operation.body is not None else {},
        body=msgspec.json.encode(operation.body) if operation.body is not None else None,
    )
    op = site.recorder.begin(process, operation.action)
    try:
        answer, node = await attempt(transport, request)
        result = _result(operation.action, answer)
    except FloodmarkError as error:
        site.recorder.failed(op, error)
    else:
        site.recorder.ok(op, result, node=node)


def _result(action: Action, answer: Answer) -> Result:
    if isinstance(action, Describe):
        topic = answer.convert(_Topic)
        return Described(len(topic.partitions), topic.config)
    return Done(changed=not isinstance(action, Create) or answer.status == 201)
