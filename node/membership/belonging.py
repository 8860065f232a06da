"""Which nodes belong to a cluster from feature level 3 on: those that the metadata names, whatever settings
say.

Two nodes that hold data belong together when their clusters have the same name. One of them may be behind
and not know the other yet: it accepts it all the same, or it could never catch up. A removed node is refused
by all that know of the removal. An empty folder is accepted where the metadata names its node; one that asks
to join waits until it does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from node.membership import formation
from node.membership.announcement import Answer
from node.membership.formation import Standpoint
from node.membership.identity import Standing
from node.metadata.levels import MEMBERSHIP


@dataclass(frozen=True, slots=True)
class Known:
    """What this node knows of another one besides its announcement."""

    members: Collection[str]
    """The cluster's nodes."""
    met: str = ""
    """The incarnation that the other node was first met under; "" when it never was."""
    removed: Mapping[str, str] = field(default_factory=dict)
    """Nodes that were removed from the cluster."""
    runs_elsewhere: bool = False
    """Whether a process with another folder is connected under the other node's id."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection is refused. ``answer``: what the other side is told."""

    reason: str
    answer: Answer = Answer.REFUSED


def refusal(mine: Standpoint, other: Standpoint, known: Known, answer: int) -> Refusal | None:
    """Why ``mine`` refuses ``other``, for now or for good; None where they belong together.

    ``answer`` is what ``other`` has answered to what ``mine`` said.
    """
    if mine.joins or other.joins:
        judged = _joining
    elif max(mine.level, other.level) < MEMBERSHIP:
        judged = _by_lists
    else:
        judged = _by_metadata
    return _taken(mine, other, known) or _told(mine, other, answer) or judged(mine, other, known)


def _taken(mine: Standpoint, other: Standpoint, known: Known) -> Refusal | None:
    if other.node_id != mine.node_id and (other.holds_data or not known.runs_elsewhere):
        return None
    return Refusal(
        f"another process runs under the id {other.node_id}, with another data folder: two nodes never share "
        f"an id. Correct node.id there, or stop the one that is to be replaced first",
        Answer.TAKEN,
    )


def _told(mine: Standpoint, other: Standpoint, answer: int) -> Refusal | None:
    match answer:
        case Answer.UNKNOWN:
            reason = (
                f"{other.node_id} holds data of a cluster formed of {other.names}, which knows no node "
                f"{mine.node_id}: start this node with --join HOST:PORT of one of them to add it; or, for a "
                f"new cluster, give all of its nodes empty folders"
            )
        case Answer.REMOVED:
            reason = removed_here(mine.node_id, other.node_id)
        case Answer.TAKEN:
            reason = (
                f"{other.node_id} is connected to another process with the id {mine.node_id}, or is it: "
                f"two nodes never share an id. Correct node.id here, or stop the other one first"
            )
        case _:
            return None
    return Refusal(reason)  # The other side knows.


def _by_lists(mine: Standpoint, other: Standpoint, known: Known) -> Refusal | None:
    reason = formation.refusal(mine, other, expected=known.members, met=known.met)
    return None if reason is None else Refusal(reason)


def _by_metadata(mine: Standpoint, other: Standpoint, known: Known) -> Refusal | None:
    if refused := _other_name(mine, other):
        return refused
    if not mine.holds_data:
        return None
    if other.node_id in known.removed:
        return _removed(other.node_id)
    if other.holds_data and mine.formation and other.formation:
        return None
    if other.node_id not in known.members:
        return _unknown(mine, other)
    # The cluster has no name yet: then its nodes are those that form it, and all of them have met.
    is_apart = other.standing is Standing.MEMBER and known.met not in ("", other.incarnation)
    return _apart(other) if is_apart else None


def _joining(mine: Standpoint, other: Standpoint, known: Known) -> Refusal | None:
    """The refusal where at least one of them has an empty folder and asks to join."""
    joiner, member = (mine, other) if mine.joins else (other, mine)
    if member.joins or not (member.holds_data and member.formation):
        return _none_to_join(mine, other, known)
    if member.level < MEMBERSHIP:
        return Refusal(
            f"{joiner.node_id} wants to join the cluster of {member.node_id}, which is at feature level "
            f"{member.level}, and nodes are added from level {MEMBERSHIP} on: run 'floodmark cluster upgrade "
            f"--finalize' there once all of its nodes run this version"
        )
    if (refused := _other_name(mine, other)) or mine.joins:
        return refused
    if other.node_id in known.removed:
        return _removed(other.node_id)
    is_known = other.node_id in known.members
    return None if is_known else Refusal(f"{other.node_id} waits to be registered", Answer.WAITS)


def _none_to_join(mine: Standpoint, other: Standpoint, known: Known) -> Refusal:
    if mine.joins or mine.holds_data or other.node_id not in known.members:
        none = other if mine.joins else mine
        return Refusal(
            f"{none.node_id} belongs to no cluster that has formed, so there is none to join there yet",
            Answer.WAITS,
        )
    return Refusal(
        f"{other.node_id} was started with --join and waits for a cluster that is there, while this node "
        f"waits for it to form one: start it without --join"
    )


def _other_name(mine: Standpoint, other: Standpoint) -> Refusal | None:
    both = mine.formation and other.formation
    return _apart(other) if both and mine.formation != other.formation else None


def _apart(other: Standpoint) -> Refusal:
    return Refusal(
        f"{other.node_id} belongs to another cluster (of {other.names}) than this node, or than others that "
        f"were met: correct cluster.join, cluster.peers or node.data_dir; two clusters never become one"
    )


def _unknown(mine: Standpoint, other: Standpoint) -> Refusal:
    return Refusal(
        f"{other.node_id} is not one of the nodes of this cluster ({mine.names}): start it with an empty "
        f"folder and --join HOST:PORT to add it, give it the node.id of one that it replaces, or stop it",
        Answer.UNKNOWN,
    )


def _removed(node_id: str) -> Refusal:
    return Refusal(
        f"{node_id} was removed from this cluster, and its id never returns: stop it, or start it with "
        f"another node.id, an empty folder and --join",
        Answer.REMOVED,
    )


def removed_here(node_id: str, told_by: str = "") -> str:
    """What a removed node reports about itself."""
    told = f", as {told_by} says" if told_by else ""
    return (
        f"this node was removed from the cluster{told}, and the id {node_id} never returns: start it with "
        f"another node.id, an empty folder and --join; what this folder holds stays as it is"
    )
