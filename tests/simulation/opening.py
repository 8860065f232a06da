"""From a disk to a running group, by the same steps that a node takes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog.testing

from consensus.core.group import Group
from consensus.types import Membership
from node.replicas.replica_store import ReplicaStore
from storage.errors import LogCorrupt
from storage.log import Log
from storage.options import LogOptions
from storage.vote import VoteFile
from tests.simulation.codec import RAFT_GROUP
from tests.simulation.disk import DATA
from tests.simulation.machine import ChainMachine, LargeMachine
from tests.simulation.shard import ShardMachine

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica


@dataclass(frozen=True, slots=True)
class Opened:
    """All that one life of a replica works with."""

    log: Log
    vote: VoteFile
    group: Group
    machine: ChainMachine | LargeMachine | ShardMachine
    damage: LogCorrupt | None


def open_replica(replica: Replica, cluster: Cluster, life: str) -> Opened:
    """Raises ``StorageError`` when the disk does not let it."""
    store = ReplicaStore(replica.disk.fs, DATA)
    profile = cluster.profile
    options = LogOptions(
        segment_bytes=profile.segment_bytes,
        index_interval_bytes=256,
        tail_bytes_max=profile.tail_bytes_max,
        open_files_max=3,
        loaded_indexes_max=2,
    )
    large = cluster.large_machine(replica.name, cluster.history, replica.note) if profile.large else None
    with structlog.testing.capture_logs():  # What it would tell an operator is no news here.
        opened = store.open(
            RAFT_GROUP, options, known=replica.known, wiped=replica.wiped, damage=replica.found, machine=large
        )
    replica.found = None
    replica.known = True
    voters, learners = cluster.first_voters, cluster.first_learners
    if cluster.moves is not None:
        voters = cluster.moves.placed
    machine: ChainMachine | LargeMachine | ShardMachine
    if large is None:
        machine = ChainMachine(
            replica.name, cluster.history, cluster.ledger.committed, cluster.removed, older=replica.older
        )
    else:
        machine = large
    group = Group(
        raft_group=RAFT_GROUP,
        node_id=replica.name,
        log=opened.log,
        vote=opened.vote,
        machine=machine,
        files=opened.files,
        membership=Membership(voters, learners),
        clock=replica.clock,
        random=random.Random(f"{cluster.seed} {life}"),
        options=profile.group_options(cluster.quiesce_after_s),
        voting=not opened.lost,
        safeguards=cluster.safeguards,
        catch_up=replica.catch_up,
    )
    store.settle(RAFT_GROUP)
    return Opened(opened.log, opened.vote, group, machine, opened.damage)
