"""What nodes say of themselves in the handshake of a link, encoded."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from consensus.links.handshake import ANNOUNCEMENT_BYTES_MAX
from node.membership.epochs import OF_NO_EPOCH
from node.membership.formation import Standpoint
from node.membership.identity import Standing
from node.metadata.domains.nodes import JoinNode, RegisterNode


class Answer(enum.IntEnum):
    """Special answers. An answer above 0 is the boot number of a later start of the other node's folder."""

    FINE = 0
    NONE = -1
    """Not an answer, but the opening announcement."""
    REFUSED = -2
    UNKNOWN = -3
    """You are not one of this cluster's nodes."""
    REMOVED = -4
    """You were removed, and your id is never reused."""
    WAITS = -5
    """You asked to join, and are not registered yet."""
    TAKEN = -6
    """Another process is connected under your id."""


class Announcement(msgspec.Struct, frozen=True, array_like=True):
    """``known_as``: the incarnation that you were first met under. Fields are only ever added at the end."""

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
    answer: int = Answer.NONE
    """To your announcement: an ``Answer``, or the boot number of a later start of your folder."""
    levels: tuple[int, int] = (1, 1)
    """The lowest and the highest feature level that its build knows."""
    level: int = 1
    """The feature level of the cluster, as far as the node knows."""
    epoch: int = 0
    """The cluster's epoch; ``OF_NO_EPOCH`` of a folder that is to take over that of others."""
    recovery: str = ""
    joins: bool = False
    """It has an empty folder and wants to join an existing cluster."""
    leader: str = ""
    leader_peer: str = ""
    """In an answer: the metadata's leader, which registers nodes, and its peer address. A node that joins, or
    was away while all others changed their addresses, may have nobody else to ask."""

    def lasting(self) -> Announcement:
        """Without the fields that change from one connection to the next."""
        return msgspec.structs.replace(
            self,
            known_as="",
            answer=Answer.NONE,
            level=1,
            epoch=0,
            recovery="",
            leader="",
            leader_peer="",
        )

    def registration(self) -> RegisterNode:
        """The command that makes this known to the cluster."""
        return RegisterNode(self.node_id, self.http, self.peer, self.incarnation, self.rack, self.levels)

    def joining(self) -> JoinNode:
        """The command that makes it one of the cluster's nodes."""
        return JoinNode(self.node_id, self.http, self.peer, self.incarnation, self.rack, self.levels)

    def standpoint(self) -> Standpoint:
        """What it holds of a cluster. Raises ``ValueError`` for unknown values."""
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
            self.level,
            self.joins,
        )


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Announcement)


def encode(said: Announcement, members: int) -> bytes:
    """At most 512 bytes: fields that are only for people, or can be had elsewhere, are dropped if need be."""
    if said.answer == Answer.WAITS:  # This answer registers nothing.
        said = msgspec.structs.replace(said, http="", rack="")
    for shorter in ({}, {"names": f"{members} nodes"}, {"leader": "", "leader_peer": ""}):
        said = msgspec.structs.replace(said, **shorter)
        raw = _ENCODER.encode(said)
        if len(raw) <= ANNOUNCEMENT_BYTES_MAX:
            break
    return raw


def decode(raw: bytes) -> Announcement:
    """Raises ``msgspec.DecodeError``."""
    try:
        return _DECODER.decode(raw)
    except (UnicodeDecodeError, RecursionError) as error:  # Which decoders raise as they are.
        raise msgspec.DecodeError(str(error)) from error
