"""What nodes say of themselves when a link stands, and what follows from it.

The metadata leader registers nodes from their announcements, so that a node is found before anybody knows its
address. A node learns from its peers whether they have known it with another data folder before, or have seen
its folder in a later state than it is in. And whoever is of another cluster, or of none that this node may be
in, is refused on both sides (``belonging.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from consensus.links.link_types import Reception
from consensus.throttle import ThrottledLog
from consensus.types import Membership
from node.membership import announcement, belonging, formation
from node.membership.announcement import Announcement, Answer
from node.membership.belonging import Refusal
from node.membership.epochs import OF_NO_EPOCH
from node.membership.formation import Standpoint
from node.membership.identity import IdentityProblem, NodeIdentity, Standing
from node.membership.joining import Joining
from node.membership.judge import Judge
from node.membership.own_folder import OwnFolder
from node.membership.refused import Refused
from node.membership.registrations import unregistered
from node.membership.registry import Boot, Registry
from node.membership.roster import Roster
from node.metadata.delta import MetadataDelta
from node.metadata.domains.nodes import RegisterNode
from node.metadata.levels import MEMBERSHIP, Levels
from node.metadata.state import MetadataState
from node.metadata.this_build import THIS_BUILD
from node.signal import Signal

_log = structlog.get_logger(__name__)


class Discovery:
    """The announcements of all nodes that were met since the start, this one's included.

    ``nodes``: those that this folder's cluster was formed of; empty for a folder that holds no data. ``keep``
    makes the folder's identity durable. ``joins``: an empty folder comes to a cluster that is there.
    """

    def __init__(
        self,
        identity: NodeIdentity,
        registry: Registry,
        *,
        initial_nodes: list[str],
        nodes: tuple[str, ...] = (),
        keep: Callable[[NodeIdentity], None],
        levels: Levels = THIS_BUILD,
        joins: bool = False,
    ) -> None:
        self.changed: Signal[[]] = Signal()
        """Something new is known of nodes."""
        self.past: Signal[[str]] = Signal()
        """A node that was met is of another epoch than this one by now: the two have to part."""
        self.set_back: Signal[[]] = Signal()
        """This folder is an old copy: what it promised since then is forgotten here. Called once."""
        self._is_connected: Callable[[str], bool] = lambda _node: False
        self._leader: Callable[[], str] = lambda: ""
        self.nodes: dict[str, Announcement] = {}
        self.decided = asyncio.Event()
        """Whether this folder is a first one or a replacement is known, and that it has a place here."""
        self.answered = asyncio.Event()
        """All other nodes of the cluster have said that this folder is as new as they know it."""
        self.joining = Joining(is_newcomer=joins and identity.standing is Standing.NEW)
        self.roster = Roster(identity, nodes or tuple(initial_nodes))
        self.own = OwnFolder(identity, keep, roster=self.roster, joining=self.joining)
        is_listed = bool(nodes) and identity.level < MEMBERSHIP
        self.misplaced = formation.misplaced(nodes, initial_nodes) if is_listed else None
        """Why this folder does not go with the settings."""
        self._met_in: dict[str, tuple[int, str]] = {}
        """The epoch and the recovery that each node named when it was met; not of empty folders."""
        self.levels = levels
        self._registry = registry
        self._judge = Judge(self.own, self.roster, registry, levels)
        self._throttled = ThrottledLog(__name__)
        self._unheard = set(self.members) - {identity.node_id}
        self._unanswered = set(self._unheard)
        self._answers: dict[str, int] = {}
        self._refused = Refused()
        self._removed_by = ""
        self._is_set_back = False
        self._decide()

    def attach(self, *, is_connected: Callable[[str], bool], leader: Callable[[], str]) -> None:
        """What only parts made later can tell: whether a node that was met is there now, and who leads the
        metadata, as far as is known; "" where it is not.
        """
        self._is_connected, self._leader = is_connected, leader

    def introduce(self, *, http: str, peer: str, rack: str) -> None:
        """This node's own addresses; to be called before any link stands."""
        me = self.identity
        known = (self.levels.lowest, self.levels.highest)
        self.nodes[me.node_id] = Announcement(me.node_id, http, peer, me.incarnation, rack, "", levels=known)

    def announce(self, peer: str) -> bytes:
        """What this node says to ``peer``, which it dials."""
        return self._announcement(peer, Answer.NONE)

    def answer(self, peer: str) -> bytes:
        """What it says to one that dials, and was heard just now."""
        return self._announcement(peer, self._answers.pop(peer, Answer.REFUSED))

    def tls_refused(self, peer: str, reason: str) -> None:
        """There is no link with a node, because of TLS."""
        self._refused.add(peer, reason)

    def probed(self, address: str, raw: bytes, certified: str = "") -> None:
        """What the node at a seed's address says of itself, and whom its certificate names, if it has one."""
        try:
            peer = announcement.decode(raw).node_id
        except msgspec.DecodeError:
            self.joining.failed(address, "what it says of itself is not understood")
            return
        if certified not in ("", peer):
            reason = f"{address} says that it is {peer}, and its certificate is for node {certified}"
            self.joining.failed(address, reason)
            self.tls_refused(certified, reason)
            return
        self.joining.heard(address)
        self.heard(peer, raw)

    def heard(self, peer: str, raw: bytes) -> Reception:
        """What an authenticated peer says of itself."""
        self._answers[peer] = Answer.REFUSED  # before anything else is known
        try:
            said = announcement.decode(raw)
            other = said.standpoint()
        except (msgspec.DecodeError, ValueError) as error:
            self._throttled.warning("announcement_not_understood", peer=peer, reason=str(error))
            return Reception.REFUSED
        if said.node_id != peer:
            self._throttled.warning("announcement_of_another_node", peer=peer, claimed=said.node_id)
            return Reception.REFUSED
        reception = self._receive(said, other)
        if reception is Reception.WELCOME:
            self._answers[peer] = Answer.FINE
        return reception

    def _receive(self, said: Announcement, other: Standpoint) -> Reception:
        peer = said.node_id
        refusal = self._refusal(said, other)
        if refusal is None and said.answer == Answer.WAITS:
            refusal = Refusal(f"{peer} has asked for this node to be registered", Answer.WAITS)
        if refusal is not None:
            self._answers[peer] = refusal.answer
            return self._turned_away(said, refusal)
        if said.answer > 0:
            self._set_back(peer, said.answer)
            return Reception.REFUSED
        boot = Boot(said.boot, said.process)
        newer = self._registry.newer_than(peer, said.incarnation, boot)
        if newer is not None:
            self._answers[peer] = newer.number
            self._throttled.error("peer_folder_set_back", peer=peer, boot=said.boot, met=newer.number)
            return Reception.REFUSED
        try:
            self._registry.met(peer, said.incarnation)
            self._registry.met_boot(peer, said.incarnation, boot)
        except IdentityProblem as error:
            _log.error("peer_not_registered", peer=peer, reason=str(error))
            return Reception.UNKEPT
        self._accept(said)
        return Reception.WELCOME

    def _turned_away(self, said: Announcement, refusal: Refusal) -> Reception:
        if refusal.answer is Answer.WAITS:
            if self.joining.is_newcomer:
                self.own.formation = self.own.formation or said.formation
            # Seeds may be of two clusters: a newcomer asks those of one for a place, once it has chosen it.
            is_ours = said.formation == self.own.formation != ""
            if self.joining.waits(said, refusal.reason, is_ours=is_ours):
                self.changed()
            return Reception.WAITS
        if said.answer == Answer.REMOVED and self.own.formation in ("", said.formation):
            self._removed_by = said.node_id
            self.changed()
        self._refuse(said.node_id, refusal.reason)
        return Reception.REFUSED

    def _refusal(self, said: Announcement, other: Standpoint) -> Refusal | None:
        met = self.nodes.get(said.node_id)
        is_other = met is not None and met.incarnation != said.incarnation
        runs_elsewhere = is_other and self._is_connected(said.node_id)
        return self._judge.refusal(said, other, runs_elsewhere=runs_elsewhere)

    def _accept(self, said: Announcement) -> None:
        peer = said.node_id
        self._refused.forgive(peer)
        self.joining.heard(peer)
        self._unheard.discard(peer)
        if said.answer == Answer.FINE:
            self._unanswered.discard(peer)
            self.joining.has_place = True
        if self.standing is not Standing.MEMBER:
            self.own.formation = self.own.formation or said.formation
            self.own.is_at(said.level)  # It says whether to look for others than the settings name.
        if self.own.is_fresh and said.epoch > self.own.epoch:
            self._enter(said.epoch, said.recovery)
        if said.epoch != OF_NO_EPOCH:
            self._met_in[peer] = said.epoch, said.recovery
        if self.standing is Standing.NEW and said.known_as not in ("", self.identity.incarnation):
            _log.error(
                "data_folder_replaced",
                known_by=peer,
                hint="this node has had another folder: it fetches everything again, and has no vote before",
            )
            self.own.standing = Standing.WIPED
        lasting = said.lasting()
        changed = self.nodes.get(peer) != lasting
        if said.leader != self.identity.node_id and self.joining.leader_is(said.leader, said.leader_peer):
            changed = True
        self.nodes[peer] = lasting
        self._decide()
        if changed:
            self.changed()

    @property
    def identity(self) -> NodeIdentity:
        """What the folder says of itself, durably."""
        return self.own.identity

    @property
    def standing(self) -> Standing:
        """What this folder is in its cluster, as far as is decided."""
        return self.own.standing

    @property
    def level(self) -> int:
        """The cluster's feature level, as far as this folder knows."""
        return self.own.level

    @property
    def members(self) -> tuple[str, ...]:
        """The cluster's nodes, as far as is known here."""
        return self.roster.members

    def metadata_changed(self, state: MetadataState, delta: MetadataDelta) -> None:
        """Go by what the metadata say of the cluster and its nodes; again where the disk did not keep it."""
        told = delta.concerns("nodes", "level", "formation", "recoveries", "removed")
        if told or self.own.kept.is_behind:
            self.own.kept.is_behind = False
            self.own.formed(state.formation, self.nodes)
            self.own.is_at(state.level)
            self.recovered(state.cluster_epoch, state.recovery)
            self.members_are(state)
            self.changed()

    def recovered(self, epoch: int, recovery: str) -> None:
        """The metadata say which epoch the cluster is in."""
        if epoch > self.own.epoch:
            self._enter(epoch, recovery)
            self.own.keep_epoch()

    def _enter(self, epoch: int, recovery: str) -> None:
        """What was met in another epoch is judged again: links outlive what they were judged by."""
        self.own.epoch, self.own.recovery = epoch, recovery
        for node, met_in in list(self._met_in.items()):
            if met_in != (epoch, recovery):
                del self._met_in[node]
                self.nodes.pop(node, None)
                self.past(node)

    @property
    def unheard(self) -> list[str]:
        """Initial nodes that a new folder still has to hear before it may vote."""
        return sorted(self._unheard)

    @property
    def removed(self) -> str | None:
        """Why this node has no place in its cluster any more; None while it has one."""
        if self._removed_by or self.identity.node_id in self.roster.removed:
            return belonging.removed_here(self.identity.node_id, self._removed_by)
        return None

    @property
    def outdated(self) -> str | None:
        """Why this folder, which a recovery of the cluster left out, may take part in nothing; else None."""
        return self._judge.outdated

    @property
    def obstacles(self) -> list[str]:
        """Why this node does not take part yet, or any more; empty while it may."""
        if lasting := self.removed or self.misplaced or self.outdated:
            return [lasting]
        if self.standing is Standing.NEW:
            if self.joining.is_newcomer:
                return [str(self.joining)]
            return [f"a new data folder: waiting to hear from {', '.join(self.unheard)}"]
        if not self.own.is_settled:
            others = ", ".join(sorted(self._unanswered))
            return [f"waiting a moment for {others} to say whether this data folder is an old copy"]
        return []

    @property
    def refusals(self) -> list[str]:
        """Why nodes were refused lately, or refused this one."""
        return self._refused.reasons

    @property
    def first_membership(self) -> Membership:
        """Of the metadata group, before its log says anything. Known once this folder is settled."""
        return self.own.first_membership

    def settle(self) -> None:
        """Make durable what was decided, before this node takes part. Raises ``IdentityProblem``."""
        self.own.settle(self.nodes)

    @property
    def boot(self) -> int:
        """The folder's boot number: what is told of it is durable."""
        return self.own.kept.boot.number

    def raise_boot(self) -> None:
        """Let the folder's boot number rise, first on disk and then in what is told. Any thread may call.

        Raises ``IdentityProblem``: then the number before is told on.
        """
        self.own.kept.raise_boot()

    def members_are(self, state: MetadataState) -> None:
        """The metadata say who belongs to the cluster."""
        self.roster.told(state)
        self.joining.registered(state.nodes)
        for node in self.roster.removed.keys() & self.nodes.keys() - {self.identity.node_id}:
            del self.nodes[node]
        self.own.keep_members()

    def unregistered(self, state: MetadataState) -> list[RegisterNode]:
        """What the cluster does not know yet of the nodes that were met."""
        return unregistered(state, met=self.nodes, asking=self.joining.asking, lost=self.roster.lost)

    def _announcement(self, peer: str, answer: int) -> bytes:
        said = self.own.announcement(
            self.nodes[self.own.node_id],
            known_as=self._registry.peers.get(peer) or self.roster.incarnations.get(peer, ""),
            answer=answer,
            leader=self._leader(),
        )
        return announcement.encode(said, len(self.members))

    def _refuse(self, peer: str, reason: str) -> None:
        self._refused.add(peer, reason)
        self.joining.heard(peer)
        if self.standing is Standing.NEW and peer in self.members and peer != self.identity.node_id:
            self._unheard.add(peer)

    def _set_back(self, peer: str, met: int) -> None:
        if self._is_set_back:
            return
        self._is_set_back = True
        _log.error(
            "data_folder_set_back",
            known_by=peer,
            boot=self.boot,
            met=met,
            hint="this folder is an old copy, without what this node has promised since: it counts as lost. "
            "All is fetched again, and there is no vote before",
        )
        self.set_back()

    def _decide(self) -> None:
        has_place = self.joining.has_place if self.joining.is_newcomer else not self._unheard
        if self.standing is Standing.NEW and has_place:
            self.own.standing = Standing.MEMBER
        if self.standing is not Standing.NEW:
            self.decided.set()
        if not self._unanswered:
            self.answered.set()
