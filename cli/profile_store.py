"""The profiles file: named clusters, and which of them is in use.

    current = "dev"

    [profiles.dev]
    server = "http://localhost:7070"

A profile may have a ``token_file``, which only the user can read, or a ``token_command``, which prints a
token; and a ``ca_file``, with the CA whose certificates are trusted, a ``cert`` and its ``key``. The file is
in the user's configuration folder, or where FLOODMARK_CONFIG says, and is replaced as a whole.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
from floodmark.transport.credentials import Token
from floodmark.transport.tls import TlsOptions

from cli.exits import NOT_FOUND, USAGE, Failure

_COMMAND_S = 60.0
_OF_TLS = ("ca_file", "cert", "key")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Where the token of a profile is: in a file, or what a command prints."""

    file: str = ""
    command: str = ""

    def token(self) -> Token | None:
        """For the client, which reads it when it needs it."""
        if self.file:
            return Path(self.file)
        return partial(_printed, self.command) if self.command else None


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files for https: the cluster's CA, and the user's own certificate and key."""

    ca_file: str = ""
    cert: str = ""
    key: str = ""

    def options(self) -> TlsOptions:
        """For the client. Fails where the files cannot be used."""
        if self.key and not self.cert:
            raise Failure("--cert-key needs --cert, the certificate whose key it is", exit_code=USAGE)
        cert = (self.cert, self.key) if self.key else self.cert or None
        return TlsOptions(self.ca_file or None, cert)


NO_FILES = TlsFiles()


@dataclass(slots=True)
class Profiles:
    """Everything in the file: profile name -> URL of a node, token sources, and the name in use."""

    servers: dict[str, str] = field(default_factory=dict)
    current: str | None = None
    sources: dict[str, TokenSource] = field(default_factory=dict)
    tls: dict[str, TlsFiles] = field(default_factory=dict)

    def token(self, name: str) -> Token | None:
        """The token of a profile, where it has one."""
        return self.sources.get(name, TokenSource()).token()

    def remove(self, name: str) -> None:
        """Forget a profile."""
        del self.servers[name]
        self.sources.pop(name, None)
        self.tls.pop(name, None)
        if self.current == name:
            self.current = None

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
        entries = document.get("profiles", {}).items()
        servers = {name: str(entry["server"]) for name, entry in entries}
        sources = {
            name: TokenSource(str(entry.get("token_file", "")), str(entry.get("token_command", "")))
            for name, entry in entries
            if "token_file" in entry or "token_command" in entry
        }
        tls = {
            name: TlsFiles(*(str(entry.get(key, "")) for key in _OF_TLS))
            for name, entry in entries
            if any(key in entry for key in _OF_TLS)
        }
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Failure(
            f"{file}: not a profiles file: {error}", hint="repair it, or remove it to start over"
        ) from error
    return Profiles(servers, document.get("current"), sources, tls)


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
    for name, server in sorted(profiles.servers.items()):
        source = profiles.sources.get(name, TokenSource())
        lines = [f"[profiles.{_quoted(name)}]", f"server = {_quoted(server)}"]
        lines += [f"token_file = {_quoted(source.file)}"] if source.file else []
        lines += [f"token_command = {_quoted(source.command)}"] if source.command else []
        files = profiles.tls.get(name, NO_FILES)
        values = {key: str(getattr(files, key)) for key in _OF_TLS}
        lines += [f"{key} = {_quoted(value)}" for key, value in values.items() if value]
        parts.append("".join(f"{line}\n" for line in lines))
    return "\n".join(parts)


def save_token(name: str, token: str) -> Path:
    """Keep a profile's token in a file beside the profiles, which only the user can read."""
    folder = path().parent / "tokens"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")  # of mode 0600
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(token + "\n")
    file = folder / name
    Path(temporary).replace(file)
    return file


def _printed(command: str) -> str:
    """What a token command prints. Blocking."""
    try:
        found = subprocess.run(  # noqa: S603 - it is the user's own
            shlex.split(command), stdout=subprocess.PIPE, check=True, timeout=_COMMAND_S, text=True
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise Failure(f"the token command {command!r} failed: {error}") from error
    return found.stdout.strip()


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's."""
    return json.dumps(text)
