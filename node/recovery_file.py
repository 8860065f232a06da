"""``recovered``: left by ``floodmark recover apply`` in a node's data folder, so that the node tells of it.

A recovery is done with all nodes stopped, by whoever has their disks: nobody could tell of it then. It goes
once it was told; a crash in between has it told again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from node.metadata.group import Metadata
from node.service.service import Service
from storage.atomic_file import read_file, replace_file
from storage.filesystem import FileSystem

RECOVERED_FILE: Final = "recovered"
_ACTION: Final = "recover_from_lost_majority"
_log = structlog.get_logger(__name__)


class Recovered(msgspec.Struct, frozen=True):
    """What was written into this folder. ``name``: of the recovery, the same on every node."""

    epoch: int
    name: str
    lost: Sequence[str]
    """The nodes that are no part of the cluster any more."""
    goes_on: int
    """How many groups go on from this node's replicas."""
    begins_anew: int
    """How many of them without any record, since no replica was left."""


def write_recovered(fs: FileSystem, data_dir: str, recovered: Recovered) -> None:
    """For the node's next start; durable on return."""
    replace_file(fs, data_dir, RECOVERED_FILE, msgspec.json.encode(recovered) + b"\n", durable=True)


class RecoveryFile:
    """One per node."""

    def __init__(self, fs: FileSystem, data_dir: str, metadata: Metadata, service: Service) -> None:
        self._fs = fs
        self._data_dir = data_dir
        self._metadata = metadata
        self._service = service

    async def tell(self) -> None:
        """Tell of the recovery, if there was one; a background task."""
        content = read_file(self._fs, f"{self._data_dir}/{RECOVERED_FILE}")
        if content is None:
            return
        await self._metadata.wait_current()
        try:
            details = msgspec.structs.asdict(msgspec.json.decode(content, type=Recovered))
        except msgspec.DecodeError as error:
            details = {"unreadable": str(error)}
        _log.warning("cluster_recovered", **details)
        self._service.done_by_node(_ACTION, "disk", details)
        with contextlib.suppress(FileNotFoundError):
            self._fs.unlink(f"{self._data_dir}/{RECOVERED_FILE}")
        self._fs.sync_folder(self._data_dir)
