"""``floodmark consume``: records of a topic to a terminal or a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.core import ParameterSource
from floodmark.consumer.consumed import ConsumedRecord
from floodmark.consumer.fetcher import Start

from cli.api import TIMEOUT_S, require_topic
from cli.complete import complete_groups, complete_topics
from cli.consume_group import consume_as
from cli.format_string import Consumed, compile_format
from cli.output import output_option
from cli.positions import Position
from cli.record_document import COLUMNS, document_of, name_of
from cli.session import Session, Target, cluster_options, run
from cli.stream_output import StreamPrinter

Write = Callable[[Sequence[ConsumedRecord]], None]


@click.command()
@click.argument("topic", shell_complete=complete_topics)
@click.option(
    "--from",
    "start",
    type=Position(),
    default="earliest",
    show_default=True,
    metavar="POSITION",
    help="earliest, latest, an offset, -10 (the last ten of each partition) or @2026-01-31T10:00Z.",
)
@click.option("-n", "--count", type=click.IntRange(min=0), help="Stop after exactly this many records.")
@click.option("-p", "--partition", type=click.IntRange(min=0), help="Only this partition.")
@click.option("-f", "--format", "format_", metavar="FORMAT", help=r"Print as in '%p/%o %k %v\n'.")
@click.option("-F", "--follow", is_flag=True, help="Wait for more at the end.")
@click.option(
    "-g",
    "--group",
    metavar="NAME",
    shell_complete=complete_groups,
    help="Read as a member of this group: from where it is, each record once, shared with its other members.",
)
@output_option(default=None)
@cluster_options
@click.pass_context
def consume(
    ctx: click.Context,
    topic: str,
    *,
    start: Start,
    count: int | None,
    partition: int | None,
    format_: str | None,
    follow: bool,
    group: str | None,
    output: str | None,
) -> None:
    """Print the records of TOPIC, up to those stored when the command begins.

    Values, one per line, unless -f or -o say otherwise. Each partition's records come in order of offset.

    \b
    -f: %t topic  %p partition  %o offset  %T event time in ms  %k key  %v value  %h headers
        %s size of the value  %% percent  \\n \\t \\r \\0 \\\\ \\xHH

    With -g nodes keep the position: what was printed is committed, and --from (earliest or latest) is only
    where a new group begins.

    On a terminal control characters of keys, values and headers are shown as \\x1b; a pipe gets every byte.
    """
    if format_ is not None and output is not None:
        if ctx.get_parameter_source("output") == ParameterSource.COMMANDLINE:
            raise click.UsageError("use either -f or -o, not both", ctx)
        output = None
    session: Session = ctx.obj
    if group is not None and partition is not None:
        raise click.UsageError("a group shares out the partitions: leave out -p", ctx)
    if group is not None and start not in ("earliest", "latest"):
        raise click.UsageError(
            "a new group begins at earliest or latest; `floodmark group seek` sends it elsewhere", ctx
        )
    with contextlib.ExitStack() as stack:
        write = _document_writer(stack, output) if output else _text_writer(topic, format_)
        server = session.target()
        if group is not None:
            run(consume_as(group, server, topic, write, count=count, start=start, follow=follow))
        else:
            run(_consume(server, topic, write, count=count, partition=partition, start=start, follow=follow))


async def _consume(server: Target, topic: str, write: Write, *, count: int | None, **where: Any) -> None:
    await require_topic(server, topic)
    if count == 0:
        return
    left = count
    async with (
        server.client(timeout_s=TIMEOUT_S) as client,
        client.read_batches(topic, **where) as reader,
    ):
        async for batch in reader:
            records = batch.consumed()[:left]
            write(records)
            if left is not None:
                left -= len(records)
                if left == 0:
                    return


def _text_writer(topic: str, format_: str | None) -> Write:
    line = compile_format(r"%v\n" if format_ is None else format_)

    def write(records: Sequence[ConsumedRecord]) -> None:
        sys.stdout.buffer.writelines(
            line(Consumed(topic, one.partition, one.offset, one.timestamp, one.key, one.value, one.headers))
            for one in records
        )
        sys.stdout.buffer.flush()

    return write


def _document_writer(stack: contextlib.ExitStack, output: str) -> Write:
    printer = stack.enter_context(StreamPrinter(output, COLUMNS, name_of))

    def write(records: Sequence[ConsumedRecord]) -> None:
        for one in records:
            printer.write(document_of(one))
        printer.flush()

    return write
