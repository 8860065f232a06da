"""A producer is in one epoch at a time: a sender that needs new numbers moves all of them on."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest
from aiohttp import web
from floodmark import Client
from floodmark.errors import FloodmarkError, NotUsable, OutcomeUnknown, TooLarge, TransportError
from floodmark.format import batch
from floodmark.format.limits import PRODUCER_EPOCH_MAX
from floodmark.format.record import Record
from floodmark.producer.numbering import Epoch, Numbering
from floodmark.producer.partition_sender import PartitionSender
from floodmark.producer.produced import Ack
from floodmark.producer.producer_batch import ProducerBatch

from tests.client.front import Front, no_trouble
from tests.client.partitions import NAMED, NUMBERED, Ledger, Network, given_up_after, judge, sender_to, write


def _send(sender: PartitionSender, number: int) -> Ack:
    """A record that is a batch of its own."""
    return Ack(*sender.accumulator.add(Record(0, None, b"%08d" % number), 40))


class Taking:
    """Stores what comes, and tells its numbers; where ``gate`` is closed, once that opens."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.numbers: list[tuple[int, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.coming = asyncio.Semaphore(0)
        self.error: FloodmarkError | None = None
        self.refused: tuple[int, int] | None = None
        """The epoch and sequence of a batch that is too large."""

    async def send(self, producer_batch: ProducerBatch) -> int:
        """One attempt."""
        header = batch.decode_header(producer_batch.data)
        self.numbers.append((header.producer_epoch, header.sequence))
        self.coming.release()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        if (header.producer_epoch, header.sequence) == self.refused:
            raise TooLarge("the topic does not want this one")
        return self.ledger.take(producer_batch.data)


@pytest.mark.parametrize("epoch", [NAMED, NUMBERED], ids=["named", "numbered"])
@pytest.mark.parametrize("delivery_timeout_s", [60, 0.004], ids=["patient", "hasty"])
@pytest.mark.parametrize("seed", range(25))
async def test_senders_in_trouble_move_on_together_and_end_in_one_epoch(
    seed: int, delivery_timeout_s: float, epoch: Epoch, impatient: None
) -> None:
    """Order, no doubles, nothing claimed that is not so, in each of four partitions; and then one epoch."""
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with a failure
    numbering = Numbering(epoch)
    ledgers = [Ledger() for _ in range(4)]
    networks = [Network(ledger, 4 * seed + n, trouble=0.5) for n, ledger in enumerate(ledgers)]
    options = {"batch_bytes": 100, "in_flight_max": 4, "delivery_timeout_s": delivery_timeout_s}
    senders = [sender_to(network.send, numbering=numbering, **options) for network in networks]
    rnd = random.Random(seed)
    acks = await asyncio.gather(*(write(sender, 100, rnd) for sender in senders))
    await asyncio.gather(*(stray for network in networks for stray in network.strays))
    assert all(sender.fatal is None for sender in senders)
    for ledger, found in zip(ledgers, acks, strict=True):
        judge(ledger, found)
    stored = [list(ledger.values) for ledger in ledgers]
    for sender, network in zip(senders, networks, strict=True):
        network.trouble = 0
        sender.accumulator._delivery_timeout_s = 60
        await _send(sender, 1_000)
    assert {ledger.epoch for ledger in ledgers} == {numbering.current.number}
    assert [ledger.values for ledger in ledgers] == [[*values, 1_000] for values in stored]
    for sender in senders:
        await sender.stop()


async def test_a_sender_takes_the_next_epoch_up_when_nothing_of_its_own_is_under_way(impatient: None) -> None:
    """What is under way keeps its numbers, what comes meanwhile waits and begins the epoch at 0."""
    numbering = Numbering(NAMED)
    one, other = Taking(), Taking()
    first = sender_to(one.send, numbering=numbering, in_flight_max=1, is_durable=False)
    second = sender_to(other.send, numbering=numbering, in_flight_max=4)
    await _send(second, 0)
    other.gate.clear()
    waits = _send(second, 1)
    await other.coming.acquire()
    await other.coming.acquire()

    one.error = TransportError("the request is late", sent=True)
    with pytest.raises(OutcomeUnknown), given_up_after(0.2):
        await _send(first, 0)
    assert numbering.current.number == 1
    one.error = None
    behind = [_send(second, number) for number in (2, 3)]
    await _send(first, 1)
    assert one.numbers[-1] == (1, 0)
    assert other.numbers == [(0, 0), (0, 1)], "what comes does not mix with what is under way"
    other.gate.set()
    assert [(await ack).offset for ack in (waits, *behind)] == [1, 2, 3]
    assert other.numbers == [(0, 0), (0, 1), (1, 0), (1, 1)]
    await first.stop()
    await second.stop()


async def test_behind_its_last_epoch_a_numbered_producer_ends(impatient: None) -> None:
    """Another id would not shut out what is late of this one, so the user is to open another producer."""
    numbering = Numbering(msgspec.structs.replace(NUMBERED, number=PRODUCER_EPOCH_MAX - 1))
    taking = Taking()
    sender = sender_to(taking.send, numbering=numbering, in_flight_max=1)
    for _ in range(2):
        taking.error = TransportError("the request is late", sent=True)
        with pytest.raises(OutcomeUnknown), given_up_after(0.2):
            await _send(sender, 0)
        taking.error = None
        if sender.fatal is None:
            await _send(sender, 1)
            assert taking.numbers[-1] == (PRODUCER_EPOCH_MAX, 0)
    assert isinstance(sender.fatal, NotUsable)
    assert "open another one" in sender.fatal.detail
    assert numbering.current.number == PRODUCER_EPOCH_MAX
    await sender.stop()


async def test_behind_a_refused_batch_the_rest_goes_under_the_epoch_of_all(impatient: None) -> None:
    """The producer has moved on while a sender's batches were under way: a hole is a place to follow it."""
    numbering = Numbering(NAMED)
    taking = Taking()
    sender = sender_to(taking.send, numbering=numbering, in_flight_max=3)
    taking.gate.clear()
    taking.refused = (0, 0)
    acks = [_send(sender, number) for number in range(3)]
    for _ in acks:
        await taking.coming.acquire()
    numbering.move_on(numbering.current)
    taking.gate.set()
    with pytest.raises(TooLarge):
        await acks[0]
    assert [(await ack).offset for ack in acks[1:]] == [0, 1]
    assert taking.numbers == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    await sender.stop()


async def test_partitions_of_a_producer_end_in_one_epoch_over_http(front: Front, topic: str) -> None:
    """One batch's fate is unknown: records of all partitions go under the next epoch from then on."""
    lost: list[bytes] = []
    headers: list[tuple[str, int, int]] = []

    async def lose(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if request.method == "POST":
            header = batch.decode_header(body)
            headers.append((request.path.split("/")[5], header.producer_epoch, header.sequence))
            if body in lost or (header.sequence == 1 and not lost):
                lost.append(body)
                return web.Response(status=503, text="upstream reset")
        return None

    async with Client(front.url) as client:
        producer = client.producer(topic, linger_ms=0)
        for partition in range(3):
            await (await producer.send(b"before", partition=partition))
        front.trouble = lose
        with pytest.raises(OutcomeUnknown), given_up_after(0.5):
            await (await producer.send(b"lost", partition=1))
        headers.clear()
        for partition in range(3):
            for _ in range(2):
                await (await producer.send(b"behind", partition=partition))
        assert headers == [(str(partition), 1, n) for partition in range(3) for n in range(2)]
        await producer.close()
        front.trouble = no_trouble
        for partition in range(3):
            records = [record.value async for record in client.read(topic, partition)]
            assert records == [b"before", b"behind", b"behind"]
