"""What a node has to know to run one replica of a Raft group, whatever the group's kind.

A new kind of group (a coordinator of consumer groups, queues or transactions) is a new spec: the state
machine that its entries are applied to, how long its log is kept, and who is told that it runs. Opening,
repairing, closing on disk failure, disk-loss recovery and removal are the same for all (``manager.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from consensus.core.group import Group
from consensus.core.large_state import LargeMachine
from consensus.types import Membership, StateMachine
from storage.log import Log
from storage.vote import VoteFile

Machine = StateMachine | LargeMachine


@dataclass(frozen=True, slots=True)
class KeepRecords:
    """The log itself is the data: segments are dropped at this age (ms), or once the log is this large
    (bytes).

    None means no limit.
    """

    retention_ms: int | None = None
    retention_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class KeepState:
    """Only the machine's state is needed: a log above this size drops what the checkpointed state covers."""

    log_bytes_max: int


@dataclass(frozen=True, slots=True, eq=False)
class OpenReplica:
    """A replica with its files and its group; the group's entries are applied to ``machine``."""

    spec: ReplicaSpec
    group: Group
    log: Log
    vote: VoteFile
    machine: Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSpec:
    """One replica that should run here. Times in seconds, sizes in bytes."""

    kind: str
    """``partition``, ``metadata``, ...: replicas are counted by kind."""
    raft_group: int
    """The group's number, and the name of its folder."""
    members: Membership
    """The group's members before its log names any; the same on all nodes that create it."""
    machine: Callable[[], Machine]
    """Returns the machine for the next opening. One that kept its state is given only the rest."""
    keep: KeepRecords | KeepState
    segment_bytes: int
    tail_bytes: int | None = None
    """Bytes of newest frames kept in memory; None: a share of what the node has for all such replicas."""
    is_one_of_many: bool = False
    """Whether timeouts grow with the number of such replicas: when the node stalls, all elect at once."""
    wiped: bool = False
    """An earlier folder of this node had the replica: if it is missing now, its data is lost."""
    comes: bool = False
    """A move brings it to this node: where it is missing it begins as a lost one does, though nothing is
    lost.

    Lost or coming, it has no vote until it has fetched everything from the other replicas.
    """
    campaign_new_s: tuple[float, ...] = ()
    """How long after its first opening this node asks for votes without waiting for an election timeout."""
    campaign_again_s: tuple[float, ...] = ()
    """Likewise after later openings. Where there already is a leader, it has no effect."""
    on_open: Callable[[OpenReplica], None] = lambda _replica: None
    """Called just before the replica takes part, ..."""
    on_closed: Callable[[OpenReplica], None] = lambda _replica: None
    """... and just before it stops, because its disk failed or it is no longer wanted here."""
    log_name: str = "replica"
    """Prefix of its log events."""
    log_fields: Mapping[str, object] = field(default_factory=dict)
    """Fields of its log events besides its group."""
