"""The commands of the metadata group: everything that can happen to the cluster's description of itself.

A command is MessagePack with its kind as a tag. Fields may be added with defaults; a kind is never reused for
another meaning. Whoever proposes decides everything that needs knowledge of the moment (placement): applying
a command needs nothing but the state.
"""

from __future__ import annotations

from typing import Any

import msgspec
from floodmark.errors import InvalidRequest

from node.broker import TopicConfig


class Command(msgspec.Struct, frozen=True, tag_field="kind"):
    """Base of all commands."""


class RegisterNode(Command, frozen=True, tag="register_node"):
    """A node's addresses and the incarnation of its data folder, as it announced them."""

    node_id: str
    http: str
    peer: str
    incarnation: str
    rack: str = ""


class ForgetNode(Command, frozen=True, tag="forget_node"):
    """A node goes, and its replicas with it. ``replacements``: group id -> who gets a replica instead."""

    node_id: str
    replacements: dict[int, str] = {}


class FormCluster(Command, frozen=True, tag="form_cluster"):
    """The name of this formation of the cluster, drawn at random; the first one stays."""

    formation: str


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


AnyCommand = RegisterNode | ForgetNode | FormCluster | CreateTopic | AlterTopic | DeleteTopic

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(AnyCommand)


def encode(command: AnyCommand) -> bytes:
    """The payload of a COMMAND frame."""
    return _ENCODER.encode(command)


def decode(payload: bytes) -> AnyCommand:
    """Raises ``InvalidRequest`` for a kind that this version does not know, or a damaged command."""
    try:
        command: AnyCommand = _DECODER.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"an unknown metadata command: {error}") from error
    return command
