"""How much one request or group may hold, so that no client makes a coordinator large or slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

METADATA_BYTES_MAX: Final = 4 << 10
"""Of the metadata of one committed offset, in UTF-8: Kafka's limit."""
PARTITIONS_PER_STEP: Final = 1_000
"""That one request commits, resets or deletes offsets of, and that one step of a deletion removes."""
OFFSET_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupLimits:
    """Of one group; settings may lower or raise them."""

    members: int = 1_000
    subscriptions: int = 1_000
    """Topics that one member names."""
    patterns: int = 10
    """Different ones in a group."""
    different: int = 100_000
    """Topics of all different subscriptions in a group together, patterns included: what targets cost."""
    session_timeout_min_ms: int = 1_000
    session_timeout_max_ms: int = 3_600_000
    rebalance_timeout_max_ms: int = 86_400_000
