"""Whether a node may stay connected to this one, judged by cluster, epoch and feature level."""

from __future__ import annotations

from node.membership import belonging, epochs
from node.membership.announcement import Announcement, Answer
from node.membership.belonging import Known, Refusal
from node.membership.formation import Standpoint
from node.membership.own_folder import OwnFolder
from node.membership.registry import Registry
from node.membership.roster import Roster
from node.metadata.levels import Levels


class Judge:
    """``levels``: those that this build knows."""

    def __init__(self, own: OwnFolder, roster: Roster, registry: Registry, levels: Levels) -> None:
        self.outdated: str | None = None
        """Why this folder, which a recovery of the cluster left out, may take part in nothing."""
        self._own = own
        self._roster = roster
        self._registry = registry
        self._levels = levels

    def refusal(self, said: Announcement, other: Standpoint, *, runs_elsewhere: bool) -> Refusal | None:
        """Why not; None where it may. ``other``: what it ``said`` of its cluster.

        ``runs_elsewhere``: a process with another folder is connected under its id.
        """
        peer, me = said.node_id, self._own.standpoint()
        met = self._registry.peers.get(peer, "")
        known = Known(self._roster.expected, met, self._roster.removed, runs_elsewhere)
        if refusal := belonging.refusal(me, other, known, said.answer):
            return refusal
        reason = self._of_epochs(me, other) or self._of_levels(said)
        if reason is None and said.answer == Answer.REFUSED:
            reason = f"{peer} refuses this node: its log says why"
        return None if reason is None else Refusal(reason)

    def _of_epochs(self, mine: Standpoint, other: Standpoint) -> str | None:
        reason = epochs.refusal(mine, other)
        if reason is not None and other.epoch > mine.epoch and not self._own.is_settled:
            self.outdated = reason
        return reason

    def _of_levels(self, said: Announcement) -> str | None:
        """Why the build of one of the two nodes cannot run at the cluster's feature level."""
        lowest, highest = said.levels
        if not lowest <= self._own.level <= highest:
            return _other_build(said.node_id, lowest, highest, self._own.level, "there")
        if not self._levels.knows(said.level):
            return _other_build("this node", self._levels.lowest, self._levels.highest, said.level, "here")
        return None


def _other_build(who: str, lowest: int, highest: int, level: int, where: str) -> str:
    return (
        f"{who} knows feature levels {lowest} to {highest}, and the cluster is at {level}: start "
        f"{'a newer' if highest < level else 'an older'} Floodmark {where}"
    )
