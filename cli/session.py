"""What every command shares: which cluster to use, and whether to show tracebacks."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

import click
from floodmark.transport.credentials import Token

from cli import profile_store
from cli.exits import Failure
from cli.profile_store import NO_FILES, Profiles, TlsFiles
from cli.visible import visible

if TYPE_CHECKING:
    from floodmark.client import Client

SERVER_VAR = "FLOODMARK_SERVER"
PROFILE_VAR = "FLOODMARK_PROFILE"
TOKEN_VAR = "FLOODMARK_TOKEN"  # noqa: S105 - the name of a variable
CA_VAR = "FLOODMARK_CA"
CERT_VAR = "FLOODMARK_CERT"
KEY_VAR = "FLOODMARK_CERT_KEY"
DEFAULT_SERVER = "http://localhost:7070"
T = TypeVar("T")


class Timeouts(TypedDict, total=False):
    """``Client``"""

    timeout_s: float
    request_timeout_s: float


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster that a command talks to: any node's URL, who the user is to it, and which files say so."""

    url: str
    token: Token | None = None
    files: TlsFiles = NO_FILES

    def client(self, urls: Sequence[str] = (), **options: Unpack[Timeouts]) -> Client:
        """The client for it, and for further nodes of the cluster."""
        files = self.files
        cert = (files.cert, files.key) if files.key else files.cert or None
        files.options()  # What cannot be used is told of in the command line's words.
        from floodmark.client import Client  # noqa: PLC0415 - slow to load

        return Client(urls or self.url, token=self.token, tls=files.ca_file or None, cert=cert, **options)


@dataclass(slots=True)
class Session:
    """The options that are allowed before and after a command's name."""

    server: str | None = None
    profile: str | None = None
    debug: bool = False
    ca_file: str | None = None
    cert: str | None = None
    cert_key: str | None = None

    def target(self) -> Target:
        """From options, else variables, else the profile in use, else the default; a server wins over a
        profile, whose token and certificate go to its own server only.
        """
        token, files = os.environ.get(TOKEN_VAR) or None, self._tls_files()
        given = ((self.server, self.profile), (os.environ.get(SERVER_VAR), os.environ.get(PROFILE_VAR)))
        for server, profile in given:
            if server:
                return Target(check_url(server, files), token, files)
            if profile:
                return _of_profile(profile_store.load(), profile, token, files)
        profiles = profile_store.load()
        if profiles.current:
            return _of_profile(profiles, profiles.current, token, files)
        return Target(check_url(DEFAULT_SERVER, files), token, files)

    def _tls_files(self) -> TlsFiles:
        """Those of options and variables."""
        values = (
            (self.ca_file, self.cert, self.cert_key)
            if self.ca_file or self.cert or self.cert_key
            else (os.environ.get(CA_VAR), os.environ.get(CERT_VAR), os.environ.get(KEY_VAR))
        )
        return TlsFiles(*(value or "" for value in values))

    def chosen_profile(self) -> str | None:
        """The profile that ``target`` is of, if it is of one."""
        given = ((self.server, self.profile), (os.environ.get(SERVER_VAR), os.environ.get(PROFILE_VAR)))
        for server, profile in given:
            if server or profile:
                return None if server else profile
        return profile_store.load().current


def _of_profile(profiles: Profiles, name: str, token: str | None, files: TlsFiles) -> Target:
    kept = profiles.tls.get(name, NO_FILES)
    ca_file = files.ca_file or kept.ca_file
    cert, key = (files.cert, files.key) if files.cert else (kept.cert, kept.key)
    both = TlsFiles(ca_file, cert, key)
    return Target(profiles.server(name), token or profiles.token(name), both)


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    # An option left out after the command's name must not undo the one given before it.
    if value and param.name:
        setattr(ctx.ensure_object(Session), param.name, value)


def check_url(value: str, files: TlsFiles | None = None) -> str:
    """A node's base URL without the final slash; http if the scheme is missing, and https with ``files``."""
    is_tls = files is not None and bool(files.ca_file or files.cert)
    if is_tls and value == DEFAULT_SERVER:
        value = value.partition("://")[2]
    url = value if "://" in value else f"{'https' if is_tls else 'http'}://{value}"
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest.strip("/"):
        raise click.BadParameter(f"{value!r} is not the URL of a node, for example {DEFAULT_SERVER}")
    return url.rstrip("/")


def _shared(name: str, text: str, **extra: Any) -> Callable[[Any], Any]:
    return click.option(name, expose_value=False, is_eager=True, callback=_remember, help=text, **extra)


def debug_option(command: Any) -> Any:
    """``--debug``, on every command."""
    return _shared("--debug", "Show tracebacks.", envvar="FLOODMARK_DEBUG", is_flag=True)(command)


def cluster_options(command: Any) -> Any:
    """``--server`` and ``--profile``, on every command that talks to a cluster."""
    server = _shared("--server", f"URL of any node.  [default: {SERVER_VAR}, or a profile]", metavar="URL")
    profile = _shared(
        "--profile", f"Profile to use.  [default: {PROFILE_VAR}, or the one in use]", metavar="NAME"
    )
    ca_file = _shared(
        "--ca-file", f"Trust the certificates of the CA in this file.  [default: {CA_VAR}]", metavar="FILE"
    )
    cert = _shared("--cert", f"Show this certificate.  [default: {CERT_VAR}]", metavar="FILE")
    key = _shared(
        "--cert-key", f"Its key, unless it is in the same file.  [default: {KEY_VAR}]", metavar="FILE"
    )
    return server(profile(ca_file(cert(key(debug_option(command))))))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's asynchronous part to its end."""
    return asyncio.run(work)


def talk(message: str) -> None:
    """Print a message for people: on stderr, never among the data."""
    click.echo(visible(message, keep="\n\t"), err=True)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before an action that cannot be undone. Without a terminal ``--yes`` is needed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"{question} Nobody is there to ask", hint="--yes confirms")
    if not click.confirm(question, err=True):
        raise Failure("nothing was changed")
