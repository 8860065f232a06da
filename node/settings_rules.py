"""Rules within and between the settings. All problems are reported together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from node import settings_exposure, settings_limits
from node.addresses import split_address
from node.metadata.topic_config import CONFIG_VALUE_MAX
from node.settings import (
    AuditSettings,
    ClusterSettings,
    GroupSettings,
    HttpSettings,
    InvalidSettings,
    Settings,
)

_NODE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SECRET_LENGTH_MIN = 16
_SECRET_DIFFERENT_MIN = 8
ANNOUNCED_BYTES_MAX = 340
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
_ORIGIN = re.compile(
    r"(?!http://.*:80\Z|https://.*:443\Z)[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"
)


def check(settings: Settings, *, first_start: bool = False) -> None:
    """Raise ``InvalidSettings`` with every problem found. ``first_start``: there is no data folder yet."""
    problems = [
        *_identity(settings),
        *_addresses(settings),
        *_cluster(settings),
        *settings_exposure.problems(settings),
        *_numbers(settings),
        *_raft(settings),
        *_audit(settings.audit),
        *_groups(settings.groups),
        *_testing(settings),
        *(_first_start(settings) if first_start else ()),
    ]
    if problems:
        raise InvalidSettings(problems)


def check_first_start(settings: Settings) -> None:
    """Raise ``InvalidSettings`` where no cluster can form around this node's empty folder, or be joined."""
    if problems := [*_first_start(settings)]:
        raise InvalidSettings(problems)


def _identity(settings: Settings) -> Iterator[str]:
    if not settings.node.id:
        yield 'node.id is missing: give this node a name that no other node has, as in id = "n1"'
    elif not _NODE_ID.fullmatch(settings.node.id):
        yield f"node.id = {settings.node.id!r}: use 1 to 64 of A-Z a-z 0-9 . _ -, first a letter or digit"
    if not settings.node.data_dir:
        yield 'node.data_dir is missing: name a folder for this node alone, as in data_dir = "data/n1"'
    if len(settings.node.rack) > 64:
        yield "node.rack: at most 64 characters"
    said = settings.node.id, settings.node.rack, settings.http.advertise, settings.peer_advertise
    if sum(len(text.encode()) for text in said) > ANNOUNCED_BYTES_MAX:
        yield (
            f"node.id, node.rack, http.advertise and peer.advertise have over {ANNOUNCED_BYTES_MAX} bytes "
            "together, which is all that a node can tell its peers: make them shorter"
        )


def _addresses(settings: Settings) -> Iterator[str]:
    named = {
        "http.listen": settings.http.listen,
        "peer.listen": settings.peer.listen,
        **({"peer.advertise": settings.peer.advertise} if settings.peer.advertise else {}),
        **{f"cluster.peers.{node}": address for node, address in settings.cluster.peers.items()},
        **{f"cluster.dial.{node}": address for node, address in settings.cluster.dial.items()},
        **{f"cluster.join.{number}": address for number, address in enumerate(settings.cluster.join)},
    }
    for name, address in named.items():
        try:
            _, port = split_address(address)
        except ValueError as error:
            yield f'{name}: {error}; write it as in "127.0.0.1:7070"'
            continue
        if port == 0 and name != "http.listen":
            yield f"{name} = {address!r}: other nodes must know this port, so it cannot be 0"
    if settings.http.advertise:
        yield from _advertised_url(settings.http.advertise)
    elif _is_wildcard(settings.http.listen):
        yield (
            f"http.advertise is missing: nobody can dial http.listen = {settings.http.listen!r}; give a URL "
            'by which others reach this node, as in advertise = "http://node1.example:7070"'
        )
    if _is_wildcard(settings.peer_advertise):
        yield (
            f"peer.advertise is missing: no node can dial peer.listen = {settings.peer.listen!r}; give "
            'host:port by which the others reach this one, as in advertise = "10.0.0.1:7170"'
        )
    yield from _visitors(settings.http)


def _visitors(http: HttpSettings) -> Iterator[str]:
    for host in http.hosts:
        if not _HOST_NAME.fullmatch(host):
            yield f'http.hosts: {host!r} is not a name; write it without scheme and port, as in "log.example"'
    for origin in http.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            yield (
                f"http.cors_origins: {origin!r} is not an origin; write it exactly as browsers do, in lower "
                "case, without a path and without the scheme's default port, as in "
                '"https://app.example"'
            )


def _groups(groups: GroupSettings) -> Iterator[str]:
    for name in groups.__struct_fields__:
        if not 0 < (value := getattr(groups, name)) < math.inf:
            yield f"groups.{name} = {value}: it must be a number above 0"
    if groups.session_timeout_min_s > groups.session_timeout_max_s:
        yield (
            f"groups.session_timeout_min_s must be at most groups.session_timeout_max_s "
            f"({groups.session_timeout_max_s}): members choose between them"
        )


def _audit(audit: AuditSettings) -> Iterator[str]:
    for name in ("retention_ms", "retention_bytes"):
        if not 1 <= (value := getattr(audit, name)) <= CONFIG_VALUE_MAX:
            yield f"audit.{name} = {value}: it must be 1 to {CONFIG_VALUE_MAX}"


def _is_wildcard(address: str) -> bool:
    try:
        return split_address(address)[0] in ("0.0.0.0", "::", "*")  # noqa: S104 - compared, not bound
    except ValueError:
        return False


def _advertised_url(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or len(url) > 200:
        yield f'http.advertise = {url!r}: write a base URL without a path, as in "http://10.0.0.1:7070"'


def _cluster(settings: Settings) -> Iterator[str]:
    cluster = settings.cluster
    if not cluster.id or len(cluster.id) > 64:
        yield "cluster.id: 1 to 64 characters, the same on every node"
    if not 0 <= cluster.evacuate_after_s < math.inf:
        yield f"cluster.evacuate_after_s = {cluster.evacuate_after_s}: use 0 (never) or more"
    for node in cluster.peers:
        if not _NODE_ID.fullmatch(node):
            yield f"cluster.peers.{node}: a node id is 1 to 64 of A-Z a-z 0-9 . _ -"
    for node in cluster.dial:
        if not _NODE_ID.fullmatch(node):
            yield f"cluster.dial.{node}: a node id is 1 to 64 of A-Z a-z 0-9 . _ -"
    yield from _secret(cluster)


def _first_start(settings: Settings) -> Iterator[str]:
    """What a node with an empty data folder needs to form a cluster."""
    cluster = settings.cluster
    if cluster.join:
        return
    if not cluster.peers:
        yield (
            'cluster.peers is empty: list the initial nodes, this one included, as in n1 = "127.0.0.1:7170"; '
            "or name nodes of the cluster that this one is to join with --join HOST:PORT"
        )
    elif settings.node.id and settings.node.id not in cluster.peers:
        yield (
            f"cluster.peers lacks this node ({settings.node.id}): it has {', '.join(sorted(cluster.peers))}; "
            "every node has the same list, itself included. To join an existing cluster, start with "
            "--join HOST:PORT of one of its nodes"
        )


def _secret(cluster: ClusterSettings) -> Iterator[str]:
    given = [name for name in ("secret", "secret_file", "secret_files") if getattr(cluster, name)]
    if len(given) > 1:
        names = " and ".join(f"cluster.{name}" for name in given)
        yield f"{names} are {'both' if len(given) == 2 else 'all'} given: keep one of them"
    elif not given:
        yield "cluster.secret is missing: the same random text on every node, as of `openssl rand -hex 32`"
    elif len(set(cluster.secret_files)) < len(cluster.secret_files):
        yield "cluster.secret_files names a file twice: the first is proved, the others are accepted besides"
    elif cluster.secret:
        yield from weakness_of("cluster.secret", cluster.secret)


def weakness_of(name: str, secret: str) -> Iterator[str]:
    """What makes a secret weak enough to be guessed from an overheard handshake."""
    hint = "use random text, as of `openssl rand -hex 32`"
    if len(secret) < _SECRET_LENGTH_MIN:
        yield f"{name} has {len(secret)} characters, fewer than {_SECRET_LENGTH_MIN}: {hint}"
    elif (different := len(set(secret))) < _SECRET_DIFFERENT_MIN:
        yield f"{name} has {different} different characters, fewer than {_SECRET_DIFFERENT_MIN}: {hint}"


def _numbers(settings: Settings) -> Iterator[str]:
    yield from settings_limits.problems(settings.limits)
    if not 1 <= settings.storage.fsync_threads <= 64:
        yield f"storage.fsync_threads = {settings.storage.fsync_threads}: use 1 to 64"
    if settings.storage.retention_interval_s <= 0:
        yield "storage.retention_interval_s must be above 0"
    if settings.storage.scrub_interval_s <= 0:
        yield "storage.scrub_interval_s must be above 0"
    if settings.storage.disk_reserve_bytes < 0:
        yield "storage.disk_reserve_bytes must be 0 or more"
    if settings.storage.boot_interval_s <= 0:
        yield "storage.boot_interval_s must be above 0"


def _testing(settings: Settings) -> Iterator[str]:
    faults, data_dir = settings.testing.faults, settings.node.data_dir
    if faults and data_dir and Path(faults).absolute().is_relative_to(Path(data_dir).absolute()):
        yield f"testing.faults = {faults!r}: use a folder that is not within node.data_dir"
    if not 0 <= settings.testing.slow_callback_ms < math.inf:
        yield f"testing.slow_callback_ms = {settings.testing.slow_callback_ms}: use 0 or more"


def _raft(settings: Settings) -> Iterator[str]:
    try:
        settings.raft.options()
    except ValueError as error:
        yield f"raft: {error}"
