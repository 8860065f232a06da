"""What a replica stores beside its log so that a restart is quick: MessagePack, opaque to the log.

[version, commit index, applied index, next offset after it, [[index, [voters, learners]], ...],
 stage of disk-loss recovery, machine state]

That is version 1. Version 2 has one member more, and an empty machine state: that of a machine which keeps
its state in a file (large_state.py), and names it:

[name, id, index, length in bytes, crc32c of all of them]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from consensus.core.disk_loss_recovery import Stage
from consensus.core.membership import from_lists
from consensus.types import Membership
from storage.errors import LogTooNew

VERSION: Final = 2
_WITHOUT_FILE: Final = 1


@dataclass(frozen=True, slots=True)
class Reference:
    """A state file of the replica's folder: whole and durable before any checkpoint names it."""

    name: str
    id: int
    index: int
    """The last frame that it covers."""
    length: int
    crc: int


@dataclass(frozen=True, slots=True)
class State:
    """One replica at one moment. ``memberships`` begins with the newest that was committed then."""

    commit: int
    applied: int
    offset: int
    memberships: list[tuple[int, Membership]] = field(default_factory=list)
    stage: Stage = Stage.SOUND
    machine: bytes = b""
    reference: Reference | None = None

    def encode(self) -> bytes:
        """As the log keeps it."""
        members = [[index, [sorted(m.voters), sorted(m.learners)]] for index, m in self.memberships]
        version = _WITHOUT_FILE if self.reference is None else VERSION
        fields = [version, self.commit, self.applied, self.offset, members, int(self.stage), self.machine]
        if self.reference is not None:
            file = self.reference
            fields.append([file.name, file.id, file.index, file.length, file.crc])
        packed: bytes = msgpack.packb(fields)
        return packed


def decode(data: bytes) -> State:
    """Back from ``encode``. Raises ``LogTooNew``, ``ValueError``."""
    value = msgpack.unpackb(data)
    if isinstance(value, list) and value and isinstance(value[0], int) and value[0] > VERSION:
        unlike = f"has version {value[0]}, this build knows {VERSION}"
        raise LogTooNew("the group's state in a checkpoint", unlike)
    if not isinstance(value, list) or value[:1] not in ([_WITHOUT_FILE], [VERSION]):
        raise ValueError(f"a checkpoint that is not of version {VERSION}")
    if len(value) != (7 if value[0] == _WITHOUT_FILE else 8):
        raise ValueError(f"a checkpoint of version {value[0]} with {len(value)} members")
    _, commit, applied, offset, members, stage, machine = value[:7]
    reference = None if value[0] == _WITHOUT_FILE else _reference(value[7])
    memberships = [(index, from_lists(lists)) for index, lists in members]
    return State(commit, applied, offset, memberships, Stage(stage), machine, reference)


def _reference(value: Any) -> Reference:
    if not isinstance(value, list) or list(map(type, value)) != [str, int, int, int, int]:
        raise ValueError("a state file is named by its name and four numbers")
    return Reference(*value)
