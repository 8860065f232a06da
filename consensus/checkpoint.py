"""What a replica stores beside its log so that a restart is quick: MessagePack, opaque to the log.

[version, commit index, applied index, next offset after it, [[index, [voters, learners]], ...],
 stage of probation, machine state]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgpack

from consensus.membership import from_lists
from consensus.probation import Stage
from consensus.types import Membership
from storage.errors import LogTooNew

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class State:
    """One replica at one moment. ``memberships`` begins with the newest that was committed then."""

    commit: int
    applied: int
    offset: int
    memberships: list[tuple[int, Membership]] = field(default_factory=list)
    stage: Stage = Stage.SOUND
    machine: bytes = b""

    def encode(self) -> bytes:
        """As the log keeps it."""
        members = [[index, [sorted(m.voters), sorted(m.learners)]] for index, m in self.memberships]
        packed: bytes = msgpack.packb(
            [VERSION, self.commit, self.applied, self.offset, members, int(self.stage), self.machine]
        )
        return packed


def decode(data: bytes) -> State:
    """Back from ``encode``. Raises ``LogTooNew``, ``ValueError``."""
    value = msgpack.unpackb(data)
    if isinstance(value, list) and value and isinstance(value[0], int) and value[0] > VERSION:
        unlike = f"has version {value[0]}, this build knows {VERSION}"
        raise LogTooNew("the group's state in a checkpoint", unlike)
    if not isinstance(value, list) or len(value) != 7 or value[0] != VERSION:
        raise ValueError(f"a checkpoint that is not of version {VERSION}")
    _, commit, applied, offset, members, stage, machine = value
    memberships = [(index, from_lists(lists)) for index, lists in members]
    return State(commit, applied, offset, memberships, Stage(stage), machine)
