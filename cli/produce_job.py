"""Sends the records that ``produce`` read, and reports the result of each in the order of the input."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from floodmark.errors import FloodmarkError
from floodmark.format.record import Record
from floodmark.format.values import TOMBSTONE, Timestamp, Tombstone
from floodmark.producer.delivery import Delay
from floodmark.producer.produced import Ack, Produced
from floodmark.producer.producer import Producer

from cli.api import require_topic
from cli.exits import Failure
from cli.produce_input import Input
from cli.pump import Pump
from cli.session import Target, talk
from cli.stream_output import StreamPrinter

Acks = Literal["quorum", "leader", "none"]
Compression = Literal["none", "zstd"]


@dataclass(slots=True)
class Job:
    """One run of the command."""

    topic: str
    inputs: Iterator[Input]
    partition: int | None
    printer: StreamPrinter | None
    delay: Delay = None
    deliver_at: Timestamp = None
    open_acks: deque[tuple[Input, Ack]] = field(default_factory=deque)
    stored: int = 0
    stored_bytes: int = 0

    def settle(self, one: Input, produced: Produced) -> None:
        """Count and print a record that is stored."""
        self.stored += 1
        self.stored_bytes += len(one.record.value or b"")
        if self.printer:
            self.printer.write({"partition": produced.partition, "offset": produced.offset})


async def produce_all(server: Target, job: Job, *, acks: Acks, compression: Compression) -> None:
    """Send all inputs in order, and print how many are stored. Raises errors with the line they are about."""
    await require_topic(server, job.topic)
    logging.getLogger("floodmark.producer.producer").addHandler(_Told())
    began = time.monotonic()
    try:
        async with (
            server.client() as client,
            client.producer(job.topic, acks=acks, compression=compression) as producer,
        ):
            try:
                await _send_all(producer, job)
            except (Failure, FloodmarkError, OSError):
                with contextlib.suppress(FloodmarkError):
                    await _settle(job, wait=True)  # records before a bad line are written and counted
                raise
            await _settle(job, wait=True)
    except BaseException:
        if job.stored:
            _tell(job, acks, began)
        raise
    _tell(job, acks, began)


class _Told(logging.Handler):
    """Prints the client's log messages about retries at once."""

    def emit(self, record: logging.LogRecord) -> None:
        talk(record.getMessage())


def _tell(job: Job, acks: Acks, began: float) -> None:
    seconds = time.monotonic() - began
    what = "accepted (not acknowledged)" if acks == "none" else "stored"
    noun = "record" if job.stored == 1 else "records"
    talk(f"{job.stored:,} {noun} of {job.stored_bytes:,} bytes {what} in {seconds:.2f} s")


async def _send_all(producer: Producer, job: Job) -> None:
    pump = Pump(job.inputs)
    while taken := await pump.take():
        for one in taken:
            job.open_acks.append((one, await _send(producer, one, job)))
        # If input comes slowly, report results before waiting for more.
        await _settle(job, wait=pump.is_dry)


def _value(record: Record) -> bytes | msgspec.Raw | Tombstone:
    if record.value is None:
        return TOMBSTONE
    # Raw passes JSON text through unchanged.
    return msgspec.Raw(record.value) if record.is_json else record.value


async def _send(producer: Producer, one: Input, job: Job) -> Ack:
    record = one.record
    try:
        return await producer.send(
            _value(record),
            key=record.key,
            partition=job.partition,
            headers=record.headers,
            timestamp=record.timestamp,
            delay=job.delay,
            deliver_at=job.deliver_at,
        )
    except FloodmarkError as error:
        raise _at(one.where, error) from error


async def _settle(job: Job, *, wait: bool) -> None:
    """Handle acknowledgements in the order of the input, as far as they have arrived."""
    while job.open_acks and (wait or job.open_acks[0][1].done()):
        one, ack = job.open_acks.popleft()
        try:
            job.settle(one, await ack)
        except FloodmarkError as error:
            raise _at(one.where, error) from error
    if job.printer:
        job.printer.flush()


def _at(where: str, error: FloodmarkError) -> FloodmarkError:
    """The same error, with the line it is about."""
    return type(error)(f"{where}: {error.detail}", **error.fields)
