"""``floodmark acl``: who may do what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from cli.api import Api, Document
from cli.exits import ERROR, OK, USAGE, Failure
from cli.output import Column, View, field, output_option, show
from cli.session import Session, cluster_options, run, talk

OPERATIONS: Final = ("read", "write", "create", "alter", "delete", "describe", "all")
_PATH: Final = "/v1/acls"
_ALL: Final = "*"
_KINDS: Final = ("topic", "group", "stream", "queue")

_ACLS = View(
    columns=(
        field("User", "principal"),
        Column("Says", lambda acl: "allow" if acl["allow"] else "deny"),
        field("Operation"),
        field("Kind"),
        field("Name"),
        field("Pattern"),
    ),
    name=lambda entry: in_words(entry),  # noqa: PLW0108 - it comes below
    items=lambda document: document["acls"],
)
_DECISION = View(
    columns=(Column("Allowed", lambda decision: decision["allowed"]), field("Reason")),
    name=lambda decision: str(decision["reason"]),
    items=lambda document: [document],
)


def _resource_options(*, prefix: bool) -> Callable[[Any], Any]:
    def add(command: Any) -> Any:
        every = "; * for every topic" if prefix else ""
        options = [
            click.option("--topic", metavar="NAME", help=f"A topic{every}."),
            click.option("--group", metavar="NAME", help="A consumer group."),
            click.option("--stream", metavar="NAME", help="A stream."),
            click.option("--queue", metavar="NAME", help="A queue."),
            click.option("--cluster", is_flag=True, help="The cluster itself."),
        ]
        if prefix:
            options.append(
                click.option("--prefix", is_flag=True, help="All whose names begin with the name given.")
            )
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _operation_option(*, multiple: bool, required: bool) -> Callable[[Any], Any]:
    known = OPERATIONS if multiple else OPERATIONS[:-1]
    return click.option(
        "--operation",
        "operations" if multiple else "operation",
        type=click.Choice(known),
        multiple=multiple,
        required=required,
        help="What is done; all is every operation. More than one can be given."
        if multiple
        else "What is done.",
    )


def _which(command: Any) -> Any:
    """The options that say which entries are meant: those that match all that are given."""
    allow = click.option(
        "--allow/--deny", default=None, help="Only entries that allow, or only those that deny."
    )
    user = click.option("--user", metavar="NAME", help="Only entries of this user; * are those of everybody.")
    operation = _operation_option(multiple=False, required=False)
    return user(_resource_options(prefix=True)(operation(allow(command))))


@click.group()
def acl() -> None:
    """Say who may do what.

    Nothing is allowed but to administrators and by an entry (ACL), and an entry that denies wins. Whoever may
    do anything with a topic may describe it; others are told that it does not exist.
    """


@acl.command("list")
@_which
@output_option()
@cluster_options
@click.pass_obj
def list_(session: Session, /, *, output: str | None, **which: Any) -> None:
    """List the entries."""
    query = _filter(which)

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return await api.get(_PATH, **query)

    show(run(ask()), _ACLS, output)


@acl.command("add")
@click.option(
    "--user", required=True, metavar="NAME", help="A user; * is every authenticated one; or anonymous."
)
@_resource_options(prefix=True)
@_operation_option(multiple=True, required=True)
@click.option("--deny", is_flag=True, help="Deny it, whatever else allows it.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def add(
    session: Session, /, *, user: str, operations: tuple[str, ...], deny: bool, output: str | None, **on: Any
) -> None:
    """Allow a user something, or deny it. What is there already stays as it is.

    \b
    floodmark acl add --user alice --topic orders --operation read
    floodmark acl add --user billing --topic billing. --prefix --operation all
    floodmark acl add --user mallory --topic '*' --operation all --deny
    """
    resource = _named(on)
    acls = [
        {"principal": user, **resource, "operation": operation, "allow": not deny} for operation in operations
    ]

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return (await api.change("POST", _PATH, {"acls": acls}))[1]

    added = run(ask())["added"]
    for entry in acls:
        talk(in_words(entry))
    if added < len(acls):
        talk("that was so before" if not added else f"{len(acls) - added} of these entries were there before")
    show({"acls": acls}, _ACLS, output)


@acl.command("remove")
@_which
@output_option(default=None)
@cluster_options
@click.pass_obj
def remove(session: Session, /, *, output: str | None, **which: Any) -> None:
    """Remove the entries that match all options given. One that is not there is no error."""
    query = _filter(which)
    if not query:
        raise Failure("which entries? Give at least one option, as in --user alice", exit_code=USAGE)

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return (await api.change("DELETE", _PATH, None, **query))[1]

    document = run(ask())
    for entry in document["acls"]:
        talk(f"removed: {in_words(entry)}")
    if not document["acls"]:
        talk("there was no such entry")
    show(document, _ACLS, output)


@acl.command("check")
@click.option("--user", required=True, metavar="NAME", help="Who does it.")
@_resource_options(prefix=False)
@_operation_option(multiple=False, required=True)
@output_option(default=None)
@cluster_options
@click.pass_obj
def check(session: Session, /, *, user: str, operation: str, output: str | None, **on: Any) -> int:
    """Say whether a user may do something, and which entry decides. Exits with 1 where it may not."""
    resource = _named({**on, "prefix": False})
    asked = {"principal": user, "operation": operation, "kind": resource["kind"], "name": resource["name"]}

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return await api.get(f"{_PATH}/check", **asked)

    decision = run(ask())
    talk(in_words({**asked, "pattern": "literal", "allow": decision["allowed"]}))
    entry = decision["acl"]
    talk(f"because {decision['reason']}" + (f": {in_words(entry)}" if entry else ""))
    show(decision, _DECISION, output)
    return OK if decision["allowed"] else ERROR


def in_words(entry: Document) -> str:
    """An entry as a sentence."""
    principal, kind, name = entry["principal"], entry["kind"], entry["name"]
    who = {_ALL: "every user", "anonymous": "whoever is not authenticated"}.get(principal, principal)
    if kind == "cluster":
        what = "the cluster"
    elif entry["pattern"] == "literal":
        what = f"{kind} {name}"
    else:
        what = f"{kind}s that begin with {name}" if name else f"every {kind}"
    done = "do everything with" if entry["operation"] == "all" else entry["operation"]
    return f"{who} {'may' if entry['allow'] else 'may not'} {done} {what}"


def _resource(on: Document) -> Document | None:
    """What is named by the options; None where nothing is."""
    named = [(kind, on[kind]) for kind in _KINDS if on[kind] is not None]
    if len(named) + bool(on["cluster"]) > 1:
        raise Failure("name one of --topic, --group, --stream, --queue and --cluster", exit_code=USAGE)
    if on["cluster"]:
        if on["prefix"]:
            raise Failure("--prefix goes with a name; there is one cluster", exit_code=USAGE)
        return {"kind": "cluster", "name": "", "pattern": "literal"}
    if not named:
        if on["prefix"]:
            raise Failure("--prefix goes with --topic, --group, --stream or --queue", exit_code=USAGE)
        return None
    kind, name = named[0]
    if name == _ALL:
        return {"kind": kind, "name": "", "pattern": "prefix"}
    return {"kind": kind, "name": name, "pattern": "prefix" if on["prefix"] else "literal"}


def _named(on: Document) -> Document:
    found = _resource(on)
    if found is None:
        raise Failure("on what? Give --topic, --group, --stream, --queue or --cluster", exit_code=USAGE)
    return found


def _filter(which: Document) -> dict[str, str]:
    """The options of ``_which`` as a query."""
    allow = which["allow"]
    given: dict[str, str | None] = {
        "principal": which["user"],
        "operation": which["operation"],
        "allow": None if allow is None else str(allow).lower(),
        **(_resource(which) or {}),
    }
    return {name: value for name, value in given.items() if value is not None}
