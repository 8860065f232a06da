"""``floodmark profile``: names for clusters, so that ``--server`` need not be typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli import profile_store
from cli.complete import complete_profiles
from cli.exits import CONFLICT, USAGE, Failure
from cli.output import View, field, output_option, show
from cli.profile_store import NO_FILES, Profiles, TlsFiles, TokenSource
from cli.session import check_url, debug_option, talk

_VIEW = View(
    columns=(field("Name"), field("Server"), field("Current"), field("Token"), field("CA", "ca_file")),
    name=lambda item: str(item["name"]),
    items=lambda document: document.get("profiles", [document]),
)


def _entry(profiles: Profiles, name: str) -> dict[str, Any]:
    source = profiles.sources.get(name, TokenSource())
    entry = {"name": name, "server": profiles.server(name), "current": name == profiles.current}
    token = source.file or source.command
    files = profiles.tls.get(name, NO_FILES)
    of_tls = {"ca_file": files.ca_file, "cert": files.cert, "key": files.key}
    return {**entry, **{key: value for key, value in {"token": token, **of_tls}.items() if value}}


@click.group()
def profile() -> None:
    """Name clusters, and choose the one that commands use."""


@profile.command("create")
@click.argument("name")
@click.argument("server", metavar="URL")
@click.option("--use", is_flag=True, help="Use it from now on; the first profile is always used.")
@click.option("--replace", is_flag=True, help="Replace a profile of this name.")
@click.option("--token-file", metavar="FILE", help="File with the token, of mode 0600.")
@click.option("--token-command", metavar="COMMAND", help="Command that prints the token.")
@click.option(
    "--ca-file", metavar="FILE", default="", help="File with the CA whose certificates are trusted."
)
@click.option("--cert", metavar="FILE", default="", help="File with the user's certificate.")
@click.option(
    "--cert-key", "key", metavar="FILE", default="", help="File with its key, unless it is in the same file."
)
@output_option(default=None)
@debug_option
def create(
    name: str,
    server: str,
    *,
    use: bool,
    replace: bool,
    token_file: str | None,
    token_command: str | None,
    ca_file: str,
    cert: str,
    key: str,
    output: str | None,
) -> None:
    """Name the cluster that the node at URL belongs to."""
    profile_store.check_name(name)
    profiles = profile_store.load()
    if name in profiles.servers and not replace:
        raise Failure(
            f"profile {name!r} exists already", exit_code=CONFLICT, hint="use --replace to replace it"
        )
    if token_file and token_command:
        raise Failure("a profile has a token file or a token command, not both", exit_code=USAGE)
    files = TlsFiles(*(str(Path(path).absolute()) if path else "" for path in (ca_file, cert, key)))
    files.options()
    profiles.servers[name] = check_url(server, files)
    profiles.tls[name] = files
    file = str(Path(token_file).absolute()) if token_file else ""
    profiles.sources[name] = TokenSource(file, token_command or "")
    if use or profiles.current is None:
        profiles.current = name
    profile_store.save(profiles)
    talk(f"profile {name}: {profiles.servers[name]}" + (" (in use)" if profiles.current == name else ""))
    show(_entry(profiles, name), _VIEW, output)


@profile.command("use")
@click.argument("name", shell_complete=complete_profiles)
@output_option(default=None)
@debug_option
def use(name: str, *, output: str | None) -> None:
    """Make commands use this cluster from now on."""
    profiles = profile_store.load()
    profiles.require(name)
    profiles.current = name
    profile_store.save(profiles)
    talk(f"using {name}: {profiles.server(name)}")
    show(_entry(profiles, name), _VIEW, output)


@profile.command("list")
@output_option()
@debug_option
def list_(*, output: str | None) -> None:
    """List all profiles."""
    profiles = profile_store.load()
    show({"profiles": [_entry(profiles, name) for name in sorted(profiles.servers)]}, _VIEW, output)


@profile.command("show")
@click.argument("name", required=False, shell_complete=complete_profiles)
@output_option()
@debug_option
def show_(name: str | None, *, output: str | None) -> None:
    """Show one profile: NAME, or the one in use."""
    profiles = profile_store.load()
    if name is None:
        name = profiles.current
    if name is None:
        raise Failure("no profile is in use", hint="create one with 'floodmark profile create NAME URL'")
    show(_entry(profiles, name), _VIEW, output)


@profile.command("delete")
@click.argument("name", shell_complete=complete_profiles)
@output_option(default=None)
@debug_option
def delete(name: str, *, output: str | None) -> None:
    """Delete a profile; the cluster is not touched."""
    profiles = profile_store.load()
    profiles.require(name)
    entry = _entry(profiles, name)
    profiles.remove(name)
    profile_store.save(profiles)
    talk(f"forgot {name}")
    show(entry, _VIEW, output)
