"""What a replica stores besides its log, when its host asks for it: checkpoints, and files of a large state.

Where the docstring does not say otherwise, a call waits for the disk.
"""

from __future__ import annotations

from consensus.core.checkpoint_format import Reference
from consensus.core.group_parts import GroupParts


class GroupStorage:
    """Checkpoints, files of a large state, and the vote file as the scrub looks at it."""

    def __init__(self, parts: GroupParts) -> None:
        self._parts = parts
        self._core = parts.core

    def verify_vote(self) -> bool:
        """Whether both copies of the stored vote are whole; else it is written again. Raises StorageError."""
        return self._core.vote.verify()

    def checkpoint(self) -> None:
        """Store where to go on after a restart, durably. Blocks on the disk."""
        self._parts.checkpoints.store()

    def checkpoint_state(self) -> bytes:
        """What ``checkpoint`` stores; for a host that calls ``log.checkpoint`` in a thread."""
        return self._parts.checkpoints.state()

    @property
    def is_large(self) -> bool:
        """Whether the machine keeps its state in files, which ``begin_checkpoint`` writes."""
        return self._parts.large is not None

    def begin_checkpoint(self) -> bool:
        """Begin to write the state into a new file, by jobs; whether there is anything to write."""
        large = self._parts.large
        if large is None or not self._core.runs:
            return False
        self._parts.begin()
        return large.begin()

    @property
    def state_bytes(self) -> int:
        """Bytes of the file with the machine's state that the newest checkpoint names; 0 without one."""
        large = self._parts.large
        return 0 if large is None or large.stored.reference is None else large.stored.reference.length

    def verify_state(self) -> tuple[Reference, str] | None:
        """Which state file cannot be read back, and why; None where it can. In a thread."""
        large = self._parts.large
        return None if large is None else large.verify()

    def distrust_state(self, reference: Reference, reason: str) -> None:
        """Have a state file that cannot be read replaced by one of what is in memory."""
        large = self._parts.large
        if large is not None and self._core.runs:
            self._parts.begin()
            large.distrust(reference, reason)

    @property
    def checkpoint_under_way(self) -> bool:
        """Whether ``begin_checkpoint`` has not ended."""
        large = self._parts.large
        return large is not None and large.under_way

    def checkpoint_is_due(self, *, rests: bool, bytes_max: int) -> bool:
        """Whether a new state file is worth its cost, of a group that rests, or whose log has grown by
        ``bytes_max`` or the size of the state."""
        large = self._parts.large
        self._parts.begin()
        return large is not None and large.is_due(rests=rests, bytes_max=bytes_max)

    def compact(self, before_index: int | None = None) -> int:
        """Checkpoint, then drop whole segments of applied entries below ``before_index`` (None: all of them).

        Returns the log's new base index.
        """
        return self._parts.checkpoints.compact(before_index)
