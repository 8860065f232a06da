"""``floodmark quota``: how much each user may ask for."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import click

from cli.api import Api, Document
from cli.exits import USAGE, Failure
from cli.node_view import size_text
from cli.output import Column, View, output_option, show
from cli.session import Session, cluster_options, run, talk
from cli.units import NO_LIMIT, SIZE_BYTES

_PATH: Final = "/v1/quotas"
_BYTES: Final = ("produce_bytes_per_s", "fetch_bytes_per_s", "inflight_bytes")
_WORDS: Final = {
    "produce_bytes_per_s": "produce {}/s",
    "fetch_bytes_per_s": "read {}/s",
    "requests_per_s": "make {} requests/s",
    "connections": "have {} connections",
    "inflight_bytes": "have {} in flight",
    "partition_changes_per_s": "create and delete {} partitions/s",
}


def _limit(title: str, name: str) -> Column:
    return Column(title, lambda quota: _text(name, quota["limits"].get(name)), right=True)


_QUOTAS = View(
    columns=(
        Column("User", lambda quota: quota["principal"]),
        _limit("Produce/s", "produce_bytes_per_s"),
        _limit("Fetch/s", "fetch_bytes_per_s"),
        _limit("Requests/s", "requests_per_s"),
        _limit("Connections", "connections"),
        _limit("In flight", "inflight_bytes"),
        _limit("Partitions/s", "partition_changes_per_s"),
    ),
    name=lambda quota: str(quota["principal"]),
    items=lambda document: document.get("quotas", [document]),
)


@click.group()
def quota() -> None:
    """Limit how much users may ask for, of each node.

    '*' is each user without a quota of its own, and anonymous all who are not authenticated, together.
    """


@quota.command("list")
@output_option()
@cluster_options
@click.pass_obj
def list_(session: Session, *, output: str | None) -> None:
    """List the quotas."""

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return await api.get(_PATH)

    show(run(ask()), _QUOTAS, output)


@quota.command("set")
@click.argument("user", metavar="USER")
@click.option("--produce-bytes-per-s", type=SIZE_BYTES, help="As in 10MiB: records sent in a second.")
@click.option("--fetch-bytes-per-s", type=SIZE_BYTES, help="Records read in a second.")
@click.option("--requests-per-s", type=float, help="Requests in a second.")
@click.option("--connections", type=int, help="Connections open at once.")
@click.option("--inflight-bytes", type=SIZE_BYTES, help="Records on their way at once.")
@click.option(
    "--partition-changes-per-s", type=float, help="Partitions created, added and deleted in a second."
)
@output_option(default=None)
@cluster_options
@click.pass_obj
def set_(session: Session, /, user: str, *, output: str | None, **given: Any) -> None:
    """Set a user's quota, instead of the one that it had: what is left out is not limited.

    \b
    floodmark quota set alice --produce-bytes-per-s 10MiB --requests-per-s 500
    floodmark quota set '*' --connections 50
    """
    limits = {name: value for name, value in given.items() if value not in (None, NO_LIMIT)}
    if not limits:
        raise Failure(
            "limit what? Give at least one option, as in --requests-per-s 500; `floodmark quota delete` "
            "removes a quota",
            exit_code=USAGE,
        )

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return (await api.change("PUT", _of(user), limits))[1]

    document = run(ask())
    talk(_in_words(document))
    show(document, _QUOTAS, output)


@quota.command("delete")
@click.argument("user", metavar="USER")
@output_option(default=None)
@cluster_options
@click.pass_obj
def delete(session: Session, user: str, *, output: str | None) -> None:
    """Remove a user's own quota: the one of '*' is its quota then, if there is one."""

    async def ask() -> None:
        async with Api(session.target()) as api:
            await api.change("DELETE", _of(user))

    run(ask())
    talk(f"{user} has no quota of its own any more")
    show({"principal": user, "limits": {}}, _QUOTAS, output)


def _of(user: str) -> str:
    return f"{_PATH}/{quote(user, safe='')}"


def _text(name: str, value: float | None) -> str | None:
    if value is None:
        return None
    return size_text(int(value)) if name in _BYTES else f"{value:g}"


def _in_words(document: Document) -> str:
    """A quota as a sentence."""
    principal, limits = document["principal"], document["limits"]
    who = {"*": "every user without a quota of its own", "anonymous": "those not authenticated"}
    may = [words.format(_text(name, limits[name])) for name, words in _WORDS.items() if name in limits]
    return f"{who.get(principal, principal)} may {', '.join(may)}, at each node"
