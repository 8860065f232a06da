"""What one stopped node's data folder holds: the first step of a recovery. Nothing is changed.

A survey is a small file, so that the folders may stay on their machines: it is copied to where the plan is
made (``plan.py``). Every frame of every replica is read, since the choice between replicas depends on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from node.membership.identity import NodeIdentity, Standing, load
from node.metadata.levels import Levels
from node.metadata.state import METADATA_GROUP
from node.metadata.this_build import THIS_BUILD
from node.recovery.errors import NotRecoverable
from node.recovery.replica_survey import MetadataLook, ReplicaSurvey, look_at
from storage.filesystem import FileSystem

SURVEY_VERSION: Final = 1


class Survey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One folder, as its node left it."""

    survey_version: int
    node_id: str
    cluster_id: str
    formation: str
    incarnation: str
    boot: int
    """How often its node has started: a higher number later means that it has run since."""
    epoch: int
    recovery: str
    nodes: tuple[str, ...]
    """Those that its cluster was formed of."""
    replicas: tuple[ReplicaSurvey, ...]
    metadata: bytes = b""
    """The metadata's state at the end of its log; empty where that is unknown."""
    metadata_problem: str = ""
    """Why it is unknown."""

    def by_group(self) -> dict[int, ReplicaSurvey]:
        """Its replicas."""
        return {replica.raft_group: replica for replica in self.replicas}


def survey(
    fs: FileSystem,
    data_dir: str,
    *,
    levels: Levels = THIS_BUILD,
    tell: Callable[[str], None] = lambda _text: None,
) -> Survey:
    """Survey a folder; its node must not run. ``tell`` gets progress messages.

    Raises ``NotRecoverable``, ``IdentityProblem``, ``OSError``.
    """
    identity = of_member(fs, data_dir)
    if identity.recovering:
        raise NotRecoverable(
            f"a recovery of {data_dir} was begun and is not done: run 'floodmark recover apply' with its "
            "plan once more"
        )
    groups = f"{data_dir}/groups"
    ids = sorted(int(name) for name in fs.listdir(groups) if name.isdigit()) if fs.exists(groups) else []
    metadata = MetadataLook(levels)
    replicas: list[ReplicaSurvey] = []
    for number, raft_group in enumerate(ids, 1):
        tell(f"{data_dir}: reading replica {number} of {len(ids)}")
        found = look_at(
            fs, f"{groups}/{raft_group}", raft_group, metadata if raft_group == METADATA_GROUP else None
        )
        if found is not None:
            replicas.append(found)
    return Survey(
        SURVEY_VERSION,
        identity.node_id,
        identity.cluster_id,
        identity.formation,
        identity.incarnation,
        identity.boot,
        identity.epoch,
        identity.recovery,
        identity.nodes,
        tuple(replicas),
        metadata.snapshot,
        metadata.problem,
    )


def of_member(fs: FileSystem, data_dir: str) -> NodeIdentity:
    """Whose folder it is, if it was part of a cluster. Raises ``NotRecoverable``, ``IdentityProblem``."""
    identity = load(fs, data_dir)
    if identity is None:
        raise NotRecoverable(f"{data_dir} is not a node's data folder: there is no node.json in it")
    if identity.standing is Standing.NEW:
        raise NotRecoverable(f"{data_dir} holds nothing: its node has never taken part in a cluster")
    return identity
