"""``floodmark queue receive``, ``ack``, ``nack``, ``extend``, ``reject``: records, by their receipts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import click
from floodmark.errors import ReceiptExpired
from floodmark.queues.shapes import Action, Settlement

from cli.api import TIMEOUT_S, Api, Document
from cli.complete import complete_queues
from cli.exits import CONFLICT, OK, USAGE, Failure
from cli.output import View, field, output_option, show
from cli.record_document import JOB_COLUMNS, job_of
from cli.session import Session, cluster_options, run, talk
from cli.stream_output import StreamPrinter
from cli.units import SPAN_MS

QUEUES_PATH: Final = "/v1/queues"
_AT_ONCE: Final = 1000
_SETTLED = View(
    columns=(field("Result"), field("Receipt")),
    name=lambda item: str(item["receipt"]),
    items=lambda document: document["settled"],
)


def queue_path(name: str, below: str = "") -> str:
    """The path of a queue. Any text is quoted into one segment."""
    return f"{QUEUES_PATH}/{quote(name, safe='')}{below}"


@click.command()
@click.argument("queue_", metavar="QUEUE", shell_complete=complete_queues)
@click.option(
    "-n",
    "--max",
    "max_",
    type=click.IntRange(1, _AT_ONCE),
    default=1,
    help="Records at most.",
    show_default=True,
)
@click.option(
    "--wait", type=SPAN_MS, default="0s", show_default=True, help="How long to wait for the first one."
)
@click.option("--worker", metavar="NAME", help="Who works, for dead letters.  [default: host and process]")
@click.option("--ack", is_flag=True, help="Acknowledge what was printed.")
@output_option()
@cluster_options
@click.pass_obj
def receive(
    session: Session,
    /,
    queue_: str,
    *,
    max_: int,
    wait: int,
    worker: str | None,
    ack: bool,
    output: str,
) -> None:
    """Receive records, each with a receipt, which settles it before the queue's visibility timeout is over.

    \b
    floodmark queue receive jobs -n 10 -o jsonl
    floodmark queue receive jobs -o name | floodmark queue ack jobs
    """

    async def work() -> None:
        async with session.target().client(timeout_s=TIMEOUT_S) as client:
            records = await client.queues.receive(queue_, max_, wait_s=wait / 1000, worker=worker)
            with StreamPrinter(output, JOB_COLUMNS, lambda item: str(item["receipt"])) as printer:
                for record in records:
                    printer.write(job_of(record))
            if records.paused:
                talk(f"the queue delivers nothing at the moment: {records.paused}")
            if ack and records:
                done = [Settlement(record.receipt, Action.ACK) for record in records]
                await client.queues.settle(queue_, done)

    run(work())


def _receipts(given: Sequence[str]) -> list[str]:
    """Those of the command line, or else the lines of standard input."""
    found = list(given) or [line.strip() for line in sys.stdin if line.strip()]
    if not found:
        raise Failure("which records? Give their receipts, or one a line on standard input", exit_code=USAGE)
    return found


def _settle(
    session: Session, queue: str, action: Action, receipts: Sequence[str], output: str | None, **more: Any
) -> int:
    body = {name: value for name, value in more.items() if value is not None}
    found = _receipts(receipts)

    async def ask() -> list[Document]:
        settled: list[Document] = []
        async with Api(session.target()) as api:
            for first in range(0, len(found), _AT_ONCE):
                part = found[first : first + _AT_ONCE]
                try:
                    _, answer = await api.change(
                        "POST", queue_path(queue, f"/{action}"), {"receipts": part, **body}
                    )
                except ReceiptExpired:
                    if len(found) == 1:
                        raise
                    answer = {"settled": [{"receipt": receipt, "result": "late"} for receipt in part]}
                settled += answer["settled"]
        return settled

    settled = run(ask())
    late = sum(one["result"] == "late" for one in settled)
    talk(f"{action}: {len(settled) - late} of {len(settled)}{', the others came too late' if late else ''}")
    show({"settled": settled}, _SETTLED, output)
    return CONFLICT if late else OK


def _command(action: Action, text: str, *options: Any) -> click.Command:
    def command(
        session: Session, /, queue_: str, receipts: Sequence[str], *, output: str | None, **more: Any
    ) -> int:
        return _settle(session, queue_, action, receipts, output, **more)

    command.__doc__ = text
    built: Any = click.pass_obj(command)
    built = output_option(default=None)(cluster_options(built))
    for option in reversed(options):
        built = option(built)
    built = click.argument("receipts", metavar="[RECEIPT]...", nargs=-1)(built)
    built = click.argument("queue_", metavar="QUEUE", shell_complete=complete_queues)(built)
    made: click.Command = click.command(str(action))(built)
    return made


SETTLING: Final = (
    _command(
        Action.ACK,
        """They are done: the queue never delivers them again.

        Receipts are those that 'floodmark queue receive' printed; without any, lines of standard input.""",
    ),
    _command(
        Action.NACK,
        "They failed: the queue delivers them again.",
        click.option(
            "--delay", "delay_ms", type=SPAN_MS, help="After so long, as in 30s.  [default: the queue's]"
        ),
    ),
    _command(
        Action.EXTEND,
        "They take longer: nobody else gets them meanwhile.",
        click.option(
            "--for",
            "visible_ms",
            type=SPAN_MS,
            help="So long from now, as in 5m.  [default: the queue's visibility timeout]",
        ),
    ),
    _command(
        Action.REJECT,
        "They will never work: they are dead letters at once.",
        click.option("--reason", metavar="TEXT", help="Why."),
    ),
)
