"""What every command shares: which cluster is meant, and whether to show tracebacks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from cli import profile_store
from cli.exits import Failure

DEFAULT_SERVER = "http://localhost:7070"
T = TypeVar("T")


@dataclass(slots=True)
class Session:
    """The options that may stand before or after a command's name."""

    server: str | None = None
    profile: str | None = None
    debug: bool = False

    def url(self) -> str:
        """Flag or FLOODMARK_SERVER, then a profile by flag or FLOODMARK_PROFILE, then the one in use."""
        if self.server:
            return self.server
        profiles = profile_store.load()
        name = self.profile or profiles.current
        return profiles.server(name) if name else DEFAULT_SERVER


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    # An option left out after the command's name must not undo the one given before it.
    if value and param.name:
        setattr(ctx.ensure_object(Session), param.name, value)


def _server_url(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        _remember(ctx, param, check_url(value))


def check_url(value: str) -> str:
    """A node's base URL, without a final slash; a scheme left out means http."""
    url = value if "://" in value else f"http://{value}"
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest.strip("/"):
        raise click.BadParameter(f"{value!r} is not the URL of a node, for example {DEFAULT_SERVER}")
    return url.rstrip("/")


def _shared(name: str, *, envvar: str, text: str, **extra: Any) -> Callable[[Any], Any]:
    callback = extra.pop("callback", _remember)
    return click.option(
        name, envvar=envvar, expose_value=False, is_eager=True, callback=callback, help=text, **extra
    )


def debug_option(command: Any) -> Any:
    """``--debug``, on every command."""
    return _shared("--debug", envvar="FLOODMARK_DEBUG", text="Show tracebacks.", is_flag=True)(command)


def cluster_options(command: Any) -> Any:
    """``--server`` and ``--profile``, on every command that talks to a cluster."""
    server = _shared(
        "--server",
        envvar="FLOODMARK_SERVER",
        text=f"URL of any node. [default: the profile in use, or {DEFAULT_SERVER}]",
        metavar="URL",
        callback=_server_url,
    )
    profile = _shared("--profile", envvar="FLOODMARK_PROFILE", text="Use this profile.", metavar="NAME")
    return server(profile(debug_option(command)))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's asynchronous part to its end."""
    return asyncio.run(work)


def talk(message: str) -> None:
    """Say something to a person: on stderr, never among the data."""
    click.echo(message, err=True)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something can not be undone. Without a terminal only ``--yes`` will do."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"{question} Nobody is there to ask", hint="--yes confirms")
    if not click.confirm(question, err=True):
        raise Failure("nothing was changed")
