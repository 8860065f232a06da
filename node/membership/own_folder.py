"""This node's folder as part of its cluster: stored on disk, and told to others."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import structlog

from consensus.types import Membership
from node.membership import formation
from node.membership.announcement import Announcement, Answer
from node.membership.epochs import OF_NO_EPOCH
from node.membership.formation import Standpoint
from node.membership.identity import IdentityProblem, NodeIdentity, Standing
from node.membership.joining import Joining
from node.membership.kept_identity import KeptIdentity
from node.membership.roster import Roster
from node.metadata.levels import MEMBERSHIP

_log = structlog.get_logger(__name__)


class OwnFolder:
    """``standing``, ``formation``, ``epoch`` and ``recovery`` hold now; ``identity`` is what is durable.

    ``keep`` makes an identity durable.
    """

    def __init__(
        self,
        identity: NodeIdentity,
        keep: Callable[[NodeIdentity], None],
        *,
        roster: Roster,
        joining: Joining,
    ) -> None:
        self.standing = identity.standing
        self.formation = identity.formation
        self.epoch, self.recovery = identity.epoch, identity.recovery
        self.is_settled = False
        """Whether this node takes part with it."""
        self.kept = KeptIdentity(identity, keep)
        self._roster = roster
        self._joining = joining

    @property
    def identity(self) -> NodeIdentity:
        """What the folder says of itself, durably."""
        return self.kept.identity

    @property
    def node_id(self) -> str:
        """This node's id."""
        return self.identity.node_id

    @property
    def level(self) -> int:
        """The cluster's feature level, as far as this folder knows."""
        return self.identity.level

    @property
    def is_fresh(self) -> bool:
        """Whether this folder holds nothing yet that belongs to an epoch."""
        return self.identity.standing is Standing.NEW

    @property
    def first_membership(self) -> Membership:
        """The metadata group's members before its log names any. Known once this folder is settled."""
        return self._roster.first_membership(self.identity)

    def settle(self, met: Iterable[str]) -> None:
        """Make durable what was decided, before this node takes part. ``met``: the nodes that it has met,
        itself included. Raises ``IdentityProblem``.
        """
        self.is_settled = True
        if self._joining.is_newcomer and self.is_fresh:
            self._roster.joined_with(tuple(sorted(met)))
        joined = self.identity.joined or self._joining.is_newcomer
        self.kept.change(
            standing=self.standing,
            nodes=self._roster.formed_of,
            formation=self.formation,
            epoch=self.epoch,
            recovery=self.recovery,
            joined=joined,
            level=max(self.level, MEMBERSHIP) if joined else self.level,
        )

    def is_at(self, level: int) -> None:
        """The cluster is at least at this feature level."""
        if level > self.level:
            self.kept.try_change("feature_level_not_kept", level=level)

    def formed(self, name: str, met: Iterable[str]) -> None:
        """The metadata names this cluster; "" while it has no name. ``met``: as for ``settle``."""
        if not name or name == self.identity.formation:
            return
        if self.formation not in ("", name):
            _log.error("formation_differs", of_folder=self.formation, of_metadata=name)
            return
        self.formation = name
        try:
            self.settle(met)
        except IdentityProblem as error:
            _log.error("formation_not_kept", reason=str(error))

    def keep_epoch(self) -> None:
        """Try to make the epoch durable."""
        self.kept.try_change("cluster_epoch_not_kept", epoch=self.epoch, recovery=self.recovery)

    def keep_members(self) -> None:
        """Try to make the addresses of the cluster's nodes durable."""
        self.kept.try_change("members_not_kept", addresses=self._roster.addresses)

    def standpoint(self) -> Standpoint:
        """What it holds of a cluster, as others judge it."""
        # Earlier builds know only the list of the first nodes, and compare it with their own.
        listed = self._roster.formed_of if self.level < MEMBERSHIP else self._roster.members
        return Standpoint(
            self.node_id,
            self.standing,
            self.identity.incarnation,
            formation.digest(listed),
            formation.named(listed),
            self.formation,
            self.epoch,
            self.recovery,
            self.is_fresh,
            self.level,
            self._joining.is_newcomer and self.standing is Standing.NEW,
        )

    def announcement(self, lasting: Announcement, *, known_as: str, answer: int, leader: str) -> Announcement:
        """``lasting``, which says where this node is, with what holds at the moment. Only answers name
        the metadata's ``leader``.
        """
        me = self.standpoint()
        leader = "" if answer == Answer.NONE else leader
        return msgspec.structs.replace(
            lasting,
            known_as=known_as,
            standing=str(me.standing),
            formation=me.formation,
            nodes_digest=me.nodes_digest,
            names=me.names,
            boot=self.kept.boot.number,
            process=self.kept.boot.process,
            answer=answer,
            level=self.level,
            epoch=OF_NO_EPOCH if self.is_fresh else self.epoch,
            recovery=self.recovery,
            joins=me.joins,
            leader=leader,
            leader_peer=self._roster.addresses.get(leader, ""),
        )
