"""What is committed and durable here goes to the machine, in order, once; then it may be seen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from floodmark.format.frame import FrameKind

from consensus.core.large_state import LargeMachine, is_large
from consensus.types import StateMachine

if TYPE_CHECKING:
    from consensus.core.core import Core
    from consensus.core.disk_loss_recovery import DiskLossRecovery
    from consensus.core.proposals import Proposals

FRAMES_PER_STEP_MAX: Final = 2048
"""Others wait meanwhile; after a restart or a long absence there may be many."""
LARGE_BYTES_PER_STEP_MAX: Final = 256 << 10
"""... and to a large state, whose commands may each set hundreds of keys: what takes a few milliseconds."""


class Applier:
    """Moves the applied index, and with it the high watermark, towards the commit index."""

    def __init__(
        self,
        core: Core,
        machine: StateMachine | LargeMachine,
        proposals: Proposals,
        disk_loss_recovery: DiskLossRecovery,
    ) -> None:
        self._core = core
        self._machine = machine
        self.may_halt = hasattr(machine, "halted")
        """Whether ``halted`` is to be looked at."""
        self._bytes_max = LARGE_BYTES_PER_STEP_MAX if is_large(machine) else math.inf
        self._proposals = proposals
        self._disk_loss_recovery = disk_loss_recovery

    @property
    def halted(self) -> bool:
        """Whether the machine does not know what comes next: nothing is applied any more."""
        return self.may_halt and getattr(self._machine, "halted", None) is not None

    @property
    def target(self) -> int:
        """How far it could go now: nothing is shown that this replica itself might lose in a crash."""
        core = self._core
        return min(core.engine.commit_index, core.log.durable_index)

    def advance(self) -> bool:
        """Apply what is due; returns whether anything was."""
        if not self.is_behind:
            return False
        core = self._core
        applied = core.applied_index
        target = min(self.target, applied + FRAMES_PER_STEP_MAX)
        size = 0
        for frame in core.log.frames(applied + 1, target):
            size += frame.size
            kind = frame.kind
            if kind is FrameKind.RECORDS or kind is FrameKind.COMMAND:
                self._machine.apply(frame)
                if self.may_halt and self.halted:
                    break
            # A gap moves it on over all that it stands for, and is nothing to the machine.
            core.applied_index = frame.last_index if kind is FrameKind.GAP else frame.index
            core.applied_offset = frame.next_offset
            if kind is FrameKind.MEMBERSHIP:
                core.members.committed(frame.index)
                self._disk_loss_recovery.look()
            if size >= self._bytes_max:
                break
        self._proposals.settle(core.applied_index)
        return True

    @property
    def is_behind(self) -> bool:
        """Whether another step is due at once."""
        core = self._core
        applied = core.applied_index
        return (
            applied < core.log.durable_index
            and applied < core.engine.commit_index
            and not (self.may_halt and self.halted)
        )
