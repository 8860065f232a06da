"""The commands of the metadata group as bytes: every change that the cluster's description can undergo.

A command is MessagePack with its kind as a tag. Fields may be added, with defaults and at a higher
feature level (levels.py). The type of a field never changes, and a kind is never reused for another meaning.
The proposer decides everything that depends on the present moment, such as placement: applying a command
needs nothing but the state.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import msgspec
from floodmark.errors import InvalidRequest

from node.metadata.command import Command
from node.metadata.domains.topics import AlterTopic, CreateTopic
from node.metadata.levels import Levels, TooNew, surplus
from node.metadata.this_build import THIS_BUILD
from node.metadata.topic_config import TopicConfig

_DEFAULTS: Final = TopicConfig()
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder()


def encode(command: Command, *, later_settings: Collection[str] = ()) -> bytes:
    """The payload of a COMMAND frame; ``later_settings``, which have their defaults, are left out."""
    if later_settings and isinstance(command, CreateTopic):
        raw = msgspec.to_builtins(command)
        for name in later_settings:
            raw["config"].pop(name, None)
        return _ENCODER.encode(raw)
    return _ENCODER.encode(command)


def needs(command: Command, levels: Levels = THIS_BUILD) -> Iterator[tuple[int, str]]:
    """The feature levels that a command needs, each with what needs it."""
    yield levels.commands[command.kind].level, f"command {command.kind}"
    used: Collection[str] = ()
    if isinstance(command, CreateTopic):
        used = [name for name in levels.settings if getattr(command.config, name) != getattr(_DEFAULTS, name)]
    elif isinstance(command, AlterTopic):
        used = command.changes
    for name in used:
        if name in levels.settings:
            yield levels.settings[name], f"setting {name}"


def decode(payload: bytes, levels: Levels = THIS_BUILD) -> Command:
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
        command: Command = msgspec.convert(raw, levels.commands[kind].command)
        unknown = surplus(raw, msgspec.to_builtins(command))
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest(f"a damaged metadata command: {error}") from error
    if unknown is None and isinstance(command, AlterTopic):
        unknown = next((f"changes.{name}" for name in command.changes if name not in levels.settings), None)
    if unknown is not None:
        raise TooNew(f"command {kind!r} with {unknown[:80]!r}")
    return command
