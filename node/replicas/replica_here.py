"""What every replica of a group that the metadata names has on this node, whatever the group's kind."""

from __future__ import annotations

from dataclasses import dataclass

from consensus.core.group import Group
from storage.log import Log
from storage.vote import VoteFile


@dataclass(frozen=True, slots=True)
class ReplicaHere:
    """A running replica. Members, moves, sizes and health go by this alone."""

    group: Group
    log: Log
    vote: VoteFile

    @property
    def data_bytes(self) -> int:
        """What it takes up on the disk: segment files, checkpoint, and the file with a shard's state."""
        return self.log.size_bytes + self.log.checkpoint_bytes + self.group.storage.state_bytes

    @property
    def leads(self) -> bool:
        """Elected, and its own first entry is committed and applied."""
        return self.group.is_ready_leader
