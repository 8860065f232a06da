"""Which parts of the metadata a build knows, and what it does about the others.

A *feature level* is a number that the whole cluster has agreed on, kept in the metadata: level 1 is what
builds without levels wrote. Each build knows a range of levels. What needs a higher level is never
proposed before the cluster was raised to it, so no node meets a command or a setting that it does not know.
A node that does so all the same stops applying the metadata there: if it skipped what others apply, its
state would differ from theirs.

To add a command, put it into the table of its domain (domains/) with the level that it needs; a setting or a
member of the state goes into ``this_build.py``. Raise ``highest`` with it. Its meaning then never changes;
a new meaning gets a new name.
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
    """The kinds of commands that it knows, by their encoded names."""
    settings: Mapping[str, int]
    """The level that each setting of a topic needs; below it the setting has its default, not stored."""
    members: Mapping[str, int] = field(default_factory=dict)
    """Likewise the members of the state that level 1 does not have."""

    def knows(self, level: int) -> bool:
        """Whether this build can run in a cluster at this level."""
        return self.lowest <= level <= self.highest

    def later_settings(self, level: int) -> list[str]:
        """The settings that a cluster at this level does not have yet."""
        return [name for name, needed in self.settings.items() if needed > level]

    def later_members(self, level: int) -> list[str]:
        """The members of the state that a cluster at this level does not have yet."""
        return [name for name, needed in self.members.items() if needed > level]


NUMBERED_PRODUCERS: Final = 2
"""The level from which on producers can have numbers."""

BATCH_FORMAT_2: Final = 2
"""The level from which on record batches of format 2 are accepted and written."""

MEMBERSHIP: Final = 3
"""The level from which on replicas move, and nodes come and go."""

SECURITY: Final = 4
"""The level from which on the cluster knows users, what they may do, and how much of it."""

GROUPS: Final = 5
"""The level from which on there are consumer groups, and the coordinator that keeps them."""

QUEUES: Final = 6
"""The level from which on there are queues, rules of access to them, and records that they deliver later."""

MOVED_POSITIONS: Final = 6
"""The level from which on positions of groups in partitions move without records."""

PARTITION_QUOTAS: Final = 6
"""The level from which on a quota may limit how many partitions change in a second."""


def below_level(level: int, needed: int) -> FloodmarkError | None:
    """Why a cluster at ``level`` refuses a command that needs ``needed``; None where it takes it."""
    return None if level >= needed else Conflict(f"this needs feature level {needed}", level=level)


class TooNew(Exception):
    """Something that only a newer build knows; the text names it."""


def surplus(given: Any, understood: Any, path: str = "") -> str | None:
    """The first member of ``given`` that ``understood`` lacks, as a path with dots; None when there is none.

    Both are plain data; ``understood`` is ``given`` decoded and encoded again by this build.
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
