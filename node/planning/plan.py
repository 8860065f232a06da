"""What moves next, computed from the state and the nodes alone, so that any leader plans the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from node.metadata.domains.moves import MoveReplicas
from node.metadata.domains.shape import DRAIN, REBALANCE, REPAIR
from node.metadata.holders import targets_of
from node.metadata.state import MetadataState
from node.planning.even import even_preferred, even_replicas, is_even
from node.planning.layout import Layout
from node.planning.repair import repair

UNDER_WAY_MAX: Final = 64
"""The most moves that are queued or started at once: the rest is planned when these are done."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes as a plan sees them. ``takes``: those that take replicas now. ``dead``: silent for long."""

    takes: Collection[str]
    dead: Collection[str] = ()
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Node -> why it takes none now."""
    unsaid: Collection[str] = ()
    """Nodes that are alive but did not answer in time: they may take replicas soon."""
    sizes: Mapping[int, int] = field(default_factory=dict)
    """Bytes of partitions by group id, as far as known."""


def next_moves(state: MetadataState, nodes: Nodes, *, limit: int = UNDER_WAY_MAX) -> list[MoveReplicas]:
    """The moves to ask for now; empty when there is nothing to plan, or nothing yet."""
    room = limit - len(state.moves)
    if room < limit // 2:
        return []
    planned = repairs(state, nodes, limit=room)
    if not planned and state.rebalancing:
        planned = rebalance(state, nodes, limit=room)
    if not planned and state.draining and not state.moves:
        planned = leaders_of_drained(state, nodes)
    return planned


def is_wanted(state: MetadataState, dead: Collection[str]) -> bool:
    """Whether there may be anything to plan; quick in the usual case that there is nothing."""
    return bool(state.draining or state.rebalancing) or _is_astray(state, set(dead))


def _is_astray(state: MetadataState, leave: Collection[str]) -> bool:
    """Whether there are replicas on nodes of ``leave``, too few of them, or too many."""
    gone = set(leave)
    return any(
        len(targets) != topic.replication_factor or not gone.isdisjoint(targets)
        for topic in state.topics.values()
        for entry in topic.partitions
        for targets in (targets_of(entry, state.moves.get(entry.raft_group)),)
    )


def repairs(state: MetadataState, nodes: Nodes, *, limit: int) -> list[MoveReplicas]:
    """Away from nodes that are drained or dead, and to as many replicas as the topics want."""
    leave = {*state.draining, *nodes.dead}
    if not _is_astray(state, leave):
        return []
    all_racks = {node: entry.rack for node, entry in state.nodes.items()}
    racks = {node: all_racks[node] for node in sorted(nodes.takes) if node in all_racks and node not in leave}
    layout = Layout(state)
    heirs = state.retiring
    if nodes.unsaid:  # A late answer is no reason to give a node up.
        heirs = {node: heir for node, heir in heirs.items() if heir}
    repair(layout, racks, leave=leave, heirs=heirs, all_racks=all_racks, limit=limit)
    drained = [part for part in layout.changed() if set(part.before) & leave]
    others = [part for part in layout.changed() if not set(part.before) & leave]
    return [
        MoveReplicas([part.reassignment() for part in parts], reason)
        for parts, reason in ((drained, DRAIN), (others, REPAIR))
        if parts
    ]


def leaders_of_drained(state: MetadataState, nodes: Nodes) -> list[MoveReplicas]:
    """Nodes that take over from drained ones may lead more than their share: the others take some of it."""
    racks = _taking(state, nodes)
    leads = Counter(entry.replicas[0] for topic in state.topics.values() for entry in topic.partitions)
    if not racks or is_even([leads[node] for node in racks]):
        return []
    layout = Layout(state)
    even_preferred(layout, racks)
    changed = layout.changed()
    return [MoveReplicas([part.reassignment() for part in changed], DRAIN)] if changed else []


def rebalance(state: MetadataState, nodes: Nodes, *, limit: int) -> list[MoveReplicas]:
    """Towards even replicas, then even leaders (which moves no data), on all nodes that take replicas."""
    racks = _taking(state, nodes)
    if not racks:
        return []
    layout = Layout(state)
    if not even_replicas(layout, racks, nodes.sizes, limit=limit) and not state.moves:
        even_preferred(layout, racks)
    changed = layout.changed()
    return [MoveReplicas([part.reassignment() for part in changed], REBALANCE)] if changed else []


def plan_rebalance(layout: Layout, racks: Mapping[str, str], sizes: Mapping[int, int]) -> None:
    """The whole rebalance at once, to show it."""
    even_replicas(layout, racks, sizes, limit=len(layout.parts))
    even_preferred(layout, racks)


def _taking(state: MetadataState, nodes: Nodes) -> dict[str, str]:
    """The nodes that are to have a share, and their racks."""
    return {
        node: state.nodes[node].rack
        for node in sorted(nodes.takes)
        if node in state.nodes and node not in state.draining and node not in nodes.dead
    }
