"""``floodmark user``: who may use the cluster."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote

import click

from cli.api import Api, Document
from cli.exits import USAGE, Failure
from cli.output import Column, View, field, output_option, show
from cli.record_document import time_text
from cli.session import Session, Target, cluster_options, confirm, run, talk


def time_column(title: str) -> Column:
    """A column of a time that may be missing."""
    member = f"{title.lower()}_ms"
    return Column(title, lambda item: None if item.get(member) is None else time_text(item[member]))


VIEW = View(
    columns=(
        field("User"),
        field("Administrator"),
        field("Password", "has_password"),
        field("Tokens"),
        time_column("Created"),
    ),
    name=lambda item: str(item["user"]),
    items=lambda document: document.get("users", [document]),
)


@click.group()
def user() -> None:
    """Create, list and delete users, and set their passwords."""


def user_path(name: str, rest: str = "") -> str:
    """The path of a user."""
    return f"/v1/users/{quote(name, safe='')}{rest}"


def ask_password(*, from_stdin: bool, again: bool = False) -> str:
    """From the terminal, without showing it, or the first line of the standard input."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise Failure("nobody is there to ask for the password", hint="--password-stdin", exit_code=USAGE)
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=again, err=True))


PASSWORD_STDIN = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


async def _change(server: Target, method: str, path: str, body: Document | None = None) -> Document:
    async with Api(server) as api:
        return (await api.change(method, path, body))[1]


@user.command("create")
@click.argument("name", metavar="USER")
@click.option("--password", is_flag=True, help="Ask for a password; without one it has tokens only.")
@PASSWORD_STDIN
@click.option("--administrator", is_flag=True, help="It may do everything.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def create(
    session: Session,
    name: str,
    *,
    password: bool,
    password_stdin: bool,
    administrator: bool,
    output: str | None,
) -> None:
    """Create a user. It has permissions and tokens of its own from then on."""
    body: dict[str, Any] = {"user": name, "administrator": administrator}
    if password or password_stdin:
        body["password"] = ask_password(from_stdin=password_stdin, again=True)
    document = run(_change(session.target(), "POST", "/v1/users", body))
    talk(f"created user {name}" + (", an administrator" if administrator else ""))
    show(document, VIEW, output)


@user.command("list")
@output_option()
@cluster_options
@click.pass_obj
def list_(session: Session, *, output: str | None) -> None:
    """List all users."""

    async def ask() -> Document:
        users: list[Document] = []
        async with Api(session.target()) as api:
            after: str | None = ""
            while after is not None:
                page = await api.get("/v1/users", after=after, limit=1000)
                users += page["users"]
                after = page["next"]
        return {"users": users}

    show(run(ask()), VIEW, output)


@user.command("delete")
@click.argument("name", metavar="USER")
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def delete(session: Session, name: str, *, yes: bool, output: str | None) -> None:
    """Delete a user and its tokens."""
    confirm(f"Delete user {name} and its tokens?", yes=yes)
    run(_change(session.target(), "DELETE", user_path(name)))
    talk(f"deleted user {name}")
    show({"user": name}, VIEW, output)


@user.command("password")
@click.argument("name", metavar="USER")
@PASSWORD_STDIN
@click.option("--remove", is_flag=True, help="Remove it: the user has tokens only.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def password(session: Session, name: str, *, password_stdin: bool, remove: bool, output: str | None) -> None:
    """Set a user's password. Tokens that logins got with the earlier one are revoked."""
    given = None if remove else ask_password(from_stdin=password_stdin, again=True)
    body = {"password": given}
    document = run(_change(session.target(), "PUT", user_path(name, "/password"), body))
    talk(f"user {name} has " + ("no password" if remove else "another password"))
    show(document, VIEW, output)


@user.command("administrator")
@click.argument("name", metavar="USER")
@click.option("--revoke", is_flag=True, help="Make it a user like the others.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def administrator(session: Session, name: str, *, revoke: bool, output: str | None) -> None:
    """Make a user an administrator, who may do everything."""
    body = {"administrator": not revoke}
    document = run(_change(session.target(), "PATCH", user_path(name), body))
    talk(f"user {name} is " + ("a user like the others" if revoke else "an administrator"))
    show(document, VIEW, output)
