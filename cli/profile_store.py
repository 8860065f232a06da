"""The profiles file: named clusters, and which of them is in use.

    current = "dev"

    [profiles.dev]
    server = "http://localhost:7070"

It is in the user's configuration folder, or where FLOODMARK_CONFIG says, and is replaced as a whole.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from cli.exits import NOT_FOUND, USAGE, Failure

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class Profiles:
    """Everything in the file: profile name -> URL of a node, and the name in use."""

    servers: dict[str, str] = field(default_factory=dict)
    current: str | None = None

    def server(self, name: str) -> str:
        """The URL of a profile. Fails with exit code 3 if the profile does not exist."""
        self.require(name)
        return self.servers[name]

    def require(self, name: str) -> None:
        """Fail with exit code 3 if the profile does not exist."""
        if name not in self.servers:
            known = ", ".join(sorted(self.servers)) or "none"
            raise Failure(
                f"there is no profile {name!r}", exit_code=NOT_FOUND, hint=f"known profiles: {known}"
            )


def check_name(name: str) -> None:
    """Refuse names that are not plain: profile names are keys of the file."""
    if not _NAME.fullmatch(name):
        raise Failure(
            f"{name!r} is not a valid profile name: use 1 to 64 of A-Z a-z 0-9 . _ -", exit_code=USAGE
        )


def path() -> Path:
    """The path of the file."""
    chosen = os.environ.get("FLOODMARK_CONFIG")
    return Path(chosen) if chosen else Path(click.get_app_dir("floodmark")) / "config.toml"


def load() -> Profiles:
    """Read the file; a missing file has no profiles."""
    file = path()
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Profiles()
    try:
        document: dict[str, Any] = tomllib.loads(text)
        servers = {name: str(entry["server"]) for name, entry in document.get("profiles", {}).items()}
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Failure(
            f"{file}: not a profiles file: {error}", hint="repair it, or remove it to start over"
        ) from error
    return Profiles(servers, document.get("current"))


def save(profiles: Profiles) -> None:
    """Replace the file in one step: a reader sees the old or the new one, even after a crash."""
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(_text(profiles))
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _text(profiles: Profiles) -> str:
    parts = [f"current = {_quoted(profiles.current)}\n"] if profiles.current else []
    parts += [
        f"[profiles.{_quoted(name)}]\nserver = {_quoted(server)}\n"
        for name, server in sorted(profiles.servers.items())
    ]
    return "\n".join(parts)


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's."""
    return json.dumps(text)
