"""A replica's state from its log and last checkpoint: what is committed since then is applied again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from floodmark.format.frame import FrameKind

from consensus.core import checkpoint_format
from consensus.core.checkpoint_format import State
from consensus.core.disk_loss_recovery import LOST_UNTIL, Stage
from consensus.core.membership import Members
from consensus.core.safeguards import Safeguard
from consensus.types import Membership, StateMachine
from storage.discovery import FIRST_HEADER
from storage.errors import LogCorrupt
from storage.log import Log

if TYPE_CHECKING:
    from consensus.core.core import Core
    from consensus.core.state_files import StateFiles


def restored(
    core: Core,
    membership: Membership,
    machine: StateMachine | None,
    *,
    voting: bool,
    on_change: Callable[[Membership], None],
    files: StateFiles | None,
) -> State:
    """Set members, applied index and machine; ``membership`` counts only where nothing is stored.

    A machine that keeps its state in files has been loaded by ``files`` already, and is not needed here.
    """
    log = core.log
    before_base = log.base_index - 1
    if machine is None:
        assert files is not None
        state = _of_file(log, membership, files)
    elif log.checkpoint_state:
        state = checkpoint_format.decode(log.checkpoint_state)
        if state.applied < before_base:
            _refuse_without_state(core, machine)
        machine.restore(state.machine)
    else:
        _refuse_without_state(core, machine)
        state = State(before_base, before_base, log.start_offset, [(before_base, membership)])
    commit = state.commit
    if core.has(Safeguard.C3):
        commit = min(commit, log.last_index)
    core.applied_index = max(before_base, min(state.applied, log.last_index))
    core.applied_offset = state.offset if state.applied == core.applied_index else log.next_offset
    members = core.members = Members(core.node_id, *state.memberships[0], on_change=lambda _: None)
    # An uncommitted membership of the checkpoint may have been truncated since: the log knows.
    for frame in log.frames(core.applied_index + 1, log.last_index):
        if frame.kind is FrameKind.MEMBERSHIP:
            members.appended(frame)
        elif frame.kind is FrameKind.GAP:
            commit = max(commit, frame.last_index)
    members.on_change = on_change
    return State(commit, core.applied_index, core.applied_offset, stage=_stage(core, state, voting=voting))


def _of_file(log: Log, membership: Membership, files: StateFiles) -> State:
    """Where the machine stands: at the state file's frame, or before the first frame of a whole log."""
    before_base = log.base_index - 1
    state = State(before_base, before_base, log.start_offset, [(before_base, membership)])
    if log.checkpoint_state:
        stored = checkpoint_format.decode(log.checkpoint_state)
        if stored.reference == files.reference:
            return stored
        state = replace(state, stage=stored.stage)
    assert log.base_index == FIRST_HEADER.base_index, "what was trimmed stands in a file that was loaded"
    return state


def _stage(core: Core, state: State, *, voting: bool) -> Stage:
    """The vote file knows that data was lost also where the checkpoint is; how far it is back it does not."""
    if not voting:
        return Stage.LOST
    until = core.vote.recover_until
    if until == LOST_UNTIL and state.stage is not Stage.REJOINING:
        return Stage.LOST
    if until and state.stage is Stage.SOUND:
        return Stage.RECOVERING
    return state.stage


def _refuse_without_state(core: Core, machine: StateMachine) -> None:
    """A log of commands that was trimmed means nothing without the state that it continues."""
    log = core.log
    if log.base_index > 2 and getattr(machine, "install_at_applied", False):
        raise LogCorrupt(
            "the checkpoint with the machine's state is missing",
            path="checkpoint",
            position=0,
            first_bad_index=log.base_index,
            last_known_index=log.last_index,
        )
