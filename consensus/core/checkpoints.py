"""Storing where to go on after a restart, and what may be dropped from the log then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus.core.checkpoint_format import State
from consensus.core.disk_loss_recovery import Stage
from consensus.core.safeguards import Safeguard
from consensus.types import StateMachine

if TYPE_CHECKING:
    from consensus.core.core import Core
    from consensus.core.disk_loss_recovery import DiskLossRecovery


class Checkpoints:
    """The writing side of checkpoint_format.py."""

    def __init__(self, core: Core, machine: StateMachine, disk_loss_recovery: DiskLossRecovery) -> None:
        self._core = core
        self._machine = machine
        self._disk_loss_recovery = disk_loss_recovery
        self._stored_stage = Stage.SOUND

    def store(self) -> None:
        """Durable on return."""
        self._core.log.checkpoint(self.state(), index=self._core.applied_index)

    def state(self) -> bytes:
        """What ``store`` stores."""
        core = self._core
        # An entry may be known committed and not be durable here: after a crash it would be missing (C3).
        commit = core.applied_index if core.has(Safeguard.C3) else core.engine.commit_index
        state = State(
            commit,
            core.applied_index,
            core.applied_offset,
            core.members.history,
            self._disk_loss_recovery.stage,
            self._machine.snapshot(),
        )
        return state.encode()

    def store_stage(self) -> None:
        """That data was lost, and how far it is regained, must survive the next restart."""
        if self._disk_loss_recovery.stage is not self._stored_stage:
            self.store()
            self._stored_stage = self._disk_loss_recovery.stage

    def compact(self, before_index: int | None) -> int:
        """Store, then drop whole segments of applied entries below ``before_index``, or all of them."""
        limit = self._core.applied_index + 1
        self.store()
        return self._core.log.truncate_head(
            before_index=limit if before_index is None else min(limit, before_index)
        )
