"""The secrets that the cluster's nodes share, from the settings or the files that these name."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from node import settings_rules
from node.settings import InvalidSettings, Settings

_OTHERS: Final = stat.S_IROTH | stat.S_IWOTH
_GROUP: Final = stat.S_IRGRP | stat.S_IWGRP


def secrets_of(settings: Settings) -> tuple[bytes, ...]:
    """All that count, the one to prove first. Raises ``InvalidSettings`` where a file cannot be used."""
    if settings.cluster.secret:
        return (settings.cluster.secret.encode(),)
    files = settings.files_of_secrets
    # One that stands in two files is one.
    return tuple(dict.fromkeys(_read(name, Path(path)) for path, name in files.items()))


def open_to_groups(settings: Settings) -> Iterator[str]:
    """Files that more than this node's own user can read. That may be meant so."""
    for path in settings.files_of_secrets:
        if Path(path).stat().st_mode & _GROUP:
            yield path


def _read(name: str, path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        secret = path.read_bytes().strip()
    except OSError as error:
        raise InvalidSettings([f"{name}: {error}"]) from error
    if mode & _OTHERS:
        raise InvalidSettings([f"{name}: others than its owner and group may read {path}: chmod 600 {path}"])
    # Any bytes may be a secret.
    weak = list(settings_rules.weakness_of(f"{name}: what {path} holds", secret.decode("latin-1")))
    if weak:
        raise InvalidSettings(weak)
    return secret
