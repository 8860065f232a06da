"""What a build knows of the metadata, and what it does with what it does not know.

A *feature level* is a number that the whole cluster has agreed on, kept in the metadata: level 1 is what
builds before levels wrote. Each build knows a range of levels. What only a higher level has is never proposed
before the cluster was raised to it, so no node meets a command or a setting that it does not know. A node
that does so all the same stops applying the metadata there: to skip what others apply would make its state
another one.

To add a command, put it into the table of its domain (domains/) with the level that it needs; a setting or a
member of the state stands in ``this_build.py``. Raise ``highest`` with it. Its meaning then never changes;
another meaning is another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from floodmark.errors import Conflict, FloodmarkError

if TYPE_CHECKING:
    from node.metadata.command import CommandType


@dataclass(frozen=True, slots=True)
class Levels:
    """The feature levels that one build knows, both ends included, and what needs which of them."""

    lowest: int
    highest: int
    commands: Mapping[str, CommandType]
    """The kinds of commands that it knows, under the names that they are written with."""
    settings: Mapping[str, int]
    """Likewise each setting of a topic; below that level it has its default, which is not written down."""
    members: Mapping[str, int] = field(default_factory=dict)
    """Likewise members of the state itself that are not of level 1."""

    def knows(self, level: int) -> bool:
        """Whether this build can work in a cluster of this level."""
        return self.lowest <= level <= self.highest

    def later_settings(self, level: int) -> list[str]:
        """The settings that a cluster of this level does not have yet."""
        return [name for name, needed in self.settings.items() if needed > level]

    def later_members(self, level: int) -> list[str]:
        """The members of the state that a cluster of this level does not have yet."""
        return [name for name, needed in self.members.items() if needed > level]


NUMBERED_PRODUCERS: Final = 2
"""The level of numbers for producers."""

BATCH_FORMAT_2: Final = 2
"""The level from which on record batches of format 2 are taken and written."""

MEMBERSHIP: Final = 3
"""The level from which on replicas move, and nodes come and go."""

SECURITY: Final = 4
"""The level from which on the cluster knows users, what they may do, and how much of it."""


def below_level(level: int, needed: int) -> FloodmarkError | None:
    """Why a cluster of this feature level does not take a command: it could not be written down."""
    return None if level >= needed else Conflict(f"this needs feature level {needed}", level=level)


class TooNew(Exception):
    """Something that only a newer build knows; the text names it."""


def surplus(given: Any, understood: Any, path: str = "") -> str | None:
    """The first member of ``given`` that ``understood``, made of what is known of it, does not have.

    As a path with dots; None when nothing was left out. Both are plain data.
    """
    if isinstance(given, Mapping) and isinstance(understood, Mapping):
        for name, value in given.items():
            if name not in understood:
                return f"{path}{name}"
            found = surplus(value, understood[name], f"{path}{name}.")
            if found is not None:
                return found
    elif isinstance(given, list | tuple) and isinstance(understood, list | tuple):
        for number, (value, other) in enumerate(zip(given, understood, strict=False)):
            found = surplus(value, other, f"{path}{number}.")
            if found is not None:
                return found
    return None
