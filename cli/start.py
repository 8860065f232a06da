"""``floodmark start``: one node, in the foreground. The only module that may reach into ``node``."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import Any

import click

from cli.exits import USAGE, Failure
from cli.session import debug_option
from node.server import run as run_node
from node.settings import InvalidSettings
from node.settings_sources import load

_ORPHAN_TIMEOUT_S = 12.0
"""A node that does not stop within this time is killed."""


@click.command()
@click.option("--config", type=click.Path(dir_okay=False), metavar="FILE", help="Settings file (TOML).")
@click.option("--node-id", metavar="ID", help="node.id: unique in the cluster, forever.")
@click.option("--data-dir", metavar="DIR", help="node.data_dir: a folder for this node alone.")
@click.option("--http", metavar="HOST:PORT", help="http.listen: address for users.")
@click.option("--peer", metavar="HOST:PORT", help="peer.listen: address for the other nodes.")
@click.option("--peers", metavar="ID=HOST:PORT,...", help="cluster.peers: the initial nodes.")
@click.option(
    "--join",
    metavar="HOST:PORT",
    multiple=True,
    help="cluster.join: peer address of a node of the cluster to join with an empty folder; may be repeated.",
)
@click.option("--secret-file", metavar="FILE", help="cluster.secret_file: file with the shared secret.")
@click.option("--log-format", type=click.Choice(["auto", "console", "json"]), help="log.format")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="log.level")
@click.option("--set", "assignments", metavar="SECTION.KEY=VALUE", multiple=True, help="Any other setting.")
@click.option("--stop-with-stdin", is_flag=True, help="Stop when standard input ends.")
@click.pass_context
@debug_option
def start(ctx: click.Context, config: str | None, *, stop_with_stdin: bool, **flags: Any) -> None:
    """Start one node and stay in the foreground.

    An option wins over its FLOODMARK_SECTION_KEY variable, and that over the file. SIGTERM or Ctrl-C hand
    over leaderships, drain requests and stop the node.
    """
    try:
        settings = load(config, environment=os.environ, flags=_settings_of(flags))
    except InvalidSettings as error:
        raise Failure(str(error), exit_code=USAGE) from error
    if stop_with_stdin:
        threading.Thread(target=_stop_when_stdin_ends, name="stdin", daemon=True).start()
    ctx.exit(run_node(settings))


def _settings_of(flags: dict[str, Any]) -> dict[str, Any]:
    """Dotted setting names -> values or None, as the node's settings accept them."""
    values = {
        "node.id": flags["node_id"],
        "node.data_dir": flags["data_dir"],
        "http.listen": flags["http"],
        "peer.listen": flags["peer"],
        "cluster.peers": flags["peers"],
        "cluster.join": list(flags["join"]) or None,
        "cluster.secret_file": flags["secret_file"],
        "log.format": flags["log_format"],
        "log.level": flags["log_level"],
    }
    for assignment in flags["assignments"]:
        name, equals, value = assignment.partition("=")
        if not equals or "." not in name:
            raise click.BadParameter(
                f"{assignment!r} is not a setting: write it as in raft.heartbeat_s=0.05", param_hint="--set"
            )
        values[name] = value
    return values


def _stop_when_stdin_ends() -> None:
    """Stop when the process that started us ends, however it ends: it holds the other end of our stdin."""
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_ORPHAN_TIMEOUT_S)
    os._exit(1)
