"""Chooses the file of the replica that a fault damages: the same group on every target node."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from chaos.faults.fault import Scene

ReplicaFile = Literal["segment", "index", "checkpoint", "vote"]
"""A segment or index is the largest one of its replica."""
Of = Literal["partition", "metadata"]

PATTERNS: dict[ReplicaFile, str] = {
    "segment": "*.log",
    "index": "*.idx",
    "checkpoint": "checkpoint",
    "vote": "vote",
}
_METADATA = "0"


class NothingToDamage(Exception):
    """No group has such a file on all target nodes."""


def choose(scene: Scene, file: ReplicaFile, of: Of) -> list[Path]:
    """One file per node, all of one group: the metadata, or any partition. Raises ``NothingToDamage``."""
    folders = [scene.cluster.processes.data_dir(name) / "groups" for name in scene.nodes]
    found = [_largest_by_group(folder, PATTERNS[file]) for folder in folders]
    groups = set.intersection(*(set(files) for files in found))
    groups = groups & {_METADATA} if of == "metadata" else groups - {_METADATA}
    if not groups:
        raise NothingToDamage(f"no replica of a {of} has a {file} on all of {', '.join(scene.nodes)}")
    group = scene.random.choice(sorted(groups, key=int))
    return [files[group] for files in found]


def _largest_by_group(groups: Path, pattern: str) -> dict[str, Path]:
    """The largest non-empty file of a kind in each group's folder."""
    found: dict[str, Path] = {}
    for folder in groups.iterdir():
        files = [path for path in folder.glob(pattern) if path.stat().st_size]
        if folder.name.isdigit() and files:
            found[folder.name] = max(files, key=lambda path: (path.stat().st_size, path.name))
    return found
