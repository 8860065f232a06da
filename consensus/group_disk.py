"""What a group stores besides its log, when its host asks for it. These calls wait for the disk."""

from __future__ import annotations

from consensus.group_view import GroupView


class GroupDisk(GroupView):
    """Term and vote, and checkpoints."""

    def save_vote(self) -> None:
        """Make term and vote durable while ``needs_vote_saved``; may run in a thread. Raises StorageError."""
        self._parts.journal.save_vote()

    def verify_vote(self) -> bool:
        """Whether both copies of the stored vote are whole; else it is written anew. Raises StorageError."""
        return self._core.vote.verify()

    def checkpoint(self) -> None:
        """Store where to go on after a restart, durably. Blocks on the disk."""
        self._parts.checkpoints.store()

    def checkpoint_state(self) -> bytes:
        """What ``checkpoint`` stores; for a host that calls ``log.checkpoint`` in a thread."""
        return self._parts.checkpoints.state()

    def compact(self, before_index: int | None = None) -> int:
        """Checkpoint, then drop whole segments of applied entries below ``before_index`` (None: all of them).

        Returns the log's new base index.
        """
        return self._parts.checkpoints.compact(before_index)
