"""Which nodes form a cluster, and which are refused: two nodes compare what they hold before anything else.

A cluster is *formed* when the empty folders of all its initial nodes have met: from then on each folder
names those nodes, and soon the formation too: a random name that the metadata leader gives once and for all.
A node that holds data of one formation takes part in no other, and nothing forms around one that holds data.
These are the rules of clusters below feature level 3; from there on those of ``belonging.py`` apply.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from consensus.core import checkpoint_format
from node.membership.identity import NodeIdentity, Standing
from node.membership.registry import Registry
from node.metadata.state import METADATA_GROUP
from storage import checkpoint
from storage.atomic_file import read_file
from storage.filesystem import FileSystem

NAMES_BYTES_MAX: Final = 120
"""How much of its list of nodes a node sends to others, for their messages."""


@dataclass(frozen=True, slots=True)
class Standpoint:
    """What one node holds of a cluster, or would form. ``nodes_digest`` stands for all of its nodes."""

    node_id: str
    standing: Standing
    incarnation: str
    nodes_digest: str
    names: str
    """As many of the nodes' names as there was room for; only for messages."""
    formation: str = ""
    """Empty until the metadata leader's name for it has arrived."""
    epoch: int = 0
    recovery: str = ""
    """The name of the last recovery from the loss of a majority; ``epoch`` counts them."""
    is_fresh: bool = False
    """Whether its folder has no epoch yet, and takes over that of the nodes that it meets."""
    level: int = 1
    """The cluster's feature level, as far as the node knows."""
    joins: bool = False
    """Whether it has an empty folder and joins an existing cluster."""

    @property
    def holds_data(self) -> bool:
        """Whether its folder has taken part in a cluster."""
        return self.standing is not Standing.NEW


def refusal(mine: Standpoint, other: Standpoint, *, expected: Collection[str], met: str) -> str | None:
    """Why ``mine`` refuses ``other``, and what to do; None where they belong together.

    ``expected``: the nodes of ``mine``'s cluster. ``met``: the incarnation that the other node was first met
    under, "" when it never was. Each side decides for itself.
    """
    if mine.holds_data and other.node_id not in expected:
        return (
            f"{other.node_id} is not one of the nodes that this cluster was formed of ({mine.names}), and "
            f"nodes are added from feature level 3 on: stop it, or give it the node.id of one that it "
            f"replaces"
        )
    if mine.nodes_digest != other.nodes_digest:
        return _other_nodes(mine, other)
    if other.node_id not in expected:
        return f"{other.node_id} claims to be one of {mine.names}: correct its node.id and cluster.peers"
    if _is_other_formation(mine, other, met):
        return (
            f"{other.node_id} holds data of another cluster than this node, or than others that were met, "
            f"though both were formed of {mine.names}: correct cluster.peers or node.data_dir; two clusters "
            f"never become one"
        )
    return None


def _is_other_formation(mine: Standpoint, other: Standpoint, met: str) -> bool:
    if mine.formation and other.formation:
        return mine.formation != other.formation
    if not (mine.holds_data and other.holds_data):
        return False
    # No name yet. But in one cluster all have met, and a replacement knows what it is.
    return other.standing is Standing.MEMBER and met not in ("", other.incarnation)


def _other_nodes(mine: Standpoint, other: Standpoint) -> str:
    if mine.holds_data and other.holds_data:
        return (
            f"{other.node_id} holds data of a cluster formed of {other.names}, this node of one formed of "
            f"{mine.names}: correct cluster.peers or node.data_dir; two clusters never become one"
        )
    if other.holds_data:
        return (
            f"{other.node_id} holds data of a cluster formed of {other.names}, and cluster.peers of this "
            f"node names {mine.names}: nothing is formed or joined here. Correct cluster.peers; or, for a "
            f"new cluster, give all of its nodes empty folders"
        )
    if mine.holds_data:
        return (
            f"cluster.peers of {other.node_id} names {other.names}, and this cluster was formed of "
            f"{mine.names}: correct cluster.peers there; nodes are added and removed from feature level 3 on"
        )
    return (
        f"cluster.peers of {other.node_id} names {other.names}, and that of this node {mine.names}: "
        f"nothing is formed before they are the same on every node"
    )


def misplaced(nodes: Collection[str], configured: Collection[str]) -> str | None:
    """Why a folder that holds data of a cluster of ``nodes`` does not run with these ``cluster.peers``."""
    if set(nodes) == set(configured):
        return None
    return (
        f"this data folder belongs to a cluster formed of {named(nodes)}, and cluster.peers names "
        f"{named(configured)}: this node takes part in nothing. Put cluster.peers back as it was; nodes are "
        f"not added or removed by this setting, and at all from feature level 3 on"
    )


def nodes_of(fs: FileSystem, data_dir: str, identity: NodeIdentity, registry: Registry) -> tuple[str, ...]:
    """The nodes of the cluster that a folder holds data of, sorted; empty while that is not known.

    Builds before 0.1.0 did not write them into ``node.json``: then the metadata's checkpoint tells its
    members, or the peers that were met, for all had to be before anything was stored.
    """
    if identity.standing is Standing.NEW or identity.nodes:
        return tuple(identity.nodes)
    raw = read_file(fs, f"{data_dir}/groups/{METADATA_GROUP}/{checkpoint.NAME}")
    stored = checkpoint.decode(raw).checkpoint if raw else None
    if stored is not None and stored.state:
        return tuple(sorted(checkpoint_format.decode(stored.state).memberships[-1][1].members))
    if identity.standing is Standing.WIPED:
        return ()
    return tuple(sorted({identity.node_id, *registry.peers}))


def digest(nodes: Iterable[str]) -> str:
    """A short name for a list of nodes, whatever its order."""
    return hashlib.sha256("\0".join(sorted(nodes)).encode()).hexdigest()[:16]


def named(nodes: Collection[str]) -> str:
    """The nodes' names for a message, shortened where there are many."""
    text = ", ".join(sorted(nodes))
    if len(text) <= NAMES_BYTES_MAX:
        return text
    return f"{text[: NAMES_BYTES_MAX - 20]}... ({len(nodes)} nodes)"
