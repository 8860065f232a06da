"""File descriptors: a node takes as many as it may have, before it opens anything.

Each replica keeps a few files open, and a shell's usual limit of 1024 is meant for programs that still use
``select``. Without descriptors a replica's disk counts as failed.
"""

from __future__ import annotations

import resource
from typing import Final

import structlog

WANTED: Final = 1 << 20
"""More than a node ever uses; some systems refuse to lift the limit without bound."""
FEW: Final = 4096
KEPT: Final = 16
"""The last ones, which no file gets: for connections of those who come to help."""
PER_REPLICA: Final = 4
"""A replica has 3 files open, and more while its older segments are read."""
PARTITIONS_MAX: Final = 10_000
"""Replicas on a node whose system would allow files for more; each takes memory, too."""

_log = structlog.get_logger(__name__)


def take_all() -> int:
    """Lift this process's own limit as far as the system's allows; the limit from now on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            _log.warning("file_descriptors_limit_kept", limit=soft, reason=str(error))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and limit < FEW:
        _log.warning(
            "few_file_descriptors", limit=limit, hint=f"allow at least {FEW} (ulimit -Hn, LimitNOFILE)"
        )
    return limit


def limit() -> int:
    """How many this process may have now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else min(soft, WANTED)


def reserve(wanted: int) -> int:
    """How many are never used by ordinary connections: as many as wanted, or a quarter of a few."""
    return min(wanted, limit() // 4)


def partitions_max(*, reserved: int) -> int:
    """How many replicas there is room for beside ``reserved`` others."""
    return max(1, min(PARTITIONS_MAX, (limit() - reserve(reserved)) // PER_REPLICA))
