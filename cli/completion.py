"""``floodmark completion``: the script for tab completion in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cli.exits import Failure
from cli.session import debug_option

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
@debug_option
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: eval "$(floodmark completion bash)"
    zsh:  eval "$(floodmark completion zsh)"
    fish: floodmark completion fish | source
    """
    complete = get_completion_class(shell)
    if complete is None:
        raise Failure(f"completion does not support {shell}")
    click.echo(complete(ctx.find_root().command, {}, "floodmark", "_FLOODMARK_COMPLETE").source())
