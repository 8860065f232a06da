"""Loads the flights into a cluster, reads all of them back, and reports the result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from floodmark.client import Client
from floodmark.format.record import Record
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.flights import PARTITIONS, TOPIC, Comparison, read_flights
from cli.session import Target, talk

_REPLICAS = 3


async def load_flights(target: Target, urls: Sequence[str], path: Path) -> None:
    """Make the topic hold every flight of the file, in order. Raises ``Failure`` if it does not.

    ``urls``: all nodes; ``target``: how they are asked.
    """
    records = read_flights(path)
    async with target.client(urls) as client:
        await client.topics.ensure(TOPIC, partitions=PARTITIONS, replication_factor=min(_REPLICAS, len(urls)))
        held = await _read_back(client, records, "looking for flights")
        held.require_in_order()
        missing = list(held.missing(records))
        if missing:
            if held.count:
                talk(f"topic {TOPIC} already holds {held.count:,} flights: continuing from there")
            await _produce(client, missing)
            held = await _read_back(client, records, "reading back")
        else:
            talk(f"topic {TOPIC} already holds its {held.count:,} flights: nothing to produce")
        held.require_complete()
    carriers = len(held.expected)
    click.echo(
        f"checked: all {held.count:,} flights are there, those of each of {carriers} carriers in order"
    )
    if held.others:
        click.echo(f"         ({held.others:,} other records follow them)")


async def _produce(client: Client, records: list[Record]) -> None:
    began = time.monotonic()
    with _progress() as progress:
        bar = progress.add_task("producing", total=len(records))
        async with client.producer(TOPIC) as producer:
            for record in records:
                await producer.send(
                    msgspec.Raw(record.value or b""), key=record.key, timestamp=record.timestamp
                )
                progress.advance(bar)
    _say("produced", len(records), time.monotonic() - began)


async def _read_back(client: Client, records: list[Record], what: str) -> Comparison:
    comparison = Comparison.of(records)
    began = time.monotonic()
    with _progress() as progress:
        bar = progress.add_task(what, total=len(records))
        async for batch in client.read_batches(TOPIC):
            for offset, record in zip(batch.offsets, batch.records, strict=True):
                where = f"partition {batch.partition}, offset {offset}"
                comparison.see(record.key, record.value or b"", where=where)
            progress.update(bar, completed=comparison.count)
    if comparison.count:
        _say("read back", comparison.count + comparison.others, time.monotonic() - began)
    return comparison


def _progress() -> Progress:
    """A progress bar on stderr; silent if stderr is not a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:>20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _say(what: str, count: int, seconds: float) -> None:
    click.echo(f"{what} {count:,} records in {seconds:.2f} s ({count / max(seconds, 1e-6):,.0f} records/s)")
