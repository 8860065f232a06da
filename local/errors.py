"""Why a local cluster cannot run.

LocalClusterError
├── FolderInUse      another local cluster runs on the folder
├── OtherSize        the folder holds a cluster of another number of nodes
├── NoFreePorts      too few ports from the wanted one on
├── NotReady         nodes do not serve in time
├── NodesEnded       nodes ended by themselves
├── NotHealthy       not all partitions have all their replicas in sync, or something else is wrong
└── NoKeeper         no local cluster runs on the folder, or it does not do what it is asked for
"""

from __future__ import annotations


class LocalClusterError(Exception):
    """Base of all. ``hint`` says what to do, where that is known."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class FolderInUse(LocalClusterError):
    """Another local cluster runs on the folder."""


class OtherSize(LocalClusterError):
    """The folder holds a cluster of another number of nodes."""


class NoFreePorts(LocalClusterError):
    """Too few ports from the wanted one on."""


class NotReady(LocalClusterError):
    """Nodes do not serve in time; the text has what each lacked."""


class NodesEnded(LocalClusterError):
    """Nodes ended by themselves, and are not started again; the text says how."""


class NotHealthy(LocalClusterError):
    """Something is wrong with the cluster that has to be right first; the text says what."""


class NoKeeper(LocalClusterError):
    """Who runs the local cluster of a folder is not there, or cannot do what it is asked for."""
