"""What nodes say of themselves when a link stands, and what follows from it.

The metadata leader registers nodes from their announcements, so that a node is found before anybody knows its
address. A node learns from its peers whether they have known it with another data folder before, or have seen
its folder in a later state than it is in. And whoever is of another cluster, or of none that this node may be
in, is refused on both sides (``formation.py``).
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from consensus.handshake import ANNOUNCEMENT_BYTES_MAX
from consensus.link_types import Reception
from consensus.throttle import ThrottledLog
from node import epochs, formation
from node.epochs import OF_NO_EPOCH
from node.formation import Standpoint
from node.identity import IdentityProblem, NodeIdentity, Standing
from node.metadata.commands import RegisterNode
from node.metadata.levels import THIS_BUILD, Levels
from node.metadata.state import MetadataState
from node.registry import Boot, Registry

REFUSAL_SHOWN_S: Final = 60.0
"""For how long /readyz names a node that was refused and came no more."""
REFUSALS_MAX: Final = 64
NO_ANSWER: Final = -1
REFUSED: Final = -2

_log = structlog.get_logger(__name__)


class Announcement(msgspec.Struct, frozen=True, array_like=True):
    """What travels in the handshake of a link. ``known_as``: the incarnation you were first met under."""

    node_id: str
    http: str
    peer: str
    incarnation: str
    rack: str
    known_as: str
    standing: str = ""
    formation: str = ""
    nodes_digest: str = ""
    names: str = ""
    boot: int = 0
    process: str = ""
    answer: int = NO_ANSWER
    """To what you have just said: 0 for fine, REFUSED, or the number of a later start of your folder."""
    levels: tuple[int, int] = (1, 1)
    """The lowest and the highest feature level that its build knows."""
    level: int = 1
    """The feature level of the cluster, as far as the node knows."""
    epoch: int = 0
    """The cluster's epoch; ``OF_NO_EPOCH`` of a folder that is to take over that of others."""
    recovery: str = ""

    def registration(self) -> RegisterNode:
        """The command that makes this known to the cluster."""
        return RegisterNode(self.node_id, self.http, self.peer, self.incarnation, self.rack, self.levels)

    def standpoint(self) -> Standpoint:
        """What it holds of a cluster. Raises ``ValueError`` for words that are not known here."""
        return Standpoint(
            self.node_id,
            Standing(self.standing),
            self.incarnation,
            self.nodes_digest,
            self.names,
            self.formation,
            self.epoch,
            self.recovery,
            self.epoch == OF_NO_EPOCH,
        )


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Announcement)


class Presence:
    """The announcements of all nodes that were met since the start, this one's included.

    ``nodes``: those that this folder's cluster was formed of; empty for a folder that holds no data. ``keep``
    makes the folder's identity durable.
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
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.on_set_back: Callable[[], None] = lambda: None
        """This folder is an old copy: what it promised since then is forgotten here. Called once."""
        self.nodes: dict[str, Announcement] = {}
        self.decided = asyncio.Event()
        """Whether this folder is a first one or a replacement is known."""
        self.answered = asyncio.Event()
        """All other nodes of the cluster have said that this folder is as new as they know it."""
        self.standing = identity.standing
        self.formation = identity.formation
        self.members = nodes or tuple(initial_nodes)
        self.misplaced = formation.misplaced(nodes, initial_nodes) if nodes else None
        """Why this folder does not go with the settings."""
        self.outdated: str | None = None
        """Why this folder, which a recovery of the cluster left out, may take part in nothing."""
        self.epoch, self.recovery = identity.epoch, identity.recovery
        self.identity = identity
        self.levels = levels
        self._keep = keep
        self._keeping = threading.Lock()
        self._registry = registry
        self._throttled = ThrottledLog(__name__)
        self._boot = Boot(identity.boot, secrets.token_hex(4))
        self._unheard = set(self.members) - {identity.node_id}
        self._unanswered = set(self._unheard)
        self._answers: dict[str, int] = {}
        self._refusals: dict[str, tuple[float, str]] = {}
        self._is_set_back = self._is_settled = False
        self._decide()

    def introduce(self, *, http: str, peer: str, rack: str) -> None:
        """This node's own addresses; to be called before any link stands."""
        me = self.identity
        known = (self.levels.lowest, self.levels.highest)
        self.nodes[me.node_id] = Announcement(me.node_id, http, peer, me.incarnation, rack, "", levels=known)

    def announce(self, peer: str) -> bytes:
        """What this node says to ``peer``, which it dials."""
        return self._announcement(peer, NO_ANSWER)

    def answer(self, peer: str) -> bytes:
        """What it says to one that dials, and was heard just now."""
        return self._announcement(peer, self._answers.pop(peer, REFUSED))

    def heard(self, peer: str, raw: bytes) -> Reception:
        """What an authenticated peer says of itself."""
        self._answers[peer] = REFUSED  # before anything else is known
        try:
            said = _DECODER.decode(raw)
            other = said.standpoint()
        except (msgspec.DecodeError, ValueError) as error:
            self._throttled.warning("announcement_not_understood", peer=peer, reason=str(error))
            return Reception.REFUSED
        if said.node_id != peer:
            self._throttled.warning("announcement_of_another_node", peer=peer, claimed=said.node_id)
            return Reception.REFUSED
        reception = self._receive(said, other)
        if reception is Reception.WELCOME:
            self._answers[peer] = 0
        return reception

    def _receive(self, said: Announcement, other: Standpoint) -> Reception:
        peer = said.node_id
        met = self._registry.peers.get(peer, "")
        me = self._standpoint()
        reason = formation.refusal(me, other, expected=self.members, met=met)
        if reason is None:
            reason = self._epoch_refusal(me, other)
        if reason is None:
            reason = self._level_refusal(said)
        if reason is None and said.answer == REFUSED:
            reason = f"{peer} refuses this node: its log says why"
        if reason is not None:
            self._refuse(peer, reason)
            return Reception.REFUSED
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

    def _accept(self, said: Announcement) -> None:
        peer = said.node_id
        self._refusals.pop(peer, None)
        self._unheard.discard(peer)
        if said.answer == 0:
            self._unanswered.discard(peer)
        if self.standing is not Standing.MEMBER:
            self.formation = self.formation or said.formation
        if self._is_fresh and said.epoch > self.epoch:
            self.epoch, self.recovery = said.epoch, said.recovery
        if self.standing is Standing.NEW and said.known_as not in ("", self.identity.incarnation):
            _log.error(
                "data_folder_replaced",
                known_by=peer,
                hint="this node has had another folder: it fetches all anew, and has no vote before",
            )
            self.standing = Standing.WIPED
        self._decide()
        lasting = msgspec.structs.replace(said, known_as="", answer=NO_ANSWER, level=1, epoch=0, recovery="")
        if self.nodes.get(peer) != lasting:
            self.nodes[peer] = lasting
            self.on_change()

    def _epoch_refusal(self, mine: Standpoint, other: Standpoint) -> str | None:
        reason = epochs.refusal(mine, other)
        if reason is not None and other.epoch > mine.epoch and not self._is_settled:
            self.outdated = reason
        return reason

    def _level_refusal(self, said: Announcement) -> str | None:
        """Why one of the two nodes is of a build that can not work in the cluster as it is by now."""
        lowest, highest = said.levels
        if not lowest <= self.level <= highest:
            return _other_build(said.node_id, lowest, highest, self.level, "there")
        if not self.levels.knows(said.level):
            return _other_build("this node", self.levels.lowest, self.levels.highest, said.level, "here")
        return None

    @property
    def level(self) -> int:
        """The cluster's feature level, as far as this folder knows."""
        return self.identity.level

    def is_at(self, level: int) -> None:
        """The metadata say which feature level the cluster is at. Called at every change."""
        if level > self.level:
            try:
                self._change(level=level)
            except IdentityProblem as error:
                _log.error("feature_level_not_kept", level=level, reason=str(error))

    def recovered(self, epoch: int, recovery: str) -> None:
        """The metadata say which epoch the cluster is in. Called at every change."""
        if epoch > self.epoch:
            self.epoch, self.recovery = epoch, recovery
            try:
                self._change(epoch=epoch, recovery=recovery)
            except IdentityProblem as error:
                _log.error("cluster_epoch_not_kept", epoch=epoch, reason=str(error))

    @property
    def _is_fresh(self) -> bool:
        """Whether this folder holds nothing yet that would be of an epoch."""
        return self.identity.standing is Standing.NEW

    @property
    def unheard(self) -> list[str]:
        """Initial nodes that a new folder still has to hear before it may vote."""
        return sorted(self._unheard)

    @property
    def obstacles(self) -> list[str]:
        """Why this node does not take part yet; empty once it may."""
        if self.misplaced is not None:
            return [self.misplaced]
        if self.outdated is not None:
            return [self.outdated]
        if self.standing is Standing.NEW:
            return [f"a new data folder: waiting to hear from {', '.join(self.unheard)}"]
        if not self._is_settled:
            others = ", ".join(sorted(self._unanswered))
            return [f"waiting a moment for {others} to say whether this data folder is an old copy"]
        return []

    @property
    def refusals(self) -> list[str]:
        """Why nodes were refused lately, or refused this one."""
        since = time.monotonic() - REFUSAL_SHOWN_S
        return [reason for _, (at, reason) in sorted(self._refusals.items()) if at > since]

    def settle(self) -> None:
        """Make durable what was decided, before this node takes part. Raises ``IdentityProblem``."""
        self._is_settled = True
        self._change(
            standing=self.standing,
            nodes=self.members,
            formation=self.formation,
            epoch=self.epoch,
            recovery=self.recovery,
        )

    @property
    def boot(self) -> int:
        """The folder's boot number: what is told of it is durable."""
        return self._boot.number

    def raise_boot(self) -> None:
        """Let the folder's boot number rise, first on disk and then in what is told. Any thread may call.

        Raises ``IdentityProblem``: then the number before is told on.
        """
        self._change(boot=self._boot.number + 1)
        self._boot = Boot(self.identity.boot, self._boot.process)

    def _change(self, **fields: Any) -> None:
        with self._keeping:
            changed = msgspec.structs.replace(self.identity, **fields)
            if changed != self.identity:
                self._keep(changed)
                self.identity = changed

    def formed(self, name: str) -> None:
        """The metadata say what this cluster is called; "" while they do not. Called at every change."""
        if not name or name == self.identity.formation:
            return
        if self.formation not in ("", name):
            _log.error("formation_differs", of_folder=self.formation, of_metadata=name)
            return
        self.formation = name
        try:
            self.settle()
        except IdentityProblem as error:
            _log.error("formation_not_kept", reason=str(error))

    def unregistered(self, state: MetadataState) -> list[RegisterNode]:
        """What the cluster does not know yet of the nodes that were met."""
        commands = [said.registration() for _, said in sorted(self.nodes.items())]
        return [command for command in commands if not _is_registered(state, command)]

    def _announcement(self, peer: str, answer: int) -> bytes:
        me = self._standpoint()
        said = msgspec.structs.replace(
            self.nodes[self.identity.node_id],
            known_as=self._registry.peers.get(peer, ""),
            standing=str(me.standing),
            formation=me.formation,
            nodes_digest=me.nodes_digest,
            names=me.names,
            boot=self._boot.number,
            process=self._boot.process,
            answer=answer,
            level=self.level,
            epoch=OF_NO_EPOCH if self._is_fresh else self.epoch,
            recovery=self.recovery,
        )
        raw = _ENCODER.encode(said)
        if len(raw) > ANNOUNCEMENT_BYTES_MAX:
            raw = _ENCODER.encode(msgspec.structs.replace(said, names=f"{len(self.members)} nodes"))
        return raw

    def _standpoint(self) -> Standpoint:
        return Standpoint(
            self.identity.node_id,
            self.standing,
            self.identity.incarnation,
            formation.digest(self.members),
            formation.named(self.members),
            self.formation,
            self.epoch,
            self.recovery,
            self._is_fresh,
        )

    def _refuse(self, peer: str, reason: str) -> None:
        self._throttled.error("node_refused", peer=peer, reason=reason)
        self._refusals.pop(peer, None)
        self._refusals[peer] = (time.monotonic(), reason)
        if len(self._refusals) > REFUSALS_MAX:
            del self._refusals[next(iter(self._refusals))]
        if self.standing is Standing.NEW and peer in self.members:
            self._unheard.add(peer)

    def _set_back(self, peer: str, met: int) -> None:
        if self._is_set_back:
            return
        self._is_set_back = True
        _log.error(
            "data_folder_set_back",
            known_by=peer,
            boot=self._boot.number,
            met=met,
            hint="this folder is an old copy, without what this node has promised since: it counts as lost. "
            "All is fetched anew, and there is no vote before",
        )
        self.on_set_back()

    def _decide(self) -> None:
        if self.standing is Standing.NEW and not self._unheard:
            self.standing = Standing.MEMBER
        if self.standing is not Standing.NEW:
            self.decided.set()
        if not self._unanswered:
            self.answered.set()


def _other_build(who: str, lowest: int, highest: int, level: int, where: str) -> str:
    return (
        f"{who} knows feature levels {lowest} to {highest}, and the cluster is at {level}: start "
        f"{'a newer' if highest < level else 'an older'} Floodmark {where}"
    )


def _is_registered(state: MetadataState, command: RegisterNode) -> bool:
    entry = state.nodes.get(command.node_id)
    return entry is not None and (
        (entry.http, entry.peer, entry.incarnation, entry.rack, entry.levels)
        == (command.http, command.peer, command.incarnation, command.rack, command.levels)
    )
