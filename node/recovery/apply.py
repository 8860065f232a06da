"""Writes a plan into one node's data folder: the last step of a recovery, on each machine separately.

It may be interrupted anywhere and run again: first ``node.json`` says that a recovery was begun, and from
then on no node starts on the folder; then each group is written, replacing whatever an earlier try left; last
``node.json`` names the new epoch. A folder that the plan names and that was not written is of the old epoch,
so the others refuse its node.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from floodmark.format.frame import Frame, FrameKind, crc_of
from msgspec.structs import replace

from consensus.core import checkpoint_format, membership
from consensus.core.disk_loss_recovery import Stage
from consensus.core.state_files import StateFiles
from consensus.types import Membership
from node.membership.identity import NodeIdentity, save
from node.metadata import commands
from node.metadata.domains.recoveries import OFFSETS_PER_EPOCH
from node.metadata.state import METADATA_GROUP
from node.recovery.errors import NotRecoverable
from node.recovery.partition_state import PARTITION_STATE, PartitionState
from node.recovery.plan import Plan, PlannedGroup
from node.recovery.survey import of_member
from node.recovery_file import Recovered, write_recovered
from node.replicas.replica_store import LOST_MARKER
from storage import checkpoint
from storage.errors import LogCorrupt, LogTooNew
from storage.filesystem import FileSystem
from storage.log import Log
from storage.options import LogOptions
from storage.state_file import Header
from storage.vote import NAME as VOTE
from storage.vote import VoteFile

EMPTIED_INDEX: Final = 2
"""Where an emptied log starts over: above the end of an empty log, so that none continues it."""


def check(fs: FileSystem, data_dir: str, plan: Plan) -> NodeIdentity | None:
    """Whose folder it is; None where all of the plan is written already. Nothing is changed.

    Raises ``NotRecoverable``, ``IdentityProblem``.
    """
    identity = of_member(fs, data_dir)
    node, planned = identity.node_id, plan.nodes.get(identity.node_id)
    if (identity.cluster_id, identity.formation) != (plan.cluster_id, plan.formation):
        raise NotRecoverable(f"{data_dir} belongs to another cluster than the plan")
    if (identity.epoch, identity.recovery) == (plan.epoch, plan.name):
        return None
    if identity.recovering not in ("", plan.name):
        raise NotRecoverable(f"another recovery of {data_dir} was begun: finish it with its own plan")
    if planned is None or identity.incarnation != planned.incarnation:
        raise NotRecoverable(
            f"the plan was made without {data_dir}, the folder of {node}: keep it elsewhere, and start "
            f"{node} with an empty one; or make a new plan, with it, if nothing was written by this one yet"
        )
    if (identity.epoch, identity.recovery) != (plan.epoch - 1, plan.recovery):
        raise NotRecoverable(
            f"{data_dir} is of cluster epoch {identity.epoch}, and the plan leads from {plan.epoch - 1} to "
            f"{plan.epoch}: it was recovered by another plan meanwhile"
        )
    if not identity.recovering and identity.boot != planned.boot:
        raise NotRecoverable(
            f"{node} has been started since the plan was made: stop it, and make a new survey and a new plan"
        )
    return identity


def apply(
    fs: FileSystem, data_dir: str, plan: Plan, *, of_partition: PartitionState = PARTITION_STATE
) -> Iterator[str]:
    """Write what the plan says of this folder; tells each step when it is done and durable.

    Raises ``NotRecoverable``, ``IdentityProblem``, ``StorageError``, ``OSError``.
    """
    identity = check(fs, data_dir, plan)
    if identity is None:
        yield "everything is written already"
        return
    save(fs, data_dir, replace(identity, recovering=plan.name))
    groups = f"{data_dir}/groups"
    fs.mkdir(groups)
    for group in plan.groups:
        folder = f"{groups}/{group.raft_group}"
        if group.chosen == identity.node_id:
            if group.is_emptied:
                _begin_anew(fs, folder, group, plan)
            else:
                _go_on(fs, folder, group, plan, of_partition)
            yield f"group {group.raft_group}: goes on from here"
        elif identity.node_id in group.others:
            if group.state_is_ahead or _state_index(fs, folder, group, of_partition) > group.last_index:
                # Its state is another one than what the chosen replica makes of what is kept.
                fs.remove_tree(folder)
            _set_lost(fs, folder, lost=True)
            yield f"group {group.raft_group}: will be fetched from {group.chosen}"
    fs.sync_folder(groups)
    write_recovered(fs, data_dir, _told(identity.node_id, plan))
    save(fs, data_dir, replace(identity, epoch=plan.epoch, recovery=plan.name, recovering=""))


def _told(node: str, plan: Plan) -> Recovered:
    mine = [group for group in plan.groups if group.chosen == node]
    begins_anew = sum(group.is_emptied for group in mine)
    return Recovered(plan.epoch, plan.name, plan.lost, len(mine) - begins_anew, begins_anew)


def _state_index(fs: FileSystem, folder: str, group: PlannedGroup, of_partition: PartitionState) -> int:
    """The last entry that is part of the state which a partition's replica has stored; 0 for other groups."""
    if group.raft_group == METADATA_GROUP:
        return 0
    try:
        stored = checkpoint.load(fs, folder).checkpoint
        if stored is None or not stored.state:
            return 0
        return of_partition.last_index(checkpoint_format.decode(stored.state).machine)
    except (LogTooNew, ValueError):
        return 0  # Opening it will say what is wrong.


def _go_on(
    fs: FileSystem, folder: str, group: PlannedGroup, plan: Plan, of_partition: PartitionState
) -> None:
    """The chosen replica gets the group's new members, and a vote to elect itself with."""
    options = LogOptions(segment_bytes=group.segment_bytes)
    if group.is_damaged:
        log = Log.repair(fs, folder, options, keep_before=group.last_index + 1)
    else:
        log = Log.open(fs, folder, options)
    try:
        if log.last_index < group.last_index or log.term_at(group.last_index) != group.last_term:
            raise NotRecoverable(
                f"{folder} ends at entry {log.last_index} of term {log.last_term}, and the plan was made for "
                f"{group.last_index} of term {group.last_term}: make a new survey and a new plan"
            )
        if log.last_index > group.last_index:
            # Left by an earlier try, perhaps incomplete.
            log.truncate(group.last_index + 1)
        _make_sound(log, None if group.raft_group == METADATA_GROUP else of_partition)
        _append(log, group, plan)
    finally:
        log.close()
    _may_elect(fs, folder, group)


def _begin_anew(fs: FileSystem, folder: str, group: PlannedGroup, plan: Plan) -> None:
    """Write a log without records. The plan found no usable replica, so what is here is useless."""
    fs.remove_tree(folder)
    log = Log.open(fs, folder, LogOptions(segment_bytes=group.segment_bytes))
    offset = plan.epoch * OFFSETS_PER_EPOCH
    try:
        state = _empty_state(fs, folder, group, plan, offset) if group.keeps_state else b""
        log.reset(index=EMPTIED_INDEX, term=1, offset=offset, state=state)
        _append(log, group, plan)
    finally:
        log.close()
    _may_elect(fs, folder, group)


def _empty_state(fs: FileSystem, folder: str, group: PlannedGroup, plan: Plan, offset: int) -> bytes:
    """What the log of a machine with files goes on from: one without any block."""
    files = StateFiles(fs, folder)
    header = Header(plan.epoch, EMPTIED_INDEX, 1, offset)
    reference = files.keep(files.create(header), header)
    members = Membership(frozenset({group.chosen}), frozenset(group.others))
    return checkpoint_format.State(
        EMPTIED_INDEX, EMPTIED_INDEX, offset, [(EMPTIED_INDEX, members)], reference=reference
    ).encode()


def _append(log: Log, group: PlannedGroup, plan: Plan) -> None:
    """The entries of the recovery, durable on return; they are committed once the chosen replica leads."""
    members = Membership(frozenset({group.chosen}), frozenset(group.others))
    entries = [(FrameKind.MEMBERSHIP, membership.encode(members), 0)]
    if group.raft_group == METADATA_GROUP:
        entries.append((FrameKind.COMMAND, commands.encode(plan.command), plan.command.at_ms))
    for kind, payload, at_ms in entries:
        log.append(
            Frame(log.last_index + 1, group.term, log.next_offset, at_ms, 0, kind, payload, crc_of(payload))
        )
    log.write()
    log.sync()


def _make_sound(log: Log, of_partition: PartitionState | None) -> None:
    """No node is left that could return what this replica may have lost: it votes with what it has, and what
    the state of a partition has beyond the log is gone.
    """
    if not log.checkpoint_state:
        return
    state = checkpoint_format.decode(log.checkpoint_state)
    last_index, machine = log.last_index, state.machine
    if of_partition is not None:
        frames = log.frames(log.base_index, last_index)
        machine = of_partition.cut(machine, frames, index=last_index, offset=log.next_offset)
    sound = dataclasses.replace(state, stage=Stage.SOUND, machine=machine)
    if state.applied > last_index:
        sound = dataclasses.replace(sound, commit=last_index, applied=last_index, offset=log.next_offset)
    if sound != state:
        log.checkpoint(sound.encode(), index=min(log.checkpoint_index, last_index))


def _may_elect(fs: FileSystem, folder: str, group: PlannedGroup) -> None:
    """No vote in the term of the recovery, and none that waits for what is lost."""
    try:
        votes = VoteFile(fs, folder)
    except LogCorrupt:
        fs.rename(f"{folder}/{VOTE}", f"{folder}/{VOTE}.damaged")
        fs.sync_folder(folder)
        votes = VoteFile(fs, folder)
    try:
        votes.save(group.term, None, recover_until=0)
    finally:
        votes.close()
    _set_lost(fs, folder, lost=False)


def _set_lost(fs: FileSystem, folder: str, *, lost: bool) -> None:
    """Set whether the replica, when next opened, has no vote and acknowledges nothing that counts."""
    marker = f"{folder}/{LOST_MARKER}"
    if lost:
        fs.mkdir(folder)
        fs.open(marker, create=True).close()
        fs.sync_folder(folder)
    elif fs.exists(marker):
        fs.unlink(marker)
        fs.sync_folder(folder)
