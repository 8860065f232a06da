"""``floodmark login`` and ``floodmark whoami``: who the user of this command line is."""

from __future__ import annotations

from dataclasses import replace

import click

from cli import profile_store
from cli.api import Api, Document
from cli.exits import Failure
from cli.output import View, field, output_option, show
from cli.profile_store import TokenSource
from cli.session import Session, cluster_options, run, talk
from cli.token import CREATED
from cli.user import PASSWORD_STDIN, ask_password

_ME = View(
    columns=(field("Principal"), field("Credential"), field("Administrator"), field("Authentication")),
    name=lambda item: str(item["principal"]),
    items=lambda document: [document],
)


@click.command()
@click.argument("user", metavar="USER")
@PASSWORD_STDIN
@output_option(default=None)
@cluster_options
@click.pass_obj
def login(session: Session, user: str, *, password_stdin: bool, output: str | None) -> None:
    """Exchange a password for a token that is valid for 12 hours.

    The profile in use has it from then on, in a file that only you can read. With -o it is printed, and kept
    nowhere.
    """
    name = session.chosen_profile()
    if name is None and output is None:
        raise Failure(
            "there is no profile to keep the token in",
            hint="floodmark profile create NAME URL, then log in; or -o name",
        )
    target = replace(session.target(), token=None)
    body = {"user": user, "password": ask_password(from_stdin=password_stdin)}

    async def ask() -> Document:
        async with Api(target) as api:
            return (await api.change("POST", "/v1/login", body))[1]

    document = run(ask())
    if name is None or output is not None:
        show(document, CREATED, output)
        return
    profiles = profile_store.load()
    profiles.require(name)
    profiles.sources[name] = TokenSource(file=str(profile_store.save_token(name, document["token"])))
    profile_store.save(profiles)
    talk(f"logged in as {user} for 12 hours, profile {name}")


@click.command()
@output_option()
@cluster_options
@click.pass_obj
def whoami(session: Session, *, output: str | None) -> None:
    """Show who you are to the cluster, and how it knows that."""

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return await api.get("/v1/me")

    show(run(ask()), _ME, output)
