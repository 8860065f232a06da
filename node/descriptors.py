"""File descriptors: a node raises its limit as far as it may, before it opens anything.

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
"""The last ones, kept from files: for connections of operators who come to help."""
PER_REPLICA: Final = 4
"""A replica has 3 files open, and more while its older segments are read."""
PARTITIONS_MAX: Final = 10_000
"""The most replicas on a node even if descriptors allow more; each takes memory too."""

_log = structlog.get_logger(__name__)


def take_all() -> int:
    """Raise this process's own limit as far as the system allows; returns the new limit."""
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
    """How many ordinary connections never use: ``wanted``, but at most a quarter of all."""
    return min(wanted, limit() // 4)


def partitions_max(*, reserved: int) -> int:
    """How many replicas there is room for beside ``reserved`` others."""
    return max(1, min(PARTITIONS_MAX, (limit() - reserve(reserved)) // PER_REPLICA))
