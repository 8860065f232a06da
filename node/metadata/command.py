"""What a kind of command is: its encoded name, the feature level that it needs, and what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from node.metadata.edit import Edit
from node.metadata.state import Applied

C = TypeVar("C", bound="Command")


class Command(msgspec.Struct, frozen=True, tag_field="kind"):
    """Base of all commands."""

    @property
    def kind(self) -> str:
        """The tag that the command is encoded with."""
        return str(self.__struct_config__.tag)


@dataclass(frozen=True, slots=True)
class CommandType:
    """One kind of command. ``level``: the lowest feature level at which it may be proposed.

    ``apply`` changes the state, or returns an error and changes nothing. It is a pure function of the state
    and the command: no clock, no randomness, no settings.
    """

    command: type[Command]
    level: int
    apply: Callable[[Edit, Any], Applied]


def command_type(
    command: type[C], apply: Callable[[Edit, C], Applied], *, level: int = 1
) -> tuple[str, CommandType]:
    """A row of a domain's table, under the kind that the command is written with."""
    return str(command.__struct_config__.tag), CommandType(command, level, apply)
