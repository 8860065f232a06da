"""What nodes say of themselves when a link stands, and what follows from it.

The metadata leader registers nodes from their announcements, so that a node is found before anybody knows its
address; and a node learns from its peers whether they have known it with another data folder before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from node.identity import IdentityProblem, NodeIdentity, Standing
from node.metadata.commands import RegisterNode
from node.metadata.state import MetadataState
from node.registry import Registry

_log = structlog.get_logger(__name__)


class Announcement(msgspec.Struct, frozen=True, array_like=True):
    """What travels in the handshake of a link. ``known_as``: the incarnation you were first met under."""

    node_id: str
    http: str
    peer: str
    incarnation: str
    rack: str
    known_as: str

    def registration(self) -> RegisterNode:
        """The command that makes this known to the cluster."""
        return RegisterNode(self.node_id, self.http, self.peer, self.incarnation, self.rack)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Announcement)


class Presence:
    """The announcements of all nodes that were met since the start, this one's included."""

    def __init__(
        self,
        identity: NodeIdentity,
        registry: Registry,
        *,
        initial_nodes: list[str],
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.nodes: dict[str, Announcement] = {}
        self.decided = asyncio.Event()
        """Whether this folder is a first one or a replacement is known."""
        self.standing = identity.standing
        self._identity = identity
        self._registry = registry
        self._unheard = set(initial_nodes) - {identity.node_id}
        self._decide()

    def introduce(self, *, http: str, peer: str, rack: str) -> None:
        """This node's own addresses; to be called before any link stands."""
        me = self._identity
        self.nodes[me.node_id] = Announcement(me.node_id, http, peer, me.incarnation, rack, "")

    def announce(self, peer: str) -> bytes:
        """What this node says to ``peer``."""
        mine = self.nodes[self._identity.node_id]
        return _ENCODER.encode(msgspec.structs.replace(mine, known_as=self._registry.peers.get(peer, "")))

    def heard(self, peer: str, raw: bytes) -> bool:
        """What an authenticated peer says of itself; False when the disk does not take it."""
        try:
            said = _DECODER.decode(raw)
        except msgspec.DecodeError as error:
            _log.warning("announcement_not_understood", peer=peer, reason=str(error))
            return True
        if said.node_id != peer:
            _log.warning("announcement_of_another_node", peer=peer, claimed=said.node_id)
            return True
        try:
            self._registry.met(peer, said.incarnation)
        except IdentityProblem as error:
            _log.error("peer_not_registered", peer=peer, reason=str(error))
            return False
        self._unheard.discard(peer)
        if self.standing is Standing.NEW and said.known_as not in ("", self._identity.incarnation):
            _log.error(
                "data_folder_replaced",
                known_by=peer,
                hint="this node has had another folder: it fetches all anew, and has no vote before",
            )
            self.standing = Standing.WIPED
        self._decide()
        lasting = msgspec.structs.replace(said, known_as="")
        if self.nodes.get(peer) != lasting:
            self.nodes[peer] = lasting
            self.on_change()
        return True

    @property
    def unheard(self) -> list[str]:
        """Initial nodes that a new folder still has to hear before it may vote."""
        return sorted(self._unheard)

    def unregistered(self, state: MetadataState) -> list[RegisterNode]:
        """What the cluster does not know yet of the nodes that were met."""
        commands = [said.registration() for _, said in sorted(self.nodes.items())]
        return [command for command in commands if not _is_registered(state, command)]

    def _decide(self) -> None:
        if self.standing is Standing.NEW and not self._unheard:
            self.standing = Standing.MEMBER
        if self.standing is not Standing.NEW:
            self.decided.set()


def _is_registered(state: MetadataState, command: RegisterNode) -> bool:
    entry = state.nodes.get(command.node_id)
    return entry is not None and (entry.http, entry.peer, entry.incarnation, entry.rack) == (
        command.http,
        command.peer,
        command.incarnation,
        command.rack,
    )
