"""Moves of replicas, as the nodes that lead their partitions see them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Final

from floodmark.errors import Unavailable

from consensus.core.group import Group
from consensus.host.group_host import GroupHost
from consensus.types import GroupStopped, Membership, NotLeader
from node.broker import CatchingUp, MoveInfo
from node.metadata.group import Metadata
from node.metadata.state import Move, PartitionEntry, TopicEntry
from node.node_query import NodeQuery
from node.replicas.replica_here import ReplicaHere

CONFIRM_S: Final = 1.0


class MovesShown:
    """Of one node, or of all of them together."""

    def __init__(
        self,
        *,
        node_id: str,
        host: GroupHost,
        metadata: Metadata,
        local: Mapping[int, ReplicaHere],
        query: NodeQuery,
    ) -> None:
        self._node_id = node_id
        self._host = host
        self._metadata = metadata
        self._local = local
        self._query = query

    async def led_here(self) -> list[MoveInfo]:
        """Those of partitions that this node leads.

        When a move is reported as arrived, the old replicas' data is deleted. So a majority first confirms
        that this node leads: a deposed leader may know outdated members.
        """
        arrived = [group for info, group in self._led_here() if info.arrived]
        leads = await asyncio.gather(*(self._is_confirmed(group) for group in arrived))
        confirmed = {group for group, is_confirmed in zip(arrived, leads, strict=True) if is_confirmed}
        return [
            replace(info, arrived=info.arrived and group in confirmed) for info, group in self._led_here()
        ]

    def _led_here(self) -> Iterator[tuple[MoveInfo, int]]:
        for topic, entry, move in self._known():
            replica = self._local.get(entry.raft_group)
            if replica is not None and replica.group.is_ready_leader:
                yield _described(topic, entry, move, replica.group), entry.raft_group

    async def _is_confirmed(self, group: int) -> bool:
        try:
            await self._host.confirm_lead(group, deadline_s=CONFIRM_S)
        except (NotLeader, GroupStopped, Unavailable):
            return False
        return True

    async def everywhere(self, alive: Collection[str]) -> list[MoveInfo]:
        """All, each as its leader sees it where that answers; in order of topic and partition."""
        seen: dict[int, MoveInfo] = {}
        if self._metadata.state.moves:
            others = sorted(set(alive) - {self._node_id})
            for infos in await asyncio.gather(*(self._query.moves(node) for node in others)):
                seen.update((info.number, info) for info in infos)
            seen.update((info.number, info) for info in await self.led_here())
        found = [
            seen.get(move.number) or _described(topic, entry, move, None)
            for topic, entry, move in self._known()
        ]
        return sorted(found, key=lambda info: (info.topic, info.partition))

    def _known(self) -> Iterator[tuple[TopicEntry, PartitionEntry, Move]]:
        state = self._metadata.state
        for raft_group, move in state.moves.items():
            if (found := state.partition(raft_group)) is not None:
                yield *found, move


def _described(topic: TopicEntry, entry: PartitionEntry, move: Move, group: Group | None) -> MoveInfo:
    """``group``: the replica that leads; None where another node has it."""
    info = MoveInfo(
        topic=topic.name,
        partition=entry.number,
        number=move.number,
        started=move.started,
        reason=move.reason,
        replicas=entry.replicas,
        target=move.replicas,
        adding=[node for node in move.replicas if node not in entry.replicas],
        removing=[node for node in (*entry.replicas, *move.leaving) if node not in move.replicas],
    )
    if group is None:
        return info
    members = group.membership
    coming = sorted(set(move.replicas) - members.voters)
    return replace(
        info,
        leader=group.node_id,
        voters=sorted(members.voters),
        catching_up=[_lacking(group, node) for node in coming] if move.started else [],
        arrived=move.started
        and members == Membership(frozenset(move.replicas))
        and group.followers.may_change_members,
    )


def _lacking(group: Group, node: str) -> CatchingUp:
    log = group.log
    first = min(log.base_index, group.commit_index + 1)
    there = group.commit_index + 1 - first
    entries = group.commit_index - max(group.followers.match_of(node), first - 1)
    entries = max(0, entries)
    return CatchingUp(node, entries, log.size_bytes * entries // there if there else 0)
