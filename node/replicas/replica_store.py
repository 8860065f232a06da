"""The folders of this node's replicas: opened, repaired, recognised as lost, removed. It blocks: use threads.

``groups/<id>`` holds one replica's segments, checkpoint and vote. A folder to be removed is renamed first, so
that a crash in the middle leaves nothing that looks like a replica. A file named ``lost`` says that this
replica was here before and its data is gone; it stays until the group has stored that itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import structlog

from consensus.core.large_state import LargeMachine
from consensus.core.state_files import StateFiles
from storage import segment_header, vote
from storage.errors import LogCorrupt
from storage.filesystem import FileSystem
from storage.log import Log
from storage.options import LogOptions
from storage.quarantine import check_files
from storage.vote import VoteFile

DELETED_SUFFIX: Final = ".deleted"
LOST_MARKER: Final = "lost"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """A replica's files. ``lost``: all that it had promised is gone, so it may not vote.

    ``damage``: an unreadable frame, to be mended once the replica runs.
    """

    log: Log
    vote: VoteFile
    lost: bool
    damage: LogCorrupt | None = None
    files: StateFiles | None = None
    """The files of a machine that keeps its state in files; it was loaded from them."""


class ReplicaStore:
    """All replicas' folders of one node."""

    def __init__(self, fs: FileSystem, data_dir: str) -> None:
        self._fs = fs
        self._groups = f"{data_dir}/groups"

    def sweep(self) -> set[int]:
        """Finish removals that a crash cut short; returns the ids of the replicas that exist."""
        self._fs.mkdir(self._groups)
        present: set[int] = set()
        for name in self._fs.listdir(self._groups):
            if name.endswith(DELETED_SUFFIX):
                self._fs.remove_tree(f"{self._groups}/{name}")
            elif name.isdigit():
                present.add(int(name))
        return present

    def forsake(self) -> None:
        """All replicas here count as lost when next opened; durable on return."""
        for raft_group in sorted(self.sweep()):
            self._mark_lost(self._folder(raft_group))

    def open(
        self,
        raft_group: int,
        options: LogOptions,
        *,
        known: bool,
        wiped: bool,
        comes: bool = False,
        damage: LogCorrupt | None = None,
        machine: LargeMachine | None = None,
    ) -> Opened:
        """Open one replica, creating it where it does not exist. A ``machine`` that keeps its state in files
        is loaded from them.

        ``known``: it was created here before, so a missing one is lost. ``wiped``: it is not known here, but
        was in an earlier folder of this node. ``comes``: a move brings it to this node, so it begins as a
        lost one does, though nothing is lost. ``damage`` was met while the replica ran, perhaps where opening
        does not look: what cannot be mended is quarantined. Raises ``LogFailed``, and ``LogTooNew`` with all
        files left as they are.
        """
        opened = self._open(raft_group, options, known=known, wiped=wiped, damage=damage, comes=comes)
        if machine is None:
            return opened
        files = StateFiles(self._fs, self._folder(raft_group))
        try:
            files.load(opened.log, machine)
        except LogCorrupt as error:
            # A log without the state that it continues is useless: it is quarantined like a damaged one.
            opened.log.close()
            opened.vote.close()
            opened = self._open(raft_group, options, known=known, wiped=wiped, damage=error)
            files.load(opened.log, machine)
        except BaseException:
            opened.log.close()
            opened.vote.close()
            raise
        return replace(opened, files=files)

    def _open(
        self,
        raft_group: int,
        options: LogOptions,
        *,
        known: bool,
        wiped: bool,
        damage: LogCorrupt | None,
        comes: bool = False,
    ) -> Opened:
        folder = self._folder(raft_group)
        self._fs.mkdir(folder)
        whole = self._has_segments(folder) and self._fs.exists(f"{folder}/{vote.NAME}")
        marker = f"{folder}/{LOST_MARKER}"
        lost = self._fs.exists(marker) or (not whole and (known or wiped))
        if lost:
            check_files(self._fs, folder)
            self._mark_lost(folder)
            if comes and not known:
                _log.info("replica_comes", group=raft_group)
            else:
                _log.error("replica_lost", group=raft_group, hint="it rejoins without a vote and fetches all")
        try:
            votes = VoteFile(self._fs, folder)
        except LogCorrupt as error:
            # Without its vote this replica could vote twice in one term.
            check_files(self._fs, folder)
            _log.error("vote_corrupt", group=raft_group, reason=str(error))
            self._mark_lost(folder)
            self._fs.rename(f"{folder}/{vote.NAME}", f"{folder}/{vote.NAME}.damaged")
            self._fs.sync_folder(folder)
            votes, lost = VoteFile(self._fs, folder), True
        try:
            log = self._open_log(raft_group, folder, options, votes, damage)
        except BaseException:
            votes.close()
            raise
        if damage is None or damage.is_beyond_mending:
            damage = log.damage
        return Opened(log, votes, lost, damage)

    def settle(self, raft_group: int) -> None:
        """The group itself has stored that this replica was lost."""
        folder = self._folder(raft_group)
        if self._fs.exists(f"{folder}/{LOST_MARKER}"):
            self._fs.unlink(f"{folder}/{LOST_MARKER}")
            self._fs.sync_folder(folder)

    def retire(self, raft_group: int) -> None:
        """From here on the folder is not a replica; durable on return."""
        folder = self._folder(raft_group)
        if self._fs.exists(folder):
            self._fs.rename(folder, folder + DELETED_SUFFIX)
            self._fs.sync_folder(self._groups)

    def remove(self, raft_group: int) -> None:
        """Delete what ``retire`` left."""
        self._fs.remove_tree(self._folder(raft_group) + DELETED_SUFFIX)

    def _open_log(
        self,
        raft_group: int,
        folder: str,
        options: LogOptions,
        votes: VoteFile,
        damage: LogCorrupt | None,
    ) -> Log:
        try:
            if damage is not None and damage.is_beyond_mending:
                raise damage
            return Log.open(self._fs, folder, options)
        except LogCorrupt as error:
            _log.error(
                "log_corrupt",
                group=raft_group,
                reason=str(error),
                first_bad_index=error.first_bad_index,
                last_known_index=error.last_known_index,
                set_aside=True,
                hint="the damaged part is kept in quarantine/ and fetched again from the other replicas",
            )
            # First the promise not to vote before all is fetched again, then the cut: a crash between the
            # two loses neither.
            Log.check_repairable(self._fs, folder, options, keep_before=error.first_bad_index)
            until = max(votes.recover_until, error.last_known_index)
            votes.save(votes.term, votes.voted_for, recover_until=until)
            return self._repaired(folder, options, error)

    def _repaired(self, folder: str, options: LogOptions, damage: LogCorrupt) -> Log:
        """The quarantined part may have hidden damage before it: then the log is good only up to there."""
        while True:
            try:
                return Log.repair(self._fs, folder, options, keep_before=damage.first_bad_index)
            except LogCorrupt as before:
                if before.first_bad_index >= damage.first_bad_index:
                    raise
                damage = before

    def _mark_lost(self, folder: str) -> None:
        self._fs.open(f"{folder}/{LOST_MARKER}", create=True).close()
        self._fs.sync_folder(folder)

    def _has_segments(self, folder: str) -> bool:
        return any(segment_header.base_index_of(name) is not None for name in self._fs.listdir(folder))

    def _folder(self, raft_group: int) -> str:
        return f"{self._groups}/{raft_group}"
