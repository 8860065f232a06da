"""Checkpoints of a machine that keeps its state in files (large_state.py): a new file now and then, written
beside everything else, and a checkpoint that names it.

The checkpoint's index is the file's: the next start loads the file, and what is committed behind it is
applied again. So nothing that the file does not cover is ever trimmed from the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from consensus.core.checkpoint_format import Reference, State
from consensus.core.disk_loss_recovery import Stage
from consensus.core.large_state import LargeMachine, View
from storage.errors import OutOfRange
from storage.state_file import BadState, Header, StateWriter

if TYPE_CHECKING:
    from consensus.core.core import Core
    from consensus.core.disk_loss_recovery import DiskLossRecovery
    from consensus.core.state_files import StateFiles

CHUNKS_PER_SYNC: Final = 16
"""Written between two syncs: the disk of the other groups' logs is not to be given all at once."""
REST_SHARE: Final = 4
"""A group that rests gets a file only once its log has grown by this part of the state."""

_log = structlog.get_logger("consensus.core.large_checkpoints")


class LargeCheckpoints:
    """In place of ``Checkpoints``."""

    def __init__(
        self,
        core: Core,
        machine: LargeMachine,
        files: StateFiles,
        disk_loss_recovery: DiskLossRecovery,
        start: State,
    ) -> None:
        self._core = core
        self._machine = machine
        self._files = files
        self._disk_loss_recovery = disk_loss_recovery
        self._stored_stage = Stage.SOUND
        self.stored = replace(start, reference=files.reference, memberships=core.members.history[:1])
        """What the last checkpoint says, or would say where there is none: all but the stage."""
        self._writing: _Writing | None = None
        self._naming = False
        """A checkpoint with another file is on its way to the disk."""
        self._is_damaged = False
        self._is_replaced = False
        self.is_held: Callable[[], bool] = lambda: False
        """Whether the file that the checkpoint names has to stay: a follower is getting it."""

    @property
    def under_way(self) -> bool:
        """Whether a file is being written."""
        return self._writing is not None or self._naming

    def is_due(self, *, rests: bool, bytes_max: int) -> bool:
        """Whether a new file is worth its cost: bounded by what the log has grown since the last one."""
        if self._is_damaged:
            return True
        if self.is_held() or self._core.applied_index <= self.stored.applied:
            return False
        length = 0 if self.stored.reference is None else self.stored.reference.length
        grown = self._core.log.bytes_since_checkpoint
        return grown >= (length // REST_SHARE if rests else max(length, bytes_max))

    def begin(self) -> bool:
        """Begin to write the state as it is now; whether there is anything to write."""
        core = self._core
        if self.under_way or self._is_replaced:
            return False
        if not self._is_damaged and (self.is_held() or core.applied_index <= self.stored.applied):
            return False
        index = core.applied_index
        header = Header(core.random.getrandbits(63), index, core.log.term_at(index), core.applied_offset)
        state = State(index, index, core.applied_offset, core.members.history[:1])
        writing = self._writing = _Writing(header, state, self._machine.freeze())
        core.work(lambda: self._files.create(header), lambda file: self._created(writing, file))
        return True

    def _created(self, writing: _Writing, file: StateWriter) -> None:
        writing.file = file
        self._go_on(writing)

    def _go_on(self, writing: _Writing) -> None:
        """The next piece, or the end."""
        core, files, file = self._core, self._files, writing.file
        assert file is not None
        if writing is not self._writing:
            core.work(lambda: files.discard(file), lambda _: None)
            return
        size = core.options.state_chunk_bytes
        piece = writing.piece(size)
        if piece:
            core.work(
                lambda: _write(file, piece, CHUNKS_PER_SYNC * size),
                lambda _: self._go_on(writing),
                leisurely=True,
            )
        else:
            writing.view.close()
            core.work(lambda: files.keep(file, writing.header), lambda named: self._name(writing, named))

    def _name(self, writing: _Writing, reference: Reference) -> None:
        """The file is durable: have the checkpoint name it."""
        core = self._core
        if writing is not self._writing:
            self._remove(reference)
            return
        self._writing, self._naming = None, True
        state = replace(writing.state, stage=self._disk_loss_recovery.stage, reference=reference)

        def work() -> bool:
            try:
                core.log.checkpoint(state.encode(), index=state.applied)
            except OutOfRange:
                # The leader replaced the log meanwhile, and stored a newer state with it.
                return False
            return True

        core.work(work, lambda is_stored: self._named(state, is_stored=is_stored), exclusive=True)

    def _named(self, state: State, *, is_stored: bool) -> None:
        self._naming = False
        new = obsolete = state.reference
        assert new is not None
        if is_stored:
            obsolete, self.stored, self._is_damaged = self.stored.reference, state, False
        # Never by what else stands in the folder: a file that is received may just have got its name.
        if obsolete is not None and not (is_stored and obsolete.name == new.name):
            self._remove(obsolete)
        self.store_stage()

    def _remove(self, reference: Reference) -> None:
        self._core.work(lambda: self._files.remove(reference.name), lambda _: None)

    def verify(self) -> tuple[Reference, str] | None:
        """The file that the checkpoint names and what is wrong with it, or None. In a thread."""
        reference = self.stored.reference
        if reference is not None:
            try:
                self._files.verify(reference)
            except (BadState, OSError) as error:
                return reference, str(error)
        return None

    def distrust(self, reference: Reference, reason: str) -> None:
        """The file that the checkpoint names cannot be read: write another one at once."""
        if reference != self.stored.reference or self._is_damaged:
            return
        _log.error("state_corrupt", file=reference.name, reason=reason, hint="a new one is written")
        self._is_damaged = True
        self.begin()

    def replacing(self) -> None:
        """The log is about to be started over, and the machine to get another state."""
        self._writing, self._is_replaced = None, True

    def replaced(self, state: State) -> None:
        """The log was started over, with this in its checkpoint."""
        self.stored, self._stored_stage = state, state.stage
        self._is_damaged = self._is_replaced = False

    def store(self) -> None:
        """Store the stage, with the file that there is. Durable on return."""
        state = replace(self.stored, stage=self._disk_loss_recovery.stage)
        self._core.log.checkpoint(state.encode(), index=state.applied)

    def state(self) -> bytes:
        """What ``store`` stores."""
        return replace(self.stored, stage=self._disk_loss_recovery.stage).encode()

    def store_stage(self) -> None:
        """See ``Checkpoints``. It waits for a checkpoint that is on its way: that names the newer file, and
        every stage may be stored late."""
        if self._naming or self._is_replaced:
            return
        if self._disk_loss_recovery.stage is not self._stored_stage:
            self.store()
            self._stored_stage = self._disk_loss_recovery.stage

    def compact(self, before_index: int | None) -> int:
        """Drop whole segments of what the state file covers, below ``before_index``."""
        limit = self.stored.applied + 1
        return self._core.log.truncate_head(
            before_index=limit if before_index is None else min(limit, before_index)
        )


class _Writing:
    """One file in the making."""

    def __init__(self, header: Header, state: State, view: View) -> None:
        self.header = header
        self.state = state
        self.view = view
        self.file: StateWriter | None = None
        self._blocks: Iterator[bytes] = view.blocks()

    def piece(self, size_min: int) -> list[bytes]:
        """The next blocks; none at the end."""
        taken: list[bytes] = []
        size = 0
        while size < size_min and (block := next(self._blocks, None)) is not None:
            taken.append(block)
            size += len(block)
        return taken


def _write(file: StateWriter, blocks: list[bytes], sync_bytes: int) -> None:
    for block in blocks:
        file.append(block)
    if file.unsynced >= sync_bytes:
        file.sync()
