"""The output of commands: one document in any of six formats, chosen with ``-o``.

json and yaml print the document of the HTTP API; jsonl prints one item per line, name one name per line;
table and wide are for people, and only these two may change between versions.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.visible import is_terminal, visible, visible_json

FORMATS = ("table", "wide", "json", "jsonl", "yaml", "name")
_PIPE_WIDTH = 10_000
"""Width of a table that does not go to a terminal: nothing is cut or wrapped in a pipe."""

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its title, and how to get the cell of an item."""

    title: str
    cell: Callable[[Item], object]
    right: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """A document as a table. ``items`` finds the rows in it, ``name`` gives the name of one."""

    columns: Sequence[Column]
    name: Callable[[Item], str]
    items: Callable[[Item], Iterable[Item]]


def yaml_writer() -> Any:
    """The module ``cli.yaml_text``, loaded only when YAML is printed, so that other commands start faster."""
    return importlib.import_module("cli.yaml_text")


def field(title: str, key: str | None = None, *, right: bool = False, wide: bool = False) -> Column:
    """A column that shows the member ``key``, which is the title in lower case if not given."""
    member = key or title.lower().replace(" ", "_")
    return Column(title, lambda item: item.get(member), right=right, wide=wide)


def output_option(*, default: str | None = "table") -> Callable[[Any], Any]:
    """The ``-o`` of a command. With ``default=None`` the command prints nothing unless asked."""
    return click.option(
        "-o",
        "--output",
        "output",
        type=click.Choice(FORMATS),
        default=default,
        envvar="FLOODMARK_OUTPUT",
        show_default=default is not None,
        help="Output format.",
    )


def show(document: Item, view: View, output: str | None) -> None:
    """Print a document on stdout; nothing if ``output`` is None."""
    match output:
        case None:
            return
        case "json":
            click.echo(on_stdout(json.dumps(document, indent=2, ensure_ascii=False)))
        case "yaml":
            click.echo(yaml_writer().yaml_text(document), nl=False)
        case "jsonl":
            for item in view.items(document):
                click.echo(on_stdout(json_line(item)))
        case "name":
            for item in view.items(document):
                click.echo(on_stdout(view.name(item)))
        case _:
            _show_table(view.items(document), view, wide=output == "wide")


def show_exact(document: Item, view: View, output: str | None) -> None:
    """``show`` for a document with ``msgspec.Raw`` in it: every digit of its numbers stays."""
    match output:
        case "json":
            click.echo(on_stdout(msgspec.json.format(json_line(document), indent=2)))
        case "yaml":
            click.echo(yaml_writer().yaml_of_json(json_line(document)), nl=False)
        case _:
            show(document, view, output)


def json_line(value: Any) -> str:
    """A JSON value on one line; ``msgspec.Raw`` is embedded unchanged."""
    return msgspec.json.encode(value).decode()


def on_stdout(text: str) -> str:
    """A JSON text, or a name, ready to print: without control characters on a terminal."""
    return visible_json(text) if is_terminal(sys.stdout) else text


def cell_text(value: object) -> str:
    """The text of a value in a table: a dash if absent, lists joined with commas."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case list() | tuple():
            return ",".join(map(cell_text, value)) or "-"
        case dict():
            return json_line(value)
        case _:
            return str(value)


def _show_table(items: Iterable[Item], view: View, *, wide: bool) -> None:
    columns = [column for column in view.columns if wide or not column.wide]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.title.upper(), justify="right" if column.right else "left", overflow="fold")
    for item in items:
        table.add_row(*(Text(visible(cell_text(column.cell(item)), keep="\n")) for column in columns))
    console = Console()
    if console.is_terminal:
        console.print(table)
        return
    console = Console(width=_PIPE_WIDTH, no_color=True)
    console.print(table)
