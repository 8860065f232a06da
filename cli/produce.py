"""``floodmark produce``: records from arguments, files or a pipe."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click
from floodmark.keywords import OfDelivery

from cli.complete import complete_topics
from cli.output import Column, output_option
from cli.produce_input import FORMATS, Input, Shape, format_of, read_records, record_input, timestamp_ms
from cli.produce_job import Acks, Compression, Job, produce_all
from cli.session import Session, cluster_options, run
from cli.stream_output import StreamPrinter
from cli.units import DURATION_MS

_COLUMNS = (
    Column("Partition", lambda item: item["partition"], right=True),
    Column("Offset", lambda item: item["offset"], right=True),
)


@click.command()
@click.argument("topic", shell_complete=complete_topics)
@click.argument("values", nargs=-1, metavar="[VALUE]...")
@click.option(
    "-f",
    "--file",
    "files",
    type=click.Path(allow_dash=True),
    multiple=True,
    help="Read this file; - is stdin.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="Format of the input.  [default: by suffix, or jsonl]",
)
@click.option("-k", "--key", help="Key of every record.")
@click.option(
    "--key-field", metavar="NAME", help="Take each record's key from this field of its JSON object."
)
@click.option(
    "--timestamp-field", metavar="NAME", help="Take the event time from this field: ISO 8601 or milliseconds."
)
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="NAME=VALUE",
    help="Header of every record; names may be repeated.",
)
@click.option("--tombstone", is_flag=True, help="Delete the key: write a record without a value.")
@click.option(
    "-p", "--partition", type=click.IntRange(min=0), help="Write to this partition instead of the key's."
)
@click.option("--delay", type=DURATION_MS, help="Queues deliver the records after this time, such as 30s.")
@click.option("--deliver-at", metavar="TIME", help="Or at this time: ISO 8601 (UTC), or milliseconds.")
@click.option("--acks", type=click.Choice(["quorum", "leader", "none"]), default="quorum", show_default=True)
@click.option("--compression", type=click.Choice(["none", "zstd"]), default="none", show_default=True)
@output_option(default=None)
@cluster_options
@click.pass_obj
def produce(
    session: Session,
    /,
    topic: str,
    *,
    output: str | None,
    acks: Acks,
    compression: Compression,
    **given: Any,
) -> None:
    """Write records to TOPIC: the VALUEs, the files, or else standard input.

    Values are JSON unless --format says otherwise, one per line. A summary goes to stderr; -o prints where
    each record is stored. After an error, the records before it stay written.

    \b
    floodmark produce orders '{"id": 1}' -k customer-7
    floodmark produce orders --format csv --key-field customer -f orders.csv
    floodmark produce orders -k customer-7 --tombstone
    floodmark produce reminders '{"to": "ada"}' --delay 30m
    tail -f app.log | floodmark produce logs --format raw
    """
    shape = Shape(given["key"], given["key_field"], given["timestamp_field"], _headers(given["headers"]))
    if given["tombstone"]:
        _check_tombstone(given)
        inputs = iter([record_input(None, where="--tombstone", is_json=False, shape=shape)])
    else:
        inputs = _inputs(given["values"], given["files"], given["format_"], shape)
    with contextlib.ExitStack() as stack:
        printer = stack.enter_context(StreamPrinter(output, _COLUMNS, _name)) if output else None
        job = Job(topic, inputs, given["partition"], printer, **_delivery(given))
        run(produce_all(session.target(), job, acks=acks, compression=compression))


def _name(item: dict[str, Any]) -> str:
    return f"{item['partition']}/{item['offset']}"


def _delivery(given: dict[str, Any]) -> OfDelivery:
    delay, deliver_at = given["delay"], given["deliver_at"]
    if delay is not None and deliver_at is not None:
        raise click.UsageError("give --delay or --deliver-at, not both")
    try:
        return {
            "delay": delay / 1000 if isinstance(delay, int) else None,  # None also for "none".
            "deliver_at": None if deliver_at is None else timestamp_ms(deliver_at),
        }
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--deliver-at") from error


def _headers(assignments: tuple[str, ...]) -> list[tuple[str, str]]:
    for assignment in assignments:
        if "=" not in assignment:
            raise click.BadParameter(
                f"{assignment!r} is not a header: write it as in -H source=web", param_hint="--header"
            )
    return [(name, value) for name, _, value in (each.partition("=") for each in assignments)]


def _check_tombstone(given: dict[str, Any]) -> None:
    """Refuse options for a value, which a tombstone does not have, and a tombstone without a key."""
    if given["key"] is None:
        raise click.UsageError("--tombstone deletes a key: give it with --key")
    beside = {
        "VALUE": given["values"],
        "--file": given["files"],
        "--format": given["format_"],
        "--key-field": given["key_field"],
        "--timestamp-field": given["timestamp_field"],
    }
    for name, said in beside.items():
        if said:
            raise click.UsageError(f"--tombstone writes no value: leave {name} out")


def _inputs(
    values: tuple[str, ...], files: tuple[str, ...], format_: str | None, shape: Shape
) -> Iterator[Input]:
    """All inputs, in order; each is opened only when it is reached."""
    for number, value in enumerate(values, 1):
        data, source = value.encode(errors="surrogateescape"), f"value {number}"
        if format_ == "raw":  # one record with any content, even empty
            yield record_input(data, where=source, is_json=False, shape=shape)
        else:
            yield from read_records(io.BytesIO(data), source=source, format_=format_ or "jsonl", shape=shape)
    for name in files or (() if values else ("-",)):
        source = "stdin" if name == "-" else name
        with _opened(name) as stream:
            yield from read_records(stream, source=source, format_=format_of(source, format_), shape=shape)


def _opened(name: str) -> contextlib.AbstractContextManager[BinaryIO]:
    return contextlib.nullcontext(_stdin()) if name == "-" else Path(name).open("rb")


def _stdin() -> BinaryIO:
    """Standard input behind a buffer of our own.

    The thread that reads it may block forever, and Python cannot exit while a thread holds the lock of
    sys.stdin's buffer.
    """
    raw = getattr(sys.stdin.buffer, "raw", None)
    return io.BufferedReader(raw) if isinstance(raw, io.FileIO) else sys.stdin.buffer
