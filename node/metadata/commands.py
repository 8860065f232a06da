"""The commands of the metadata group: everything that can happen to the cluster's description of itself.

A command is MessagePack with its kind as a tag. Fields may be added with defaults, from a higher feature
level on (levels.py); the type of a field never changes, and a kind is never reused for another meaning.
Whoever proposes decides everything that needs knowledge of the moment (placement): applying a command needs
nothing but the state.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, cast

import msgspec
from floodmark.errors import InvalidRequest

from node.metadata.levels import THIS_BUILD, Levels, TooNew, surplus
from node.metadata.topic_config import TopicConfig


class Command(msgspec.Struct, frozen=True, tag_field="kind"):
    """Base of all commands."""


class RegisterNode(Command, frozen=True, tag="register_node"):
    """A node's addresses and the incarnation of its data folder, as it announced them."""

    node_id: str
    http: str
    peer: str
    incarnation: str
    rack: str = ""
    levels: tuple[int, int] = (1, 1)
    """The lowest and the highest feature level that its build knows."""


class JoinNode(RegisterNode, frozen=True, tag="join_node"):
    """A node comes to a cluster that is there, with an empty folder."""


class RemoveNode(Command, frozen=True, tag="remove_node"):
    """A node goes for good, and its id with it. It holds no replica of a partition."""

    node_id: str


class ForgetNode(Command, frozen=True, tag="forget_node"):
    """A node goes, and its replicas with it. ``replacements``: group id -> who gets a replica instead."""

    node_id: str
    replacements: dict[int, str] = {}


class FormCluster(Command, frozen=True, tag="form_cluster"):
    """The name of this formation of the cluster, drawn at random; the first one stays."""

    formation: str


class RaiseLevel(Command, frozen=True, tag="raise_level"):
    """The cluster's feature level, for good: every node knows it."""

    level: int


class CreateTopic(Command, frozen=True, tag="create_topic"):
    """A topic with its replicas placed: one list of nodes per partition, the preferred leader first."""

    name: str
    replication_factor: int
    config: TopicConfig
    assignments: list[list[str]]


class AlterTopic(Command, frozen=True, tag="alter_topic"):
    """Changes to some fields of a topic's configuration. ``topic_id`` guards against a namesake."""

    name: str
    topic_id: int
    changes: dict[str, Any]


class DeleteTopic(Command, frozen=True, tag="delete_topic"):
    """The topic and its data go."""

    name: str
    topic_id: int


class AllocateProducerIds(Command, frozen=True, tag="allocate_producer_ids"):
    """The next ids for producers go to whoever proposed this, and never to anybody else."""

    count: int


class Reassignment(msgspec.Struct, frozen=True, rename={"raft_group": "group_id"}):
    """Where one partition's replicas are to be; it says from what state on, and means no other one."""

    raft_group: int
    expected: list[str]
    """The replicas that it has."""
    replicas: list[str]
    """Those that it is to have, the preferred leader first."""
    move: int = 0
    """The number of the move that is under way; 0 for none."""


class MoveReplicas(Command, frozen=True, tag="move_replicas"):
    """Replicas go to other nodes: all of these, or none when the state is another one by now."""

    moves: list[Reassignment]
    reason: str = ""


class StartMoves(Command, frozen=True, tag="start_moves"):
    """Group id -> number of a queued move whose turn it is."""

    moves: dict[int, int]


class FinishMoves(Command, frozen=True, tag="finish_moves"):
    """Group id -> number of a move whose target the group's members are by now."""

    moves: dict[int, int]


class CancelMoves(Command, frozen=True, tag="cancel_moves"):
    """Group id -> number of a move that is undone."""

    moves: dict[int, int]
    reason: str = ""


class RecordRecovery(Command, frozen=True, tag="record_recovery"):
    """The cluster was recovered from the loss of a majority: written by ``floodmark recover`` alone, into the
    log of a stopped node, where it also raises the feature level to its own.
    """

    epoch: int
    """The cluster's epoch from here on."""
    name: str
    """Drawn at random: two recoveries to the same epoch are told apart by it."""
    at_ms: int
    """When it was decided, in milliseconds since 1970."""
    lost: list[str]
    """The nodes that are no part of the cluster any more."""
    replicas: dict[int, list[str]]
    """Group id -> who has a replica now, of all partitions that had one on a node that is lost."""
    chosen: dict[int, str]
    """Group id -> whose log was chosen, of the groups that had lost their majority."""
    emptied: list[int]
    """Groups of the partitions none of whose replicas is left: they begin anew."""


class DrainNode(Command, frozen=True, tag="drain_node"):
    """A node gets no more replicas and leaderships, and those that it has go elsewhere."""

    node_id: str


class UndrainNode(Command, frozen=True, tag="undrain_node"):
    """It is a node like the others again; what was on its way from there stays there."""

    node_id: str


class RetireNode(Command, frozen=True, tag="retire_node"):
    """A node is drained for good: once nothing of any partition is on it, it is removed.

    ``heir``: the node that gets all that it has, in its place. Without one its replicas go wherever there
    is a place, and where there is none the partitions have fewer.
    """

    node_id: str
    heir: str = ""


class ChangeReplicationFactor(Command, frozen=True, tag="change_replication_factor"):
    """How many replicas each partition of a topic is to have; moves bring them there."""

    name: str
    topic_id: int
    replication_factor: int


class AddPartitions(Command, frozen=True, tag="add_partitions"):
    """More partitions for a topic that has ``partitions`` now, placed as in ``CreateTopic``."""

    name: str
    topic_id: int
    partitions: int
    assignments: list[list[str]]


class Rebalance(Command, frozen=True, tag="rebalance"):
    """Even out what is on the nodes. Without ``begin`` it ends: one that is over has its ``number``."""

    begin: bool
    number: int = 0
    """0 stands for whichever there is, whose moves are undone."""


AnyCommand = (
    RegisterNode
    | ForgetNode
    | FormCluster
    | RaiseLevel
    | CreateTopic
    | AlterTopic
    | DeleteTopic
    | AllocateProducerIds
    | MoveReplicas
    | StartMoves
    | FinishMoves
    | CancelMoves
    | RecordRecovery
    | DrainNode
    | UndrainNode
    | RetireNode
    | ChangeReplicationFactor
    | AddPartitions
    | Rebalance
    | JoinNode
    | RemoveNode
)

KINDS: Final[dict[str, type[Command]]] = {
    "register_node": RegisterNode,
    "forget_node": ForgetNode,
    "form_cluster": FormCluster,
    "raise_level": RaiseLevel,
    "create_topic": CreateTopic,
    "alter_topic": AlterTopic,
    "delete_topic": DeleteTopic,
    "allocate_producer_ids": AllocateProducerIds,
    "move_replicas": MoveReplicas,
    "start_moves": StartMoves,
    "finish_moves": FinishMoves,
    "cancel_moves": CancelMoves,
    "record_recovery": RecordRecovery,
    "drain_node": DrainNode,
    "undrain_node": UndrainNode,
    "retire_node": RetireNode,
    "change_replication_factor": ChangeReplicationFactor,
    "add_partitions": AddPartitions,
    "rebalance": Rebalance,
    "join_node": JoinNode,
    "remove_node": RemoveNode,
}

_DEFAULTS: Final = TopicConfig()
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder()


def encode(command: AnyCommand, *, later_settings: Collection[str] = ()) -> bytes:
    """The payload of a COMMAND frame; settings of a later level, which have their defaults, are left out."""
    if later_settings and isinstance(command, CreateTopic):
        raw = msgspec.to_builtins(command)
        for name in later_settings:
            raw["config"].pop(name, None)
        return _ENCODER.encode(raw)
    return _ENCODER.encode(command)


def needs(command: AnyCommand, levels: Levels = THIS_BUILD) -> Iterator[tuple[int, str]]:
    """The feature levels that a command needs, each with what needs it."""
    kind = str(command.__struct_config__.tag)
    yield levels.commands[kind], f"command {kind}"
    used: Collection[str] = ()
    if isinstance(command, CreateTopic):
        used = [name for name in levels.settings if getattr(command.config, name) != getattr(_DEFAULTS, name)]
    elif isinstance(command, AlterTopic):
        used = command.changes
    for name in used:
        if name in levels.settings:
            yield levels.settings[name], f"setting {name}"


def decode(payload: bytes, levels: Levels = THIS_BUILD) -> AnyCommand:
    """Raises ``InvalidRequest`` for a damaged command, which every build rejects and skips.

    Raises ``TooNew`` for a kind, a field or a topic's setting that this build does not know.
    """
    try:
        raw = _DECODER.decode(payload)
        kind = raw.get("kind") if isinstance(raw, dict) else None
        if not isinstance(kind, str):
            raise InvalidRequest("a metadata command without a kind")
        if kind not in levels.commands:
            raise TooNew(f"command {kind[:80]!r}")
        command = cast(AnyCommand, msgspec.convert(raw, KINDS[kind]))
        unknown = surplus(raw, msgspec.to_builtins(command))
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest(f"a damaged metadata command: {error}") from error
    if unknown is None and isinstance(command, AlterTopic):
        unknown = next((f"changes.{name}" for name in command.changes if name not in levels.settings), None)
    if unknown is not None:
        raise TooNew(f"command {kind!r} with {unknown[:80]!r}")
    return command
