"""What a build knows of the metadata, and what it does with what it does not know.

A *feature level* is a number that the whole cluster has agreed on, kept in the metadata: level 1 is what
builds before levels wrote. Each build knows a range of levels. What only a higher level has is never proposed
before the cluster was raised to it, so no node meets a command or a setting that it does not know. A node
that does so all the same stops applying the metadata there: to skip what others apply would make its state
another one.

To add a command or a setting: name it here with the level that it needs, and raise ``highest`` with it. Its
meaning then never changes; another meaning is another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Levels:
    """The feature levels that one build knows, both ends included, and what needs which of them."""

    lowest: int
    highest: int
    commands: Mapping[str, int]
    """Each kind of command, and the level from which on it may be proposed."""
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

THIS_BUILD: Final = Levels(
    lowest=1,
    highest=3,
    commands={
        "raise_level": 1,
        "register_node": 1,
        "forget_node": 1,
        "form_cluster": 1,
        "create_topic": 1,
        "alter_topic": 1,
        "delete_topic": 1,
        "allocate_producer_ids": NUMBERED_PRODUCERS,
        "move_replicas": MEMBERSHIP,
        "start_moves": MEMBERSHIP,
        "finish_moves": MEMBERSHIP,
        "cancel_moves": MEMBERSHIP,
        "record_recovery": MEMBERSHIP,
        "drain_node": MEMBERSHIP,
        "undrain_node": MEMBERSHIP,
        "retire_node": MEMBERSHIP,
        "change_replication_factor": MEMBERSHIP,
        "add_partitions": MEMBERSHIP,
        "rebalance": MEMBERSHIP,
        "join_node": MEMBERSHIP,
        "remove_node": MEMBERSHIP,
    },
    settings={
        "retention_ms": 1,
        "retention_bytes": 1,
        "max_record_bytes": 1,
        "segment_bytes": 1,
    },
    members={
        "next_producer_id": NUMBERED_PRODUCERS,
        "moves": MEMBERSHIP,
        "next_move": MEMBERSHIP,
        "recoveries": MEMBERSHIP,
        "draining": MEMBERSHIP,
        "retiring": MEMBERSHIP,
        "rebalancing": MEMBERSHIP,
        "removed": MEMBERSHIP,
        "node_numbers": MEMBERSHIP,
    },
)


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
