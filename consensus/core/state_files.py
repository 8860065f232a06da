"""The state files in one replica's folder. Everything here waits for the disk: for threads.

A file is written under a temporary name, synced, renamed, its folder synced; only then may a checkpoint name
it, and only once one does is the file before removed. So whatever stands here and is not named by the
checkpoint is of no use: ``load`` removes it.
"""

from __future__ import annotations

from typing import Final

import structlog

from consensus.core import checkpoint_format, state_incoming
from consensus.core.checkpoint_format import Reference
from consensus.core.large_state import LargeMachine
from consensus.core.state_incoming import Incoming, Outgoing
from storage.atomic_file import TEMPORARY_SUFFIX
from storage.discovery import FIRST_HEADER
from storage.errors import LogCorrupt
from storage.failures import failure_of
from storage.filesystem import FileSystem
from storage.log import Log
from storage.state_file import SUFFIX, BadState, Header, StateWriter, file_name

_WRITING: Final = f"{SUFFIX[1:]}{TEMPORARY_SUFFIX}"
"""A log that is opened removes what is called like this."""

_log = structlog.get_logger("consensus.core.state_files")


class StateFiles:
    """One replica's. ``load`` comes first."""

    def __init__(self, fs: FileSystem, folder: str) -> None:
        self._fs = fs
        self._folder = folder
        self.reference: Reference | None = None
        """The file that the stored checkpoint names, from which the machine was loaded; None where there is
        none, and the machine begins empty."""
        self.incoming_index: int | None = None
        """The frame of the file that is being received, or was when the process before ended."""

    def load(self, log: Log, machine: LargeMachine) -> None:
        """Give the machine the state that the log's checkpoint names, and remove all other files.

        Where the file cannot be read, and all frames of the log can, from its very first one on, the machine
        begins empty and the log leads to the state. Else raises ``LogCorrupt``, beyond mending. Raises
        ``LogTooNew``, ``LogFailed``.
        """
        state = checkpoint_format.decode(log.checkpoint_state) if log.checkpoint_state else None
        reference = None if state is None else state.reference
        try:
            if reference is not None and self._load(reference, log, machine):
                self.reference = reference
            self._sweep(1 if self.reference is None else self.reference.index)
        except OSError as error:
            raise failure_of(error, f"loading the state in {self._folder}") from error

    def _load(self, reference: Reference, log: Log, machine: LargeMachine) -> bool:
        loader = machine.loader()
        try:
            file = self._fs.open(f"{self._folder}/{reference.name}")
            try:
                state_incoming.read(file, reference, loader.feed)
            finally:
                file.close()
        except (BadState, ValueError, FileNotFoundError) as error:
            path = f"{self._folder}/{reference.name}"
            if log.base_index > FIRST_HEADER.base_index:
                corrupt = LogCorrupt(
                    f"the state that the log goes on from cannot be read: {error}",
                    path=path,
                    position=0,
                    first_bad_index=log.base_index - 1,
                    last_known_index=log.last_index,
                )
                corrupt.is_beyond_mending = True
                raise corrupt from error
            _check_that_frames_are_there(log)
            _log.error("state_corrupt", path=path, reason=str(error), hint="the log leads to it once more")
            return False
        machine.adopt(loader, reference.index)
        return True

    def verify(self, reference: Reference) -> None:
        """Read a whole file. Raises ``BadState``, ``OSError``."""
        file = self._fs.open(f"{self._folder}/{reference.name}")
        try:
            file.forget_cached(0, reference.length)
            state_incoming.read(file, reference, lambda _: None)
        finally:
            file.close()

    def create(self, header: Header) -> StateWriter:
        """Begin to write a file; at most one at a time."""
        return StateWriter(self._fs, f"{self._folder}/{_WRITING}", header)

    def keep(self, writer: StateWriter, header: Header) -> Reference:
        """Make what was written durable under its name; no checkpoint names it yet."""
        writer.sync()
        writer.close()
        name = file_name(header.index)
        self._fs.rename(f"{self._folder}/{_WRITING}", f"{self._folder}/{name}")
        self._fs.sync_folder(self._folder)
        return Reference(name, header.id, header.index, writer.length, writer.crc)

    def discard(self, writer: StateWriter) -> None:
        """What was being written is not wanted any more."""
        writer.close()
        self._fs.unlink(f"{self._folder}/{_WRITING}")

    def remove(self, name: str) -> None:
        """Remove a file that no checkpoint names any more; fine when there is none."""
        if self._fs.exists(f"{self._folder}/{name}"):
            self._fs.unlink(f"{self._folder}/{name}")

    def outgoing(self, reference: Reference, chunk_bytes: int) -> Outgoing:
        """A file to send, so many bytes at a time."""
        return Outgoing(self._fs, f"{self._folder}/{reference.name}", reference, chunk_bytes)

    def incoming(self, reference: Reference) -> Incoming:
        """A file to receive, in place of any other one."""
        self.incoming_index = reference.index
        return Incoming(self._fs, self._folder, reference)

    def take(self, reference: Reference) -> None:
        """What was received is whole: give it its name, durably. No checkpoint names it yet."""
        self._fs.rename(f"{self._folder}/{state_incoming.NAME}", f"{self._folder}/{reference.name}")
        self._fs.sync_folder(self._folder)

    def remove_incoming(self) -> None:
        """What was received is not needed any more."""
        self.remove(state_incoming.NAME)

    def _sweep(self, covered: int) -> None:
        """Remove the files that the checkpoint does not name, and what it covers of one on its way."""
        kept = None if self.reference is None else self.reference.name
        for name in self._fs.listdir(self._folder):
            if name.endswith(SUFFIX) and name != kept:
                self._fs.unlink(f"{self._folder}/{name}")
        incoming = state_incoming.header_of(self._fs, self._folder)
        if incoming is not None and incoming.index > covered:
            self.incoming_index = incoming.index
        else:
            self.remove_incoming()


def _check_that_frames_are_there(log: Log) -> None:
    """A start passes over what is bad below the checkpoint; it is not mended while nothing is applied."""
    try:
        for _ in log.frames(log.base_index, log.last_index):
            pass
    except LogCorrupt as error:
        error.is_beyond_mending = True
        raise
