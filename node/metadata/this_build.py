"""What this build knows of the metadata: the commands of all domains, settings, members of the state."""

from __future__ import annotations

from typing import Final

from node.metadata.domains import (
    acls,
    coordinator,
    features,
    moves,
    nodes,
    producers,
    quotas,
    recoveries,
    shape,
    tokens,
    topics,
    users,
)
from node.metadata.levels import MEMBERSHIP, NUMBERED_PRODUCERS, SECURITY, Levels

THIS_BUILD: Final = Levels(
    lowest=1,
    highest=6,
    commands={
        kind: kind_of_command
        for domain in (
            features,
            nodes,
            topics,
            producers,
            moves,
            recoveries,
            shape,
            users,
            tokens,
            acls,
            quotas,
            coordinator,
        )
        for kind, kind_of_command in domain.COMMANDS.items()
    },
    settings={
        "retention_ms": 1,
        "retention_bytes": 1,
        "max_record_bytes": 1,
        "segment_bytes": 1,
    },
    members={
        "next_producer_id": NUMBERED_PRODUCERS,
        "moves": MEMBERSHIP,
        "next_move": MEMBERSHIP,
        "recoveries": MEMBERSHIP,
        "draining": MEMBERSHIP,
        "retiring": MEMBERSHIP,
        "rebalancing": MEMBERSHIP,
        "removed": MEMBERSHIP,
        "node_numbers": MEMBERSHIP,
        "users": SECURITY,
        "tokens": SECURITY,
        "administrators": SECURITY,
        "acls": SECURITY,
        "quotas": SECURITY,
    },
)
