"""The cluster's epoch: how often it was recovered from the loss of a majority (node/recovery).

A folder that a recovery left out is of an earlier epoch: what it holds is no longer part of the cluster. So
its node and those of the later epoch refuse each other, and a node that hears of a later epoch when it starts
takes part in nothing, lest the nodes that were given up go on among themselves.
"""

from __future__ import annotations

from typing import Final

from node.membership.formation import Standpoint

OF_NO_EPOCH: Final = -1
"""The epoch of an empty folder: it takes over that of the nodes that it meets."""


def refusal(mine: Standpoint, other: Standpoint) -> str | None:
    """Why ``mine`` refuses ``other``, and what to do; None where both are of one epoch."""
    if other.is_fresh or (mine.epoch, mine.recovery) == (other.epoch, other.recovery):
        return None
    if other.epoch < mine.epoch:
        return (
            f"{other.node_id} holds data from before this cluster was recovered (cluster epoch "
            f"{other.epoch}, and here it is {mine.epoch}): what that folder holds is not part of this "
            f"cluster any more. Keep it elsewhere, and start {other.node_id} with an empty one; or, if the "
            f"plan of the recovery names it, run 'floodmark recover apply' on it"
        )
    if other.epoch > mine.epoch:
        return None if mine.is_fresh else outdated(mine, other)
    return (
        f"{other.node_id} and this node were recovered apart from each other (both to cluster epoch "
        f"{mine.epoch}), and have become two clusters: keep one of them, and start the nodes of the other "
        f"one with empty data folders"
    )


def outdated(mine: Standpoint, other: Standpoint) -> str:
    """Why a folder that a recovery left out takes part in nothing."""
    return (
        f"the cluster was recovered without this data folder (cluster epoch {other.epoch} at "
        f"{other.node_id}, and here it is {mine.epoch}): this node has no part in it. Keep the folder "
        f"elsewhere, and start this node with an empty one; or, if the plan of the recovery names it, run "
        f"'floodmark recover apply' on it"
    )
