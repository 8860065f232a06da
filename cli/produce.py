"""``floodmark produce``: records from arguments, files or a pipe."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import click
import msgspec
from floodmark.client import Client
from floodmark.errors import FloodmarkError
from floodmark.produced import Ack, Produced
from floodmark.producer import Producer

from cli.api import require_topic
from cli.complete import complete_topics
from cli.exits import Failure
from cli.output import Column, output_option
from cli.produce_input import FORMATS, Input, Shape, format_of, read_records
from cli.pump import Pump
from cli.session import Session, cluster_options, run, talk
from cli.stream_output import StreamPrinter

Acks = Literal["quorum", "leader", "none"]
_COLUMNS = (
    Column("Partition", lambda item: item["partition"], right=True),
    Column("Offset", lambda item: item["offset"], right=True),
)


@dataclass(slots=True)
class _Job:
    """One run of the command."""

    topic: str
    inputs: Iterator[Input]
    partition: int | None
    printer: StreamPrinter | None
    open_acks: deque[tuple[Input, Ack]] = field(default_factory=deque)
    stored: int = 0
    stored_bytes: int = 0

    def settle(self, one: Input, produced: Produced) -> None:
        """A record is stored."""
        self.stored += 1
        self.stored_bytes += len(one.record.value)
        if self.printer:
            self.printer.write({"partition": produced.partition, "offset": produced.offset})


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
    help="What the input is.  [default: by suffix, or jsonl]",
)
@click.option("-k", "--key", help="Key of every record.")
@click.option(
    "--key-field", metavar="NAME", help="Take each record's key from this field of its JSON object."
)
@click.option(
    "--timestamp-field", metavar="NAME", help="Take the event time from this field: ISO 8601 or milliseconds."
)
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="NAME=VALUE", help="Header of every record."
)
@click.option("-p", "--partition", type=click.IntRange(min=0), help="Partition, instead of the key's.")
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
    compression: Literal["none", "zstd"],
    **given: Any,
) -> None:
    """Write records to TOPIC: the VALUEs, the files, or else what comes in on stdin.

    Values are JSON unless --format says otherwise, one per line. A summary goes to stderr; -o prints where
    each record went. At an error, the records before it stay written.

    \b
    floodmark produce orders '{"id": 1}' -k customer-7
    floodmark produce orders --format csv --key-field customer -f orders.csv
    tail -f app.log | floodmark produce logs --format raw
    """
    shape = Shape(given["key"], given["key_field"], given["timestamp_field"], _headers(given["headers"]))
    inputs = _inputs(given["values"], given["files"], given["format_"], shape)
    with contextlib.ExitStack() as stack:
        printer = stack.enter_context(StreamPrinter(output, _COLUMNS, _name)) if output else None
        job = _Job(topic, inputs, given["partition"], printer)
        run(_produce(session.url(), job, acks=acks, compression=compression))


def _name(item: dict[str, Any]) -> str:
    return f"{item['partition']}/{item['offset']}"


def _headers(assignments: tuple[str, ...]) -> dict[str, str] | None:
    for assignment in assignments:
        if "=" not in assignment:
            raise click.BadParameter(f"{assignment!r}: write it as in -H source=web", param_hint="--header")
    return dict(assignment.split("=", 1) for assignment in assignments) or None


def _inputs(
    values: tuple[str, ...], files: tuple[str, ...], format_: str | None, shape: Shape
) -> Iterator[Input]:
    """All input, in order; nothing is opened before it is its turn."""
    for number, value in enumerate(values, 1):
        text = io.BytesIO(value.encode(errors="surrogateescape"))
        yield from read_records(text, source=f"value {number}", format_=format_ or "jsonl", shape=shape)
    for name in files or (() if values else ("-",)):
        source = "stdin" if name == "-" else name
        with _opened(name) as stream:
            yield from read_records(stream, source=source, format_=format_of(source, format_), shape=shape)


def _opened(name: str) -> contextlib.AbstractContextManager[BinaryIO]:
    return contextlib.nullcontext(_stdin()) if name == "-" else Path(name).open("rb")


def _stdin() -> BinaryIO:
    """Standard input behind a buffer of our own.

    The thread that reads it may block for ever; Python can not end while it holds the lock of sys.stdin's.
    """
    raw = getattr(sys.stdin.buffer, "raw", None)
    return io.BufferedReader(raw) if isinstance(raw, io.FileIO) else sys.stdin.buffer


async def _produce(url: str, job: _Job, *, acks: Acks, compression: Literal["none", "zstd"]) -> None:
    await require_topic(url, job.topic)
    began = time.monotonic()
    try:
        async with (
            Client(url) as client,
            client.producer(job.topic, acks=acks, compression=compression) as producer,
        ):
            try:
                await _send_all(producer, job)
            except Failure:
                await _settle(job, wait=True)  # what was read before a bad line is written, and counted
                raise
            await _settle(job, wait=True)
    finally:
        seconds = time.monotonic() - began
        what = "accepted (not acknowledged)" if acks == "none" else "stored"
        noun = "record" if job.stored == 1 else "records"
        talk(f"{job.stored:,} {noun} of {job.stored_bytes:,} bytes {what} in {seconds:.2f} s")


async def _send_all(producer: Producer, job: _Job) -> None:
    pump = Pump(job.inputs)
    while taken := await pump.take():
        for one in taken:
            job.open_acks.append((one, await _send(producer, one, job)))
        # Where input comes slowly, what became of it is told before more is waited for.
        await _settle(job, wait=pump.is_dry)


async def _send(producer: Producer, one: Input, job: _Job) -> Ack:
    record = one.record
    try:
        return await producer.send(
            # Raw hands JSON text through to the letter.
            msgspec.Raw(record.value) if record.is_json else record.value,
            key=record.key,
            partition=job.partition,
            headers=record.headers,
            timestamp=record.timestamp,
        )
    except FloodmarkError as error:
        raise _at(one.where, error) from error


async def _settle(job: _Job, *, wait: bool) -> None:
    """Take note of acknowledgements, in the order of the input, as far as they have come in."""
    while job.open_acks and (wait or job.open_acks[0][1].done()):
        one, ack = job.open_acks.popleft()
        try:
            job.settle(one, await ack)
        except FloodmarkError as error:
            raise _at(one.where, error) from error
    if job.printer:
        job.printer.flush()


def _at(where: str, error: FloodmarkError) -> FloodmarkError:
    """The same error, with the line that it is about."""
    return type(error)(f"{where}: {error.detail}", **error.fields)
