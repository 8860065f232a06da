"""Why a local cluster cannot run.

LocalClusterError
├── FolderInUse      another local cluster runs on the folder
├── OtherSize        the folder holds a cluster of another number of nodes
├── NoFreePorts      too few free ports from the requested one on
├── NotReady         nodes do not serve in time
├── NodesEnded       nodes ended by themselves
├── NotHealthy       not all partitions have all their replicas in sync, or something else is wrong
└── NoKeeper         no local cluster runs on the folder, or it cannot do what is asked
"""

from __future__ import annotations


class LocalClusterError(Exception):
    """Base of all. ``hint`` says what to do, if that is known."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class FolderInUse(LocalClusterError):
    """Another local cluster runs on the folder."""


class OtherSize(LocalClusterError):
    """The folder holds a cluster of another number of nodes."""


class NoFreePorts(LocalClusterError):
    """Too few free ports from the requested one on."""


class NotReady(LocalClusterError):
    """Nodes do not serve in time; the text says what each of them lacked."""


class NodesEnded(LocalClusterError):
    """Nodes ended by themselves and are not restarted; the text says how they ended."""


class NotHealthy(LocalClusterError):
    """The cluster must be healthy first; the text says what is wrong."""


class NoKeeper(LocalClusterError):
    """No process runs the local cluster of a folder, or it cannot do what is asked."""
