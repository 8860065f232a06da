"""A topic that members of the group read besides the others, and that is made again under them.

Whenever it is another topic, with another id, its history has another name for it: what the group committed
in one says nothing of the next. What is stored in it is not recorded, and only members read it.
"""

from __future__ import annotations

import random
from typing import Final

import msgspec
from floodmark.errors import FloodmarkError
from floodmark.transport.http import Request

from chaos.workload.site import NODE_TIMEOUT_S, Site, attempt, ticks
from chaos.workload.topic_admin import create, delete, do

TOPIC: Final = "renewed"
PARTITIONS: Final = 2
_TICK_S: Final = 0.25
_LIVES: Final = (20, 40)
"""Ticks from one deletion to the next."""
_CREATE_EVERY: Final = 4
"""Ticks. It may be there already: a creation whose outcome was not known."""


def name_of(topic: str, topic_id: int) -> str:
    """What the history calls a topic."""
    return f"{topic}#{topic_id}" if topic == TOPIC else topic


def topic_of(name: str) -> str:
    """The other way round."""
    return name.partition("#")[0]


def is_renewed(name: str) -> bool:
    """Whether the history means one of these."""
    return "#" in name


async def renew(site: Site, replication: int) -> None:
    """Create it, write to it, delete it, over and over. Runs until ``site.stop``."""
    process = "renewal"
    rng = site.rng(process)
    transport = site.transport(process)
    deletes_at = rng.randint(*_LIVES)
    try:
        async for turn in ticks(_TICK_S, site.stop):
            if site.pauses.of_all:
                continue
            if turn >= deletes_at:
                deletes_at = turn + rng.randint(*_LIVES)
                await do(site, transport, process, TOPIC, delete(TOPIC))
            if turn % _CREATE_EVERY == 0:
                await do(site, transport, process, TOPIC, create(TOPIC, PARTITIONS, replication))
            try:
                await attempt(transport, _produce(rng))
            except FloodmarkError:
                continue  # It is not there, or nobody serves it at the moment.
    finally:
        await transport.close()


def _produce(rng: random.Random) -> Request:
    partition = rng.randrange(PARTITIONS)
    return Request(
        method="POST",
        path=f"/v1/topics/{TOPIC}/partitions/{partition}/records",
        query={"timeout": f"{round(NODE_TIMEOUT_S * 1000)}ms"},
        headers={"Content-Type": "application/json"},
        body=msgspec.json.encode(
            {"records": [{"value": "of a topic that is made again"}] * rng.randint(1, 3)}
        ),
        route=f"{TOPIC}/{partition}",
    )
