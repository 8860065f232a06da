"""What a node has to know to run one replica of a Raft group, whatever the group is about.

A new kind of group (a coordinator of consumer groups, queues or transactions) is a new spec: the machine that
its entries go to, how long its log is kept, and who is told that it runs. How a replica is opened, repaired,
closed when its disk fails, regained and removed is the same for all (``manager.py``).
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
    """The log is what is asked for: old segments go once they are this old, or the log is this large.

    None: no limit of this kind.
    """

    retention_ms: int | None = None
    retention_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class KeepState:
    """Only the machine's state is asked for: a log above this size loses what the state stands for."""

    log_bytes_max: int


@dataclass(frozen=True, slots=True, eq=False)
class OpenReplica:
    """A replica with its files and its group; ``machine`` is the one that the group's entries go to."""

    spec: ReplicaSpec
    group: Group
    log: Log
    vote: VoteFile
    machine: Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSpec:
    """One replica that is to run here. Times in seconds, sizes in bytes."""

    kind: str
    """``partition``, ``metadata``, ...: by which the replicas of one kind are counted."""
    raft_group: int
    """The group's number, and the name of its folder."""
    members: Membership
    """The group's members before its log says anything; the same on all nodes that made it."""
    machine: Callable[[], Machine]
    """The machine for the next opening. One that comes back with what it had is given the rest only."""
    keep: KeepRecords | KeepState
    segment_bytes: int
    tail_bytes: int | None = None
    """Newest frames kept in memory; None: a share of what the node has for all replicas like this one."""
    is_one_of_many: bool = False
    """Timeouts grow with the number of such replicas on a node: when it stalls, all of them elect at once."""
    wiped: bool = False
    """An earlier folder of this node had the replica, so its data is lost where it is missing now."""
    comes: bool = False
    """The others give it to this node: where it is missing it begins as a lost one does, and nothing is lost.

    Lost or coming, it has no vote before it has regained all from the other replicas.
    """
    campaign_new_s: tuple[float, ...] = ()
    """How long after its first opening this node asks for votes without waiting for an election timeout."""
    campaign_again_s: tuple[float, ...] = ()
    """Likewise after a later opening. Where there is a leader after all, nothing comes of it."""
    on_open: Callable[[OpenReplica], None] = lambda _replica: None
    """Told just before the replica takes part, ..."""
    on_closed: Callable[[OpenReplica], None] = lambda _replica: None
    """... and when it is about to stop, because its disk failed or it is not wanted here any more."""
    log_name: str = "replica"
    """Events of the log begin with it."""
    log_fields: Mapping[str, object] = field(default_factory=dict)
    """What log events name it by, beside its group."""
