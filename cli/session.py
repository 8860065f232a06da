"""What every command shares: which cluster to use, and whether to show tracebacks."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from floodmark.transport.credentials import Token

from cli import profile_store
from cli.exits import Failure
from cli.profile_store import Profiles
from cli.visible import visible

SERVER_VAR = "FLOODMARK_SERVER"
PROFILE_VAR = "FLOODMARK_PROFILE"
TOKEN_VAR = "FLOODMARK_TOKEN"  # noqa: S105 - the name of a variable
DEFAULT_SERVER = "http://localhost:7070"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster that a command talks to: any node's URL, and who the user is to it."""

    url: str
    token: Token | None = None


@dataclass(slots=True)
class Session:
    """The options that are allowed before and after a command's name."""

    server: str | None = None
    profile: str | None = None
    debug: bool = False

    def target(self) -> Target:
        """From options, else variables, else the profile in use, else the default; a server wins over a
        profile, whose token goes to its own server only.
        """
        token = os.environ.get(TOKEN_VAR) or None
        given = ((self.server, self.profile), (os.environ.get(SERVER_VAR), os.environ.get(PROFILE_VAR)))
        for server, profile in given:
            if server:
                return Target(check_url(server), token)
            if profile:
                return _of_profile(profile_store.load(), profile, token)
        profiles = profile_store.load()
        if profiles.current:
            return _of_profile(profiles, profiles.current, token)
        return Target(DEFAULT_SERVER, token)

    def chosen_profile(self) -> str | None:
        """The profile that ``target`` is of, if it is of one."""
        given = ((self.server, self.profile), (os.environ.get(SERVER_VAR), os.environ.get(PROFILE_VAR)))
        for server, profile in given:
            if server or profile:
                return None if server else profile
        return profile_store.load().current


def _of_profile(profiles: Profiles, name: str, token: str | None) -> Target:
    return Target(profiles.server(name), token or profiles.token(name))


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    # An option left out after the command's name must not undo the one given before it.
    if value and param.name:
        setattr(ctx.ensure_object(Session), param.name, value)


def check_url(value: str) -> str:
    """A node's base URL without the final slash; http if the scheme is missing."""
    url = value if "://" in value else f"http://{value}"
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
    return server(profile(debug_option(command)))


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
