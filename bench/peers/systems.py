"""All variants of all systems, in the order of the table."""

from __future__ import annotations

from collections.abc import Sequence

from bench.peers.servers import etcd, floodmark, kafka, nats, redis
from bench.peers.servers.base import Servers
from bench.peers.tools import Tools
from bench.peers.variant import Variant

_SYSTEMS: dict[str, type[Servers]] = {
    "floodmark": floodmark.Floodmark,
    "nats": nats.Nats,
    "kafka": kafka.Kafka,
    "redis": redis.Redis,
    "etcd": etcd.Etcd,
}
VARIANTS: tuple[Variant, ...] = tuple(
    sorted(
        (variant for servers in _SYSTEMS.values() for variant in servers.variants),
        key=lambda variant: (variant.system != "floodmark", not variant.is_synced),
    )
)
REFERENCE = VARIANTS[0]
"""Floodmark: what all ratios refer to."""


def servers_of(variant: Variant) -> type[Servers]:
    """The class that starts this variant."""
    return _SYSTEMS[variant.system]


def absent(chosen: Sequence[Variant], tools: Tools) -> dict[str, str]:
    """Those of them that cannot be had here: name -> why."""
    missing = {each.name: servers_of(each).missing(tools) for each in chosen}
    return {name: why for name, why in missing.items() if why is not None}


def select(only: Sequence[str]) -> list[Variant]:
    """Those of the named systems or variants, or all. Raises ``ValueError`` for a name that there is not."""
    known = {variant.name for variant in VARIANTS} | set(_SYSTEMS)
    for name in only:
        if name not in known:
            raise ValueError(f"there is no {name!r}; there are {', '.join(sorted(known))}")
    return [each for each in VARIANTS if not only or each.name in only or each.system in only]
