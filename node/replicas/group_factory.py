"""Makes the Raft groups of a node, with timing and memory scaled to the number of groups."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Final

from consensus.core.catch_up import CatchUp
from consensus.core.group import Group
from consensus.types import GroupOptions
from node.replicas.replica_spec import Machine, ReplicaSpec
from node.replicas.replica_store import Opened

GROUPS_PER_TIMEOUT: Final = 200
"""The configured election timeouts suffice for this many groups on a node; more get longer ones."""
LOG_TAIL_BYTES_MAX: Final = 4 << 20
"""Recent frames in memory per replica: enough for followers that keep up; others need the page cache."""
LOG_TAILS_BYTES_MAX: Final = 256 << 20
"""... and of all replicas of this node together, where there are many: each gets its share, ..."""
LOG_TAIL_BYTES_MIN: Final = 64 << 10
"""... but no less than this."""


class GroupFactory:
    """``catch_up``: what all groups here send to replicas that are behind."""

    def __init__(self, node_id: str, options: GroupOptions, catch_up: CatchUp) -> None:
        self._node_id = node_id
        self._options = options
        self._catch_up = catch_up

    def group(self, spec: ReplicaSpec, opened: Opened, machine: Machine, *, groups: int) -> Group:
        """One replica's group on a node with ``groups`` like it. Raises ``LogTooNew``, ``StorageError``."""
        return Group(
            raft_group=spec.raft_group,
            node_id=self._node_id,
            log=opened.log,
            vote=opened.vote,
            machine=machine,
            membership=spec.members,
            clock=time.monotonic,
            random=random.Random(),
            options=scaled(self._options, groups) if spec.is_one_of_many else self._options,
            voting=not opened.lost,
            files=opened.files,
            catch_up=self._catch_up,
        )


def scaled(options: GroupOptions, groups: int) -> GroupOptions:
    """Timing for a node with this many groups.

    Every election costs each voter an fsync. When a node with many groups stalls, all of them elect at once,
    and these elections must take less time than the timeouts, or they would never end. The same goes for
    heartbeats: when all groups are awake, after a node came or went, there must be time left to fall asleep.
    """
    factor = max(1.0, groups / GROUPS_PER_TIMEOUT)
    return replace(
        options,
        heartbeat_s=options.heartbeat_s * factor,
        election_timeout_min_s=options.election_timeout_min_s * factor,
        election_timeout_max_s=options.election_timeout_max_s * factor,
        leader_fallback_s=options.leader_fallback_s * factor,
        takeover_s=options.takeover_s * factor,
    )


def tail_bytes(groups: int) -> int:
    """How many bytes of its newest frames a replica keeps in memory, on a node with this many replicas."""
    return max(LOG_TAIL_BYTES_MIN, min(LOG_TAIL_BYTES_MAX, LOG_TAILS_BYTES_MAX // max(1, groups)))
