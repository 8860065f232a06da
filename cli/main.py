"""The ``floodmark`` command: its tree of subcommands, loaded one at a time."""

from __future__ import annotations

import gc
import importlib
import sys
from types import ModuleType
from typing import Any, cast

import click

from cli import streams
from cli.exits import ReaderGone, guard
from cli.session import Session, cluster_options

_COMMANDS = {
    "acl": "cli.acl",
    "cert": "cli.cert",
    "chaos": "cli.chaos",
    "cluster": "cli.cluster",
    "completion": "cli.completion",
    "consume": "cli.consume",
    "dev": "cli.dev",
    "group": "cli.group",
    "login": "cli.login",
    "node": "cli.node",
    "produce": "cli.produce",
    "profile": "cli.profile",
    "queue": "cli.queue",
    "quota": "cli.quota",
    "recover": "cli.recover",
    "repair-votes": "cli.repair_votes",
    "start": "cli.start",
    "token": "cli.token",
    "topic": "cli.topic",
    "user": "cli.user",
    "verify": "cli.verify",
    "whoami": "cli.login",
}
"""Command -> module that holds it under the same name (with _ for -): a command loads only what it needs."""


class Floodmark(click.Group):
    """The root: finds commands in their modules, and ends every one of them in the same way."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order that help shows them."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module of a command."""
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        return cast(click.Command, getattr(_loaded(module), cmd_name.replace("-", "_")))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command. click would end a broken pipe by itself, with exit code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run, and exit with a code of ``cli.exits`` instead of raising."""
        session = Session()
        options: dict[str, Any] = {"obj": session, **extra, "standalone_mode": False}
        code = guard(lambda: super(Floodmark, self).main(*args, **options), debug=lambda: session.debug)
        return sys.exit(code) if standalone_mode else code


def _loaded(module: str) -> ModuleType:
    """Import a module without garbage collection: what modules make stays, and looking for garbage among it
    takes an eighth of a node's start.
    """
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.enable()


@click.group(
    cls=Floodmark, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="floodmark-server", prog_name="floodmark")
@cluster_options
def floodmark() -> None:
    """A replicated event log you can curl.

    'floodmark dev' starts a local cluster; every other command talks to any one of a cluster's nodes.
    """


def main() -> None:
    """The entry point of the console script."""
    streams.prepare()
    floodmark(prog_name="floodmark")


if __name__ == "__main__":
    main()
