"""The cluster as this node sees it, in the shapes of ``node/broker``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from consensus.core.group import Group
from consensus.host.cluster_clock import TOLERANCE_MS, ClusterClock
from consensus.types import Role
from node.broker import ClusterInfo, NodeInfo, PartitionInfo, RecoveryInfo, TopicInfo
from node.metadata.first_members import VOTERS_MAX
from node.metadata.group import Metadata
from node.metadata.holders import holders, wanted
from node.metadata.numbers import node_number, topic_uuid
from node.metadata.state import METADATA_GROUP, Move, PartitionEntry, TopicEntry
from node.replicas.replica_here import ReplicaHere

TOO_NEW_NAMED_MAX: Final = 3
"""How many replicas that only a newer build can read /readyz names; it counts the others."""


class Views:
    """Reads the replicated metadata and the local replicas; changes nothing."""

    def __init__(
        self,
        *,
        node_id: str,
        cluster_id: str,
        local: Mapping[int, ReplicaHere],
        metadata: Metadata,
    ) -> None:
        self._node_id = node_id
        self._cluster_id = cluster_id
        self._local = local
        self._metadata = metadata

    def topic(self, entry: TopicEntry, alive: Collection[str]) -> TopicInfo:
        """One topic."""
        return TopicInfo(
            name=entry.name,
            topic_id=entry.topic_id,
            replication_factor=entry.replication_factor,
            config=entry.config,
            partitions=[self.partition(partition, alive) for partition in entry.partitions],
            uuid=topic_uuid(self._metadata.state, entry.topic_id),
        )

    def partition(self, entry: PartitionEntry, alive: Collection[str]) -> PartitionInfo:
        """One partition. Offsets that a follower knows are lower bounds of the leader's."""
        replica = self._local.get(entry.raft_group)
        replicas = holders(entry, self._metadata.state.moves.get(entry.raft_group))
        if replica is None:
            return PartitionInfo(entry.number, None, replicas, [], None, None, None)
        group = replica.group
        leader = group.leader
        known = leader is not None
        return PartitionInfo(
            partition=entry.number,
            leader=leader,
            replicas=replicas,
            in_sync=[node for node in replicas if in_sync(group, node, alive)],
            high_watermark=group.high_watermark if known else None,
            log_start_offset=replica.log.start_offset if known else None,
            term=group.term,
        )

    def nodes(self, alive: Collection[str]) -> list[NodeInfo]:
        """In order of id."""
        state = self._metadata.state
        leads = Counter(replica.group.leader for replica in self._local.values())
        replicas = Counter(
            node for topic in state.topics.values() for entry in topic.partitions for node in entry.replicas
        )
        return [
            NodeInfo(
                node_id=entry.node_id,
                http=entry.http,
                peer=entry.peer,
                alive=entry.node_id in alive,
                incarnation=entry.incarnation,
                leads=leads[entry.node_id],
                replicas=replicas[entry.node_id],
                number=node_number(self._metadata.membership.members, entry.node_id, state.node_numbers),
            )
            for _, entry in sorted(state.nodes.items())
        ]

    def cluster(self, alive: Collection[str]) -> ClusterInfo:
        """The whole picture."""
        state, metadata = self._metadata.state, self._metadata.group
        leaderless = under_replicated = total = 0
        for topic in state.topics.values():
            for entry in topic.partitions:
                total += 1
                if entry.raft_group not in self._local:
                    continue
                group = self._local[entry.raft_group].group
                leaderless += group.leader is None
                under_replicated += lacks_replicas(group, entry, state.moves.get(entry.raft_group), alive)
        return ClusterInfo(
            cluster_id=self._cluster_id,
            node_id=self._node_id,
            metadata_leader=self._metadata.leader,
            metadata_voters=sorted(metadata.membership.voters) if metadata else [],
            nodes=self.nodes(alive),
            topics=len(state.topics),
            partitions=total,
            leaderless_partitions=leaderless,
            under_replicated_partitions=under_replicated,
            cluster_epoch=state.cluster_epoch,
            recoveries=[
                RecoveryInfo(
                    cluster_epoch=each.epoch,
                    at_ms=each.at_ms,
                    lost_nodes=each.lost,
                    recovered_partitions=len(each.chosen.keys() - {METADATA_GROUP, *each.emptied}),
                    emptied_partitions=len(each.emptied),
                )
                for each in state.recoveries
            ],
        )


def in_sync(group: Group, node: str, alive: Collection[str]) -> bool:
    """Whether ``node`` has, or is being sent, all that its leader has; not on the leader: judged by its link.

    At most ``GroupOptions.unacknowledged_bytes_max`` are on their way. No limit on missing entries or bytes
    would fit all groups: an entry may have a hundred bytes or eight million.
    """
    if node not in alive or node not in group.membership.voters:
        return False
    if group.role is not Role.LEADER:
        return group.leader is not None
    return group.followers.keeps_up(node)


def lacks_replicas(group: Group, entry: PartitionEntry, move: Move | None, alive: Collection[str]) -> bool:
    """Whether fewer replicas are in sync than there should be; arriving ones make up for leaving ones."""
    those = holders(entry, move)
    count = sum(in_sync(group, node, alive) for node in those)
    return count < min(len(entry.replicas), len(wanted(entry, move)))


def readiness(
    metadata: Group | None,
    local: Mapping[int, ReplicaHere],
    *,
    current: bool,
    registered: bool,
    formed: bool,
    opening: bool,
    broken: int,
    too_new: Sequence[str],
    obstacles: list[str],
    halted: str | None,
    draining: Collection[str] = (),
) -> list[str]:
    """Why this node is not ready; empty when it is. ``local``: the replicas here that should vote."""
    reasons = [] if halted is None else [halted]
    if metadata is None:
        return [*reasons, *obstacles] or ["this node's replica of the metadata does not run: see the log"]
    if metadata.leader is None:
        reasons.append("the metadata group has no leader")
    if not current:
        reasons.append("what the cluster agreed on before this node started is being fetched")
    if not registered:
        reasons.append("this node is not registered in the cluster yet")
    if not formed:
        reasons.append("the cluster has no name yet: its metadata leader gives it one in a moment")
    if opening:
        reasons.append("replicas are being opened")
    reasons.extend(_named(too_new))
    failed = broken - len(too_new) + sum(replica.group.failed is not None for replica in local.values())
    if failed:
        reasons.append(
            f"{failed} replicas do not run: see the log for their disk errors; they are tried again"
        )
    voteless = sum(not _votes(replica.group) for replica in local.values()) + _lacks_vote(metadata, draining)
    if voteless:
        reasons.append(
            f"{voteless} replicas have lost data: they have no vote before others have given it back"
        )
    leaderless = sum(1 for replica in local.values() if replica.group.leader is None)
    if leaderless:
        reasons.append(f"{leaderless} of {len(local)} partitions know no leader")
    return reasons


def _votes(group: Group) -> bool:
    """Whether others may rely on this replica's vote: it may vote, and its vote counts."""
    return group.may_vote and group.node_id in group.membership.voters


def _lacks_vote(metadata: Group, draining: Collection[str]) -> bool:
    """Whether this replica still has to get a vote; where five others vote, it gets none."""
    members = metadata.membership
    if metadata.node_id in members.voters:
        return not metadata.may_vote
    staying = members.members.difference(draining)
    is_complete = len(members.voters & staying) >= min(VOTERS_MAX, len(staying))
    return metadata.node_id in staying and not is_complete


def _named(too_new: Sequence[str]) -> list[str]:
    if len(too_new) <= TOO_NEW_NAMED_MAX:
        return list(too_new)
    return [*too_new[:TOO_NEW_NAMED_MAX], f"{len(too_new)} replicas need a newer Floodmark: see the log"]


def clock_warnings(wall: ClusterClock) -> list[str]:
    """Warnings about this node's clock; none when it is close to the others'."""
    if not wall.is_off:
        return []
    ahead_s = wall.ahead_ms() / 1000
    direction = "ahead of" if ahead_s > 0 else "behind"
    return [
        (
            f"this node's clock is {abs(ahead_s):.0f} s {direction} the median of the cluster's: it gives "
            "its leaderships away, and records that it still takes get times within "
            f"{TOLERANCE_MS // 1000} s of the others'; set its clock"
        )
    ]
