"""Assembles what a partition's replica has besides its group: admission, budgets, batching."""

from __future__ import annotations

from consensus.host.group_host import GroupHost
from consensus.host.host_types import Waiters
from node.budget import ByteBudget
from node.coordinator.shards import Shards
from node.partition.appender import Appender
from node.partition.batch_format import BatchFormat
from node.partition.coalescer import Coalescer
from node.partition.newcomers import ProducerLimits
from node.partition.partition import Replica
from node.partition.producers import ProducerTable
from node.partition.producers_here import ProducersLed
from node.replicas.disk_reserve import DiskReserve
from node.replicas.host_events import HostEvents
from node.replicas.partition_spec import SHARD
from node.replicas.replica_here import ReplicaHere
from node.replicas.replica_spec import OpenReplica
from node.settings import LimitSettings


class PartitionParts:
    """One per node. ``producers``: those of all partitions that this node leads."""

    def __init__(
        self,
        *,
        host: GroupHost,
        events: HostEvents,
        disk: DiskReserve,
        limits: LimitSettings,
        batch_format: BatchFormat,
        producers: ProducersLed,
        shards: Shards,
    ) -> None:
        self._host = host
        self._events = events
        self._disk = disk
        self._limits = limits
        self._batch_format = batch_format
        self._producers = producers
        self._shards = shards

    def forget(self, raft_group: int) -> None:
        """The replica no longer runs."""
        self._events.flushed.pop(raft_group, None)
        self._shards.closed(raft_group)

    def assemble(self, opened: OpenReplica) -> ReplicaHere:
        """The replica, just before it runs."""
        if opened.spec.kind == SHARD:
            return self._shards.opened(opened)
        table, limits, batch_format = opened.machine, self._limits, self._batch_format
        assert isinstance(table, ProducerTable), "the machine of a partition's spec"
        raft_group = opened.spec.raft_group
        appender = Appender(
            self._host,
            raft_group,
            opened.log,
            table,
            ByteBudget(limits.inflight_partition_bytes, "this partition"),
            ProducerLimits(
                limits.producers_per_partition_max,
                limits.producers_per_node_max,
                limits.producer_remembered_s,
            ),
            self._producers,
            self._disk,
        )
        flushed = self._events.flushed[raft_group] = Waiters()
        coalescer = Coalescer(appender.append_shared, lambda: batch_format.highest)
        return Replica(opened.group, opened.log, opened.vote, appender, coalescer, flushed, batch_format)
