"""This node's replica of the metadata. While it does not run, this node's view of the cluster goes stale."""

from __future__ import annotations

from node.metadata.group import SEGMENT_BYTES, Metadata
from node.metadata.state import METADATA_GROUP
from node.replicas.partition_spec import CAMPAIGN_AFTER_S
from node.replicas.replica_spec import KeepState, OpenReplica, ReplicaSpec


def metadata_spec(metadata: Metadata, *, wiped: bool, asks_first: bool) -> ReplicaSpec:
    """``wiped``: an earlier folder of this node had one. ``asks_first``: of the nodes that form a cluster
    this one asks for votes at once. Each opening uses the same machine, which keeps its state.
    """

    def opened(replica: OpenReplica) -> None:
        metadata.join(replica.group)

    def closed(_replica: OpenReplica) -> None:
        metadata.leave()

    return ReplicaSpec(
        kind="metadata",
        raft_group=METADATA_GROUP,
        members=metadata.first,
        machine=lambda: metadata.machine,
        keep=KeepState(log_bytes_max=2 * SEGMENT_BYTES),
        segment_bytes=SEGMENT_BYTES,
        tail_bytes=SEGMENT_BYTES,
        wiped=wiped,
        campaign_new_s=CAMPAIGN_AFTER_S if asks_first else (),
        on_open=opened,
        on_closed=closed,
        log_name="metadata",
    )
