"""Who owns a data folder: ``node.json`` names the node, the cluster and the folder's own incarnation.

An incarnation is drawn when the folder is made. A node that lost its disk comes back under another one, and
that is how its peers notice that it may have forgotten votes and entries. ``boot`` rises with every start, so
that they notice as well when the folder is an old copy of itself. ``standing`` says how far it has come:

new      created, and not every initial peer has been asked yet whether it knew this node before
member   a first folder of its node: whatever it has not seen, it has never had
wiped    some peer has known this node with another folder: replicas from that time start without a vote

Once it is no longer new, ``nodes`` are those that the cluster was formed of, and ``formation`` is its name.
The present members are in the metadata, and in ``addresses`` for the next start.

``epoch`` counts the recoveries of the cluster from the loss of a majority (node/recovery), ``recovery`` is
the name of the last one. A folder with either is of format 2: earlier builds would forget them.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import json
import os
import secrets
from pathlib import Path

import msgspec

from storage.atomic_file import read_file, replace_file
from storage.filesystem import FileSystem

FORMAT_VERSION = 2
_WITHOUT_EPOCH = 1
FILE_NAME = "node.json"
LOCK_NAME = "lock"


class IdentityProblem(Exception):
    """This folder cannot be used by this node; the text says why and what to do."""


class Standing(enum.StrEnum):
    """See the module's docstring."""

    NEW = "new"
    MEMBER = "member"
    WIPED = "wiped"


class _Format(msgspec.Struct, frozen=True):
    format_version: int


class NodeIdentity(msgspec.Struct, frozen=True):
    """What ``node.json`` holds."""

    format_version: int
    node_id: str
    cluster_id: str
    incarnation: str
    standing: Standing = Standing.NEW
    nodes: tuple[str, ...] = ()
    formation: str = ""
    boot: int = 0
    """How often a node has started on this folder, this time included; 0 from builds that did not count."""
    level: int = 1
    """The cluster's feature level, as last learnt from the metadata."""
    epoch: int = 0
    recovery: str = ""
    recovering: str = ""
    """The name of an unfinished recovery of this folder: until it is finished no node starts on it."""
    joined: bool = False
    """It joined an existing cluster: ``nodes`` are those that it had met by then."""
    addresses: dict[str, str] = {}
    """From feature level 3 on: the cluster's nodes and their peer ports, as last learnt from the metadata."""


def load_or_create(fs: FileSystem, data_dir: str, *, node_id: str, cluster_id: str) -> NodeIdentity:
    """The folder's identity, with the next boot number; durable on return. Raises ``IdentityProblem``."""
    try:
        fs.mkdir(data_dir)
    except OSError as error:
        raise IdentityProblem(f"node.data_dir {data_dir} cannot be used: {error}") from error
    identity = load(fs, data_dir)
    if identity is None:
        return _create(fs, data_dir, node_id=node_id, cluster_id=cluster_id)
    _check_owner(identity, data_dir, node_id=node_id, cluster_id=cluster_id)
    if identity.recovering:
        raise IdentityProblem(
            f"a recovery of {data_dir} was begun and is not done: run 'floodmark recover apply' with its "
            "plan once more"
        )
    identity = msgspec.structs.replace(identity, boot=identity.boot + 1)
    save(fs, data_dir, identity)
    return identity


def load(fs: FileSystem, data_dir: str) -> NodeIdentity | None:
    """What a folder says; None where it has no such file. Raises ``IdentityProblem``."""
    try:
        raw = read_file(fs, f"{data_dir}/{FILE_NAME}")
    except OSError as error:
        raise IdentityProblem(f"node.data_dir {data_dir} cannot be used: {error}") from error
    if raw is None:
        return None
    try:
        # The format alone first: this build may be unable to read the rest of a newer one.
        found = msgspec.json.decode(raw, type=_Format).format_version
        if found > FORMAT_VERSION:
            unlike = f"has format {found}, this build knows {FORMAT_VERSION}"
            raise IdentityProblem(f"{data_dir}/{FILE_NAME} {unlike}: start a newer Floodmark")
        return msgspec.json.decode(raw, type=NodeIdentity)
    except msgspec.DecodeError as error:
        raise IdentityProblem(
            f"{data_dir}/{FILE_NAME} is damaged ({error}). Restore it, or move the whole folder away (not "
            "the file alone); the node then fetches everything from its peers"
        ) from error


def _check_owner(identity: NodeIdentity, data_dir: str, *, node_id: str, cluster_id: str) -> None:
    if identity.node_id != node_id:
        raise IdentityProblem(
            f"{data_dir} belongs to node {identity.node_id}, not to {node_id}: "
            "correct node.data_dir or node.id; two nodes never share a folder"
        )
    if identity.cluster_id != cluster_id:
        raise IdentityProblem(
            f"{data_dir} belongs to cluster {identity.cluster_id}, not to {cluster_id}: "
            "correct cluster.id or node.data_dir"
        )


def replaced(identity: NodeIdentity) -> NodeIdentity:
    """The same node's identity as if its folder had been replaced by this one. Not durable yet."""
    return msgspec.structs.replace(identity, incarnation=_incarnation(), standing=Standing.WIPED)


def _create(fs: FileSystem, data_dir: str, *, node_id: str, cluster_id: str) -> NodeIdentity:
    left = [name for name in fs.listdir(data_dir) if name in ("groups", "registry.log")]
    if left:
        raise IdentityProblem(
            f"{data_dir} holds {' and '.join(left)} but no {FILE_NAME}: its owner is not known. Restore it, "
            "or move the whole folder away; the node then fetches everything from its peers"
        )
    identity = NodeIdentity(_WITHOUT_EPOCH, node_id, cluster_id, _incarnation(), boot=1)
    save(fs, data_dir, identity)
    return identity


def _incarnation() -> str:
    return secrets.token_hex(8)


def save(fs: FileSystem, data_dir: str, identity: NodeIdentity) -> None:
    """Durable on return. Raises ``IdentityProblem``."""
    fields = msgspec.to_builtins(identity)
    has_epoch = bool(identity.epoch or identity.recovering)
    fields["format_version"] = FORMAT_VERSION if has_epoch else _WITHOUT_EPOCH
    if not has_epoch:
        for name in ("epoch", "recovery", "recovering"):
            del fields[name]
    text = json.dumps(fields, indent=1) + "\n"
    try:
        replace_file(fs, data_dir, FILE_NAME, text.encode(), durable=True)
    except OSError as error:
        raise IdentityProblem(f"{data_dir}/{FILE_NAME} cannot be written: {error}") from error


class FolderLock:
    """Keeps other processes out of a data folder until this one ends, in whatever way."""

    def __init__(self, data_dir: str) -> None:
        path = Path(data_dir, LOCK_NAME)
        try:
            Path(data_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # a folder that is not ours, such as a mounted disk
                Path(data_dir).chmod(0o700)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise IdentityProblem(f"node.data_dir {data_dir} cannot be used: {error}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "not known"
            os.close(self._fd)
            raise IdentityProblem(
                f"{data_dir} is in use by another process (pid {holder}): stop it or change node.data_dir"
            ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let other processes in."""
        os.close(self._fd)
