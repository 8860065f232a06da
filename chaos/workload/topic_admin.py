"""Topic administration on topics that nobody writes to, each operation a single attempt.

The client's own calls try again in silence and could meet their own first attempts, so requests are sent
here one by one.
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
"""Topics that all admins contend for at a time."""
_TOPICS_LIVE_S: Final = 15.0
"""Others take their place then: what nobody knows the outcome of burdens the search for an order for good."""
_CONFIG: Final[Config] = {
    "retention_ms": None,
    "retention_bytes": None,
    "max_record_bytes": 1 << 20,
    "segment_bytes": 8 << 20,
}
"""All there is to configure, so that the history tells the whole configuration."""


class _Partition(msgspec.Struct):
    partition: int


class _Topic(msgspec.Struct):
    config: Config
    partitions: list[_Partition]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One operation: as the history tells it, and as it is sent."""

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
            await _do(site, transport, process, topic, _draw(rng, topic, replication))
    finally:
        await transport.close()


def _draw(rng: random.Random, topic: str, replication: int) -> _Asked:
    retention_ms = rng.choice([3_600_000, 7_200_000])
    match rng.choices(("create", "alter", "describe", "delete"), (4, 3, 2, 2))[0]:
        case "create":
            partitions = rng.choice([1, 1, 2])
            body = {"partitions": partitions, "replication_factor": replication, "config": _CONFIG}
            return _Asked(Create(topic, partitions, _CONFIG), "PUT", body)
        case "alter":
            config: Config = {"retention_ms": retention_ms}
            return _Asked(Alter(topic, config), "PATCH", {"config": config})
        case "delete":
            return _Asked(Delete(topic), "DELETE")
        case _:
            return _Asked(Describe(topic), "GET")


async def _do(site: Site, transport: Transport, process: str, topic: str, asked: _Asked) -> None:
    request = Request(
        method=asked.method,
        path=f"/v1/topics/{topic}",
        query={"timeout": f"{round(NODE_TIMEOUT_S * 1000)}ms"} if asked.method != "GET" else {},
        headers={"Content-Type": "application/json"} if asked.body is not None else {},
        body=msgspec.json.encode(asked.body) if asked.body is not None else None,
    )
    op = site.recorder.begin(process, asked.action)
    try:
        answer, node = await attempt(transport, request)
        result = _result(asked.action, answer)
    except FloodmarkError as error:
        site.recorder.failed(op, error)
    else:
        site.recorder.ok(op, result, node=node)


def _result(action: Action, answer: Answer) -> Result:
    if isinstance(action, Describe):
        topic = answer.convert(_Topic)
        return Described(len(topic.partitions), topic.config)
    return Done(changed=not isinstance(action, Create) or answer.status == 201)
