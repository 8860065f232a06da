"""Waiting for the leader of a group that has a replica here."""

from __future__ import annotations

import time
from typing import Final

from floodmark.errors import Unavailable

from consensus.core.group import Group
from consensus.host.group_host import GroupHost
from node import outcomes
from node.partition.remote_partition import RemotePartition

_LOOK_AGAIN_S: Final = 0.5
"""How often a request that waits for a leader checks whether this replica can hear of one."""


async def wait_leader(host: GroupHost, group: Group, others: RemotePartition, *, deadline_s: float) -> str:
    """Wait for an election to end; where this node wins, until it can serve. Raises ``Unavailable``.

    A node that hears too few others would not hear of elections either: it asks them.
    """
    deadline = time.monotonic() + deadline_s
    while (left := deadline - time.monotonic()) > 0:
        try:
            if group.leader is None and not others.hears_enough:
                return await others.wait_leader(deadline_s=min(left, _LOOK_AGAIN_S))
            return await host.wait_leader(group.raft_group, deadline_s=min(left, _LOOK_AGAIN_S))
        except Unavailable:
            if not host.runs(group):
                break
    raise outcomes.no_leader(others.topic, others.number)
