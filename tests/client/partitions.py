"""Partitions in memory behind a network that loses, delays, repeats and reorders, and senders to them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from floodmark.errors import (
    Conflict,
    FloodmarkError,
    OutcomeUnknown,
    OutOfOrderSequence,
    ProducerFenced,
    TooLarge,
    TooManyRequests,
    TransportError,
    Unavailable,
)
from floodmark.format import batch
from floodmark.format.batch import ProducerKind
from floodmark.format.batch_check import check
from floodmark.format.record import Record
from floodmark.producer import record_accumulator
from floodmark.producer.numbering import Epoch, Numbering
from floodmark.producer.partition_sender import PartitionSender
from floodmark.producer.produced import Ack
from floodmark.producer.producer_batch import ProducerBatch
from floodmark.producer.sender_options import SenderHost, SenderOptions

REMEMBERED = 5
NAMED = Epoch(batch.producer_id_of("p"), 0, ProducerKind.NAMED)
NUMBERED = Epoch(batch.numbered_id_of(17), 0, ProducerKind.NUMBERED)
ROUND = 1 << 31
"""Sequences of a numbered producer begin anew there."""


@contextlib.contextmanager
def given_up_after(seconds: float) -> Iterator[None]:
    """Batches that begin meanwhile have only so long; others have the time that a busy machine takes."""
    usual = record_accumulator.ProducerBatch

    def begin(number: int, _: float, *rest: Any) -> ProducerBatch:
        return usual(number, seconds, *rest)

    record_accumulator.ProducerBatch = begin  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        record_accumulator.ProducerBatch = usual  # type: ignore[misc]


class Ledger:
    """What a leader does with an idempotent producer's batches, and all that it has stored."""

    def __init__(self) -> None:
        self.epoch = 0
        self.expected = 0
        self.values: list[int] = []
        self.offsets: dict[tuple[int, int], int] = {}
        self.recent: list[tuple[int, int]] = []
        """Epoch and sequence of the last batches, of whatever producer."""

    def take(self, data: bytes) -> int:
        """Store one batch and answer its first offset."""
        header = check(data)
        if header.producer_epoch < self.epoch:
            raise ProducerFenced("a newer epoch exists", current_epoch=self.epoch)
        is_new = header.producer_epoch > self.epoch
        expected = 0 if is_new else self.expected
        place = (header.producer_epoch, header.sequence)
        if header.sequence != expected:
            if place in self.offsets and place in self.recent:
                return self.offsets[place]
            ahead = header.sequence - expected
            if is_new or (ahead % ROUND < ROUND // 2 if header.format == 2 else ahead > 0):
                raise OutOfOrderSequence("skipped ahead", expected_sequence=expected)
            raise Conflict("stored, and where is forgotten")
        step = header.count if header.format == 2 else 1
        self.epoch, self.expected = header.producer_epoch, (expected + step) % ROUND
        self.offsets[place] = len(self.values)
        self.recent = [*self.recent, place][-REMEMBERED:]
        self.values += [int(record.value or b"") for record in batch.decode(data) if record is not None]
        return self.offsets[place]


class Network:
    """Between a sender and the ledger: every request meets a fate that the seed decides."""

    def __init__(self, ledger: Ledger, seed: int, trouble: float) -> None:
        self.ledger = ledger
        self.random = random.Random(seed)
        self.trouble = trouble
        self.strays: set[asyncio.Task[None]] = set()

    async def send(self, producer_batch: ProducerBatch) -> int:
        """One attempt."""
        data = producer_batch.data
        await self._linger(3)
        if any(int(record.value) % 97 == 13 for record in batch.decode(data)):
            raise TooLarge("the topic does not want this one")
        if self.random.random() >= self.trouble:
            return self.ledger.take(data)
        if self.random.random() < 0.2:
            self._lie(data)
        match self.random.randrange(7):
            case 0:
                raise TransportError("refused", sent=False)
            case 1:
                raise Unavailable("no leader")
            case 2:
                raise TooManyRequests("full", retry_after_s=0.001)
            case 3:
                raise TransportError("the request was lost", sent=True)
            case 4:
                raise OutcomeUnknown("the leader went away")
            case 5:
                self.ledger.take(data)
                raise TransportError("the answer was lost", sent=True)
            case _:
                stray = asyncio.create_task(self._deliver_late(data))
                self.strays.add(stray)
                stray.add_done_callback(self.strays.discard)
                raise TransportError("the request is late", sent=True)

    def _lie(self, data: bytes) -> None:
        """Answer from an old state, or as a proxy does that knows nothing of what became of the request."""
        if self.random.random() < 0.5:
            expected = self.random.randrange(batch.decode_header(data).sequence + 1)
            raise OutOfOrderSequence("skipped ahead", expected_sequence=expected)
        self.ledger.take(data)
        raise Unavailable("the connection to the node broke", sent=True)

    async def _deliver_late(self, data: bytes) -> None:
        await self._linger(60)
        with contextlib.suppress(FloodmarkError):
            self.ledger.take(data)

    async def _linger(self, rounds: int) -> None:
        for _ in range(self.random.randrange(rounds)):
            await asyncio.sleep(0)


def sender_to(
    send: Callable[[ProducerBatch], Awaitable[int]],
    *,
    numbering: Numbering | None = None,
    owns_epoch: bool = True,
    batch_bytes: int = 40,
    settled: Callable[[ProducerBatch], None] = lambda _: None,
    **options: Any,
) -> PartitionSender:
    """A sender that sends by ``send``, one record per batch if that says nothing else."""
    wanted = SenderOptions(linger_s=0, batch_bytes=batch_bytes, **options)
    numbering = numbering or Numbering(NAMED, owns_epoch=owns_epoch)
    return PartitionSender(0, wanted, numbering, SenderHost(send, settled, lambda: False))


async def write(sender: PartitionSender, count: int, rnd: random.Random) -> dict[int, Ack | FloodmarkError]:
    """Send ``count`` numbers with pauses, and wait until all are settled."""
    acks: dict[int, Ack | FloodmarkError] = {}
    for number in range(count):
        if sender.fatal is not None:
            break
        value = b"%d" % number
        acks[number] = Ack(*sender.accumulator.add(Record(0, None, value), len(value) + 32))
        if rnd.random() < 0.2:
            await asyncio.sleep(0)
    sender.accumulator.ripen()
    for outcome in sender.pending():
        await outcome.wait()
    return acks


def judge(ledger: Ledger, acks: dict[int, Ack | FloodmarkError]) -> tuple[int, int]:
    """Nothing is stored twice or out of order; what is acknowledged is there, what has failed is not."""
    assert ledger.values == sorted(set(ledger.values))
    stored = unknown = 0
    for number, ack in acks.items():
        assert isinstance(ack, Ack)
        try:
            place = ack.result()
        except OutcomeUnknown:
            unknown += 1
        except FloodmarkError:
            assert number not in ledger.values
        else:
            assert ledger.values[place.offset] == number
            stored += 1
    return stored, unknown
