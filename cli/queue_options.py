"""The settings of a queue as options, and durations in lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from cli.api import Document
from cli.complete import complete_topics
from cli.units import NO_LIMIT, SPAN_MS


class _Durations(click.ParamType[list[int]]):
    """``1s,5s,30s``"""

    name = "durations"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """In milliseconds."""
        return [int(SPAN_MS.convert(part, param, ctx)) for part in str(value).split(",")]


def setting_options(command: Any) -> Any:
    """Those of a queue that can be set."""
    add: tuple[Callable[[Any], Any], ...] = (
        click.option(
            "--topic",
            required=True,
            metavar="NAME",
            shell_complete=complete_topics,
            help="Whose records are delivered.",
        ),
        click.option(
            "--ordering",
            type=click.Choice(["none", "key"]),
            help="key: never two records of one key at once, nor one before those that came earlier.",
        ),
        click.option(
            "--visibility-timeout",
            type=SPAN_MS,
            help="So long a worker has for a record, before it is delivered again, as in 30s.",
        ),
        click.option(
            "--max-deliveries",
            type=click.IntRange(min=1),
            help="After so many that failed a record is a dead letter.",
        ),
        click.option(
            "--backoff",
            type=_Durations(),
            help="How long a record waits after its first, second ... failed delivery, as in 1s,5s,30s.",
        ),
        click.option(
            "--max-in-flight", type=click.IntRange(min=1), help="Records delivered and not settled, in all."
        ),
        click.option(
            "--max-in-flight-per-worker", type=click.IntRange(min=1), help="Likewise of one worker."
        ),
        click.option(
            "--dead-letter-topic",
            metavar="NAME",
            help="Where dead letters go; none: nowhere, they are dropped.  [default: QUEUE.dead]",
        ),
        click.option("--start", type=click.Choice(["earliest", "latest"]), help="Where a new queue begins."),
        click.option(
            "--window",
            type=click.IntRange(min=1),
            help="So many records past the oldest unsettled one are looked at.",
        ),
        click.option(
            "--breaker-failures",
            type=click.IntRange(0, 100),
            help="Pause where so many of 100 deliveries failed; 0: never.",
        ),
        click.option(
            "--breaker-deliveries", type=click.IntRange(min=1), help="Of at least so many deliveries."
        ),
        click.option("--breaker-window", type=SPAN_MS, help="Within so long, as in 30s."),
        click.option("--breaker-pause", type=SPAN_MS, help="How long it pauses, as in 30s."),
    )
    for option in reversed(add):
        command = option(command)
    return command


def settings_of(
    *,
    topic: str,
    visibility_timeout: int | None,
    dead_letter_topic: str | None,
    backoff: list[int] | None,
    breaker_failures: int | None,
    breaker_deliveries: int | None,
    breaker_window: int | None,
    breaker_pause: int | None,
    **others: Any,
) -> Document:
    """The body of a PUT: what was given."""
    breaker = {
        "failures": breaker_failures,
        "deliveries": breaker_deliveries,
        "window_ms": breaker_window,
        "pause_ms": breaker_pause,
    }
    given = {
        "topic": topic,
        "visibility_timeout_ms": visibility_timeout,
        "backoff_ms": backoff,
        "breaker": {name: value for name, value in breaker.items() if value is not None} or None,
        **others,
    }
    body = {name: value for name, value in given.items() if value is not None}
    if dead_letter_topic is not None:
        body["dead_letter_topic"] = None if dead_letter_topic == NO_LIMIT else dead_letter_topic
    return body
