"""``floodmark token``: what users and programs prove with who they are."""

from __future__ import annotations

from urllib.parse import quote

import click

from cli.api import Api, Document
from cli.output import View, field, output_option, show
from cli.session import Session, cluster_options, run, talk
from cli.units import DURATION_MS, NO_LIMIT
from cli.user import time_column, user_path

VIEW = View(
    columns=(
        field("Id"),
        field("User"),
        field("Kind"),
        field("Ends with", "last_characters"),
        time_column("Created"),
        time_column("Expires"),
    ),
    name=lambda item: str(item["id"]),
    items=lambda document: document.get("tokens", [document]),
)

CREATED = View(
    columns=(field("Id"), field("User"), field("Kind"), time_column("Expires"), field("Token")),
    name=lambda item: str(item["token"]),
    items=lambda document: [document],
)


@click.group()
def token() -> None:
    """Create, list and revoke tokens of users."""


@token.command("create")
@click.argument("user", metavar="USER")
@click.option("--lifetime", type=DURATION_MS, help="As in 12h or 90d; without it: until it is revoked.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def create(session: Session, user: str, *, lifetime: int | str | None, output: str | None) -> None:
    """Create a token and print it, once: nobody can show it again.

    A user has at most two at a time: to replace one, create another, use it everywhere, revoke the first.
    """
    body: Document = {} if lifetime in (None, NO_LIMIT) else {"lifetime_ms": lifetime}

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return (await api.change("POST", user_path(user, "/tokens"), body))[1]

    document = run(ask())
    talk(f"created token {document['id']} of {user}")
    if output is None:
        click.echo(document["token"])
    show(document, CREATED, output)


@token.command("list")
@click.argument("user", metavar="USER")
@output_option()
@cluster_options
@click.pass_obj
def list_(session: Session, user: str, *, output: str | None) -> None:
    """List a user's valid tokens, without their secrets."""

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return await api.get(user_path(user, "/tokens"))

    show(run(ask()), VIEW, output)


@token.command("revoke")
@click.argument("user", metavar="USER")
@click.argument("token_id", metavar="ID")
@output_option(default=None)
@cluster_options
@click.pass_obj
def revoke(session: Session, user: str, token_id: str, *, output: str | None) -> None:
    """Revoke a token: every node refuses it within a second."""

    async def ask() -> None:
        async with Api(session.target()) as api:
            await api.change("DELETE", user_path(user, f"/tokens/{quote(token_id, safe='')}"))

    run(ask())
    talk(f"revoked token {token_id} of {user}")
    show({"id": token_id, "user": user}, VIEW, output)
