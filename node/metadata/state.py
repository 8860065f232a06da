"""The cluster's description of itself: the state that the commands of the metadata group produce.

Every node computes the same state from the same log: nothing here reads a clock, a random source or a
setting. Entries are immutable values; the state's dictionaries are replaced entry by entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Final

import msgspec
from floodmark.errors import FloodmarkError

from node.metadata.topic_config import TopicConfig

METADATA_GROUP: Final = 0
COORDINATOR_GROUPS_FROM: Final = 1 << 62
"""Groups of partitions are numbered from 1, below this; what is above is for kinds that are no topics."""
INTERNAL_PREFIX: Final = "__floodmark_"
"""Topics of such names are the cluster's own."""
AUDIT_TOPIC: Final = f"{INTERNAL_PREFIX}audit"
COORDINATOR_TOPIC: Final = f"{INTERNAL_PREFIX}coordinator"
INTERNAL_TOPICS: Final = (AUDIT_TOPIC, COORDINATOR_TOPIC)
"""All that there may be. The cluster itself sees to how many replicas they have."""
RECORDS: Final = ""
COORDINATOR: Final = "coordinator"


class NodeEntry(msgspec.Struct, frozen=True):
    """A node that has announced itself."""

    node_id: str
    http: str
    peer: str
    incarnation: str
    rack: str = ""
    levels: tuple[int, int] = (1, 1)
    """The lowest and the highest feature level that its build knows, as it last announced."""

    def knows(self, level: int) -> bool:
        """Whether it can run in a cluster at this feature level."""
        lowest, highest = self.levels
        return lowest <= level <= highest


class PartitionEntry(msgspec.Struct, frozen=True, rename={"raft_group": "group_id"}):
    """One partition. ``replicas`` begins with the preferred leader.

    ``incarnations`` are those of the replicas' data folders when the partition was made: a replica whose
    node has another one now has been wiped since.
    """

    number: int
    raft_group: int
    replicas: tuple[str, ...]
    incarnations: tuple[str, ...]

    def incarnation_of(self, node_id: str) -> str:
        """The incarnation of ``node_id``'s folder when this partition was made; "" if it is no replica."""
        return dict(zip(self.replicas, self.incarnations, strict=True)).get(node_id, "")


class TopicEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One topic. ``topic_id`` is never reused, so a namesake created later is another topic."""

    name: str
    topic_id: int
    replication_factor: int
    config: TopicConfig
    partitions: tuple[PartitionEntry, ...]
    kind: str = RECORDS
    """What its partitions' logs hold. Written only where it is not records, which is from level 5 on."""

    @property
    def is_coordinator(self) -> bool:
        """Whether its partitions are the coordinator's shards, which hold no records."""
        return self.kind == COORDINATOR


class Move(msgspec.Struct, frozen=True):
    """The move of one partition. ``replicas`` is its target, the preferred leader first."""

    number: int
    """It rises with every change and is never reused: a command that means another move is refused."""
    replicas: tuple[str, ...]
    reason: str = ""
    started: bool = False
    leaving: tuple[str, ...] = ()
    """Nodes of an earlier target of the same move, which may already have a replica."""


class Recovery(msgspec.Struct, frozen=True):
    """A recovery from the loss of a majority. ``at_ms``: when it was decided, Unix milliseconds."""

    epoch: int
    name: str
    at_ms: int
    lost: tuple[str, ...]
    """The nodes that were left out."""
    chosen: dict[int, str]
    """Group id -> whose log was chosen where a majority was lost: its last records may be missing."""
    emptied: tuple[int, ...]
    """Groups of the partitions that started over empty, since no replica was left."""


class Verifier(msgspec.Struct, frozen=True):
    """What tells a password from another one by one SCRAM mechanism, and does not tell the password."""

    mechanism: str
    """``SCRAM-SHA-256`` or ``SCRAM-SHA-512``."""
    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


class UserEntry(msgspec.Struct, frozen=True):
    """One user. Without ``verifiers`` it has no password: it is known by its tokens only."""

    name: str
    created_ms: int
    verifiers: tuple[Verifier, ...] = ()


class TokenEntry(msgspec.Struct, frozen=True):
    """One token, without its secret. ``expires_ms``: 0 for never; all times in milliseconds since 1970."""

    token_id: str
    user: str
    digest: bytes
    """SHA-256 of the secret."""
    created_ms: int
    expires_ms: int = 0
    last_characters: str = ""
    """Of the secret, so that its owner knows which one it is."""
    is_login: bool = False
    """It came of a password, and is short-lived."""

    def is_valid(self, now_ms: int) -> bool:
        """Whether it has not expired."""
        return self.expires_ms == 0 or now_ms < self.expires_ms


class AclEntry(msgspec.Struct, frozen=True):
    """What one principal may do, or (without ``allow``) may not do."""

    principal: str
    kind: str
    """``topic``, ``group``, ``cluster``, ..."""
    pattern: str
    """``literal`` or ``prefix``: what ``name`` is."""
    name: str
    operation: str
    allow: bool


class QuotaEntry(msgspec.Struct, frozen=True):
    """How much one principal may ask for of each node; names and meaning of ``limits``: domains/quotas.py."""

    principal: str
    limits: dict[str, float]


class MetadataState(msgspec.Struct, rename={"next_raft_group": "next_group_id"}, dict=True):
    """The whole state. ``applied_index`` is the Raft index of the last command that it contains."""

    applied_index: int = 0
    next_topic_id: int = 1
    next_raft_group: int = METADATA_GROUP + 1
    nodes: dict[str, NodeEntry] = {}
    topics: dict[str, TopicEntry] = {}
    formation: str = ""
    """This cluster's unique name; empty until its first leader has given it."""
    level: int = 1
    """The feature level (levels.py). Builds without levels wrote none: what they wrote is level 1."""
    next_producer_id: int = 1
    """The lowest number not given to a producer yet. Stored from level 2 on."""
    moves: dict[int, Move] = {}
    """Partitions on their way to other nodes, by group id. Of level 3."""
    next_move: int = 1
    """The lowest number not given to a move yet. Of level 3."""
    recoveries: tuple[Recovery, ...] = ()
    """Recoveries from the loss of a majority, oldest first. Of level 3."""
    removed: dict[str, str] = {}
    """Nodes that were removed, and the incarnation that each had: their ids never return. Of level 3."""
    node_numbers: dict[str, int] = {}
    """Of every node that the cluster has had since it came to level 3 (numbers.py)."""
    draining: dict[str, int] = {}
    """Nodes that get no replicas and lose those that they have -> since which index. Of level 3."""
    retiring: dict[str, str] = {}
    """Those of them that are removed at the end -> the node that takes their place, or "". Of level 3."""
    rebalancing: int = 0
    """The number of the rebalance that goes on; 0 for none. Of level 3."""
    users: dict[str, UserEntry] = {}
    """By name. Of level 4, like the four members that follow."""
    tokens: dict[str, TokenEntry] = {}
    """By id."""
    administrators: tuple[str, ...] = ()
    """Users who may do everything, in order of name."""
    acls: tuple[AclEntry, ...] = ()
    quotas: dict[str, QuotaEntry] = {}
    """By principal."""

    @property
    def cluster_epoch(self) -> int:
        """How often the cluster was recovered: nodes of an earlier epoch are refused."""
        return self.recoveries[-1].epoch if self.recoveries else 0

    @property
    def recovery(self) -> str:
        """The name of the last recovery; "" when there was none."""
        return self.recoveries[-1].name if self.recoveries else ""

    @cached_property
    def places(self) -> dict[int, tuple[str, int]]:
        """Topic and number of each partition, by its group's id. Derived: made by one walk on first use,
        kept up to date by ``Edit``, never stored.
        """
        return {
            entry.raft_group: (topic.name, entry.number)
            for topic in self.topics.values()
            for entry in topic.partitions
        }

    def partition(self, raft_group: int) -> tuple[TopicEntry, PartitionEntry] | None:
        """The partition of a group, with its topic; None when it does not exist, or no longer does."""
        name, number = self.places.get(raft_group, ("", 0))
        topic = self.topics.get(name)
        return None if topic is None else (topic, topic.partitions[number])

    def partitions(self) -> Iterator[tuple[TopicEntry, PartitionEntry]]:
        """All of them, each with its topic: a walk over the whole state."""
        for topic in self.topics.values():
            for entry in topic.partitions:
                yield topic, entry


Applied = NodeEntry | TopicEntry | UserEntry | TokenEntry | QuotaEntry | str | int | FloodmarkError
"""The result of a command: the entry that it made, changed or removed, the formation's name, the feature
level, the first of the ids, how many moves; or why it changed nothing."""
