"""What is compared: each system with the settings that this work needs besides those of ``bench.peers``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bench.peers.servers.floodmark import Floodmark
from bench.peers.servers.kafka import Kafka
from bench.peers.servers.nats import Nats
from bench.peers.variant import Variant

_FLOODMARK = replace(
    Floodmark.variants[0],
    acknowledged="what is committed, and who reads what, is on the disks (fdatasync) of two of three nodes",
    configuration="as `floodmark dev` sets it up; the state of groups is in 16 Raft groups",
    client="`floodmark` (asyncio): `read`; `consume`, record by record, which commits by itself soon after a "
    "record is done with (every 50 ms at most); `groups.commit`; 100 members share four clients",
)
_KAFKA = replace(
    next(variant for variant in Kafka.variants if variant.is_synced),
    label="Kafka",
    acknowledged="a committed offset is written and synced (fsync) by all brokers in sync, at least two of "
    "three",
    configuration="KRaft, three combined brokers and controllers, 1 GB of heap each as its start script "
    "gives; `log.flush.interval.messages=1`, so that `__consumer_offsets` is synced as well, of which there "
    "are three replicas; the rest as it comes: a new group waits 3 s for more members with the classic "
    "protocol (`group.initial.rebalance.delay.ms`), heartbeats every 3 s (classic) or 5 s, a broker that is "
    "gone is given up after 9 s (`broker.session.timeout.ms`)",
    client="`confluent-kafka` (librdkafka): `assign` beside `subscribe`, `consume(10000)` and a loop over "
    "its records; `auto.commit.interval.ms=100` while reading; `group.protocol` `consumer` (KIP-848) and "
    "`classic`, assignors as they come; `commit(asynchronous=False)`, each caller a thread with a consumer "
    "of its own; 100 members are polled in turn by one thread",
    server_options={"log.flush.interval.messages": "1"},
)
_NATS = replace(
    next(variant for variant in Nats.variants if variant.is_synced),
    label="NATS JetStream",
    acknowledged="that a message is done with is in the consumer's state, replicated as its stream is",
    configuration="one stream of three subjects, file storage, 3 replicas, `sync_interval: always`; one "
    "durable pull consumer, explicit acknowledgements, `max_ack_pending` 30,000",
    client="`nats-py` (asyncio): an ordered consumer beside three members that share the durable one with "
    "`fetch(1000)` and `ack` for each message; `ack_sync` in the place of a commit; `fetch(1, timeout=1)` "
    "while a server is killed",
)
VARIANTS: Final[tuple[Variant, ...]] = (_FLOODMARK, _KAFKA, _NATS)
WAYS: Final[Mapping[str, tuple[str, ...]]] = {"kafka": ("consumer", "classic")}
"""system -> the protocols of groups that it offers; others have one."""
HAS_PARTITIONS: Final = frozenset({"floodmark", "kafka"})
"""The systems whose groups hand out partitions; elsewhere nothing has to be handed out again."""


def select(names: list[str]) -> list[Variant]:
    """Those of the named systems, or all. Raises ``ValueError`` for a name that there is not."""
    known = [variant.system for variant in VARIANTS]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no {name!r}; there are {', '.join(known)}")
    return [variant for variant in VARIANTS if not names or variant.system in names]
