"""The sender of a producer against a partition that loses, delays, repeats and reorders requests."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from floodmark.errors import (
    FloodmarkError,
    OutcomeUnknown,
    OutOfOrderSequence,
    ProducerFenced,
    TooLarge,
    TransportError,
)
from floodmark.format import batch
from floodmark.format.record import Record
from floodmark.producer.numbering import Epoch, Numbering
from floodmark.producer.partition_sender import PartitionSender
from floodmark.producer.produced import Ack
from floodmark.producer.producer_batch import ProducerBatch

from tests.client.partitions import (
    NAMED,
    NUMBERED,
    ROUND,
    Ledger,
    Network,
    given_up_after,
    judge,
    sender_to,
    write,
)


def sender_of(
    network: Network, *, delivery_timeout_s: float, owns_epoch: bool = True, epoch: Epoch = NAMED
) -> PartitionSender:
    """A sender that sends into the network, two to four records per batch."""
    return sender_to(
        network.send,
        numbering=Numbering(epoch, owns_epoch=owns_epoch),
        batch_bytes=100,
        in_flight_max=4,
        delivery_timeout_s=delivery_timeout_s,
    )


@pytest.mark.parametrize("epoch", [NAMED, NUMBERED], ids=["named", "numbered"])
@pytest.mark.parametrize("seed", range(25))
async def test_with_time_enough_everything_arrives_once_and_in_order(
    seed: int, epoch: Epoch, impatient: None
) -> None:
    """Whatever is lost, late or repeated: all but what is refused is acknowledged, in order, once.

    A numbered producer's sequences wrap around half way.
    """
    ledger = Ledger()
    network = Network(ledger, seed, trouble=0.3)
    sender = sender_of(network, delivery_timeout_s=60, epoch=epoch)
    if epoch is NUMBERED:
        ledger.expected = sender._sequence = ROUND - 150
    acks = await write(sender, 300, random.Random(seed))
    await asyncio.gather(*network.strays)
    await sender.stop()
    stored, unknown = judge(ledger, acks)
    assert stored + unknown >= 280
    assert stored >= 250


@pytest.mark.parametrize(
    ("epoch", "owns_epoch"),
    [(NAMED, True), (NAMED, False), (NUMBERED, True)],
    ids=["random", "named", "numbered"],
)
@pytest.mark.parametrize("seed", range(25))
async def test_when_time_runs_out_nothing_is_claimed_that_is_not_so(
    seed: int, epoch: Epoch, owns_epoch: bool, impatient: None
) -> None:
    """With deadlines too short for the trouble, what is given up is reported rightly; order is kept."""
    ledger = Ledger()
    network = Network(ledger, seed, trouble=0.7)
    sender = sender_of(network, delivery_timeout_s=0.004, owns_epoch=owns_epoch, epoch=epoch)
    if epoch is NUMBERED:
        ledger.expected = sender._sequence = ROUND - 20
    acks = await write(sender, 200, random.Random(seed))
    await asyncio.gather(*network.strays)
    await sender.stop()
    judge(ledger, acks)


async def test_a_newer_epoch_fences_the_sender_for_good(impatient: None) -> None:
    """After a ProducerFenced every record fails with it, those that wait included."""
    ledger = Ledger()
    ledger.epoch = 5
    sender = sender_of(Network(ledger, 1, trouble=0), delivery_timeout_s=60)
    acks = await write(sender, 10, random.Random(1))
    for ack in acks.values():
        assert isinstance(ack, Ack)
        with pytest.raises(ProducerFenced):
            ack.result()
    assert isinstance(sender.fatal, ProducerFenced)
    await sender.stop()


async def test_a_leader_that_lost_what_it_had_gets_the_rest_under_a_new_epoch(impatient: None) -> None:
    """Without acks="quorum" a new leader may know less; the producer goes on instead of failing for ever."""
    ledger = Ledger()
    network = Network(ledger, 1, trouble=0)
    sender = sender_of(network, delivery_timeout_s=60)
    before = await write(sender, 8, random.Random(1))
    assert judge(ledger, before)[0] == 8
    ledger.expected, ledger.values, ledger.offsets = 1, ledger.values[:2], {(0, 0): 0}
    after = await write(sender, 8, random.Random(2))
    assert all(isinstance(ack, Ack) and ack.result().offset >= 2 for ack in after.values())
    assert ledger.epoch == 1
    await sender.stop()


async def test_stopping_a_sender_settles_everything(impatient: None) -> None:
    """Batches under way end as unknown, those that never left as not stored; nobody is left waiting."""
    never, under_way = asyncio.Event(), asyncio.Semaphore(0)

    async def send(producer_batch: ProducerBatch) -> int:
        under_way.release()
        await never.wait()
        return 0

    settled: list[ProducerBatch] = []
    sender = sender_to(send, settled=settled.append, in_flight_max=2)
    acks = [Ack(*sender.accumulator.add(Record(0, None, b"12345678"), 40)) for _ in range(5)]
    await under_way.acquire()
    await under_way.acquire()
    await sender.stop()
    assert len(settled) == 5
    for ack, expected in zip(acks, [OutcomeUnknown] * 2 + [TransportError] * 3, strict=True):
        with pytest.raises(expected):
            ack.result()


async def test_a_batch_that_may_be_stored_is_not_sent_under_another_number(impatient: None) -> None:
    """A and B are late and A is given up. B's old request arrives before C: B must not come twice."""
    ledger = Ledger()
    late: list[bytes] = []

    async def send(producer_batch: ProducerBatch) -> int:
        header = batch.decode_header(producer_batch.data)
        if header.producer_epoch > 0:
            for data in late:
                with contextlib.suppress(ProducerFenced):
                    ledger.take(data)
            return ledger.take(producer_batch.data)
        if producer_batch.maybe_stored:
            raise TooLarge("the topic's limit was lowered meanwhile")
        late.append(producer_batch.data)
        raise TransportError("the request is late", sent=True)

    sender = sender_to(send, in_flight_max=2)
    acks: dict[int, Ack | FloodmarkError] = {
        number: Ack(*sender.accumulator.add(Record(0, None, b"%08d" % number), 40)) for number in range(3)
    }
    for outcome in sender.pending():
        await outcome.wait()
    await sender.stop()
    assert ledger.values == [0, 1, 2]
    assert judge(ledger, acks) == (1, 2)


@pytest.mark.parametrize("owns_epoch", [True, False])
async def test_an_old_states_refusal_after_a_lost_answer_stores_nothing_twice(
    impatient: None, owns_epoch: bool
) -> None:
    """The batch goes again under its own number until somebody answers who has it; what follows waits."""
    ledger = Ledger()
    stale = 3
    sent: list[tuple[int, int]] = []

    async def send(producer_batch: ProducerBatch) -> int:
        nonlocal stale
        header = batch.decode_header(producer_batch.data)
        sent.append((header.producer_epoch, header.sequence))
        if not producer_batch.maybe_stored or not stale:
            offset = ledger.take(producer_batch.data)
            if header.sequence == 3 and not producer_batch.maybe_stored:
                raise TransportError("the answer was lost", sent=True)
            return offset
        stale -= 1
        raise OutOfOrderSequence("skips ahead", expected_sequence=2)

    sender = sender_to(send, in_flight_max=1, owns_epoch=owns_epoch)
    acks = [Ack(*sender.accumulator.add(Record(0, None, b"%08d" % number), 40)) for number in range(8)]
    assert [(await ack).offset for ack in acks] == list(range(8))
    assert ledger.values == list(range(8))
    assert sent.count((0, 3)) == 5
    assert {epoch for epoch, _ in sent} == {0}
    await sender.stop()


async def test_a_dispute_without_end_ends_as_unknown_and_the_rest_goes_on(impatient: None) -> None:
    """Nobody who answers knows of what was acknowledged: the batch keeps its number, and those behind it go
    under the next epoch, which shuts its request out."""
    ledger = Ledger()
    late: list[bytes] = []

    async def send(producer_batch: ProducerBatch) -> int:
        header = batch.decode_header(producer_batch.data)
        if header.sequence < 2 or header.producer_epoch:
            return ledger.take(producer_batch.data)
        if not producer_batch.maybe_stored:
            late.append(producer_batch.data)
            raise TransportError("the request is late", sent=True)
        raise OutOfOrderSequence("skips ahead", expected_sequence=1)

    sender = sender_to(send, in_flight_max=1)
    acks = [Ack(*sender.accumulator.add(Record(0, None, b"%08d" % number), 40)) for number in range(2)]
    with given_up_after(0.2):
        acks.append(Ack(*sender.accumulator.add(Record(0, None, b"%08d" % 2), 40)))
    with pytest.raises(OutcomeUnknown):
        await acks[2]
    behind = Ack(*sender.accumulator.add(Record(0, None, b"%08d" % 3), 40))
    assert (await behind).offset == 2
    with pytest.raises(ProducerFenced):
        ledger.take(late[0])
    assert ledger.values == [0, 1, 3]
    await sender.stop()


async def test_where_acknowledged_batches_may_be_lost_an_unknown_one_ends_at_once(impatient: None) -> None:
    """Without acks="quorum" the answer may be right: no number is tried again, and none is given anew."""
    ledger = Ledger()
    losses = 1

    async def send(producer_batch: ProducerBatch) -> int:
        nonlocal losses
        offset = ledger.take(producer_batch.data)
        if producer_batch.sequence == 2 and losses:
            losses = 0
            # The leader's disk is lost with it, and its successor has one batch only.
            ledger.expected, ledger.values, ledger.offsets = 1, ledger.values[:1], {(0, 0): 0}
            raise TransportError("the answer was lost", sent=True)
        return offset

    sender = sender_to(send, in_flight_max=1, is_durable=False)
    acks = [Ack(*sender.accumulator.add(Record(0, None, b"%08d" % number), 40)) for number in range(5)]
    with pytest.raises(OutcomeUnknown):
        await acks[2]
    assert [(await ack).offset for ack in acks[3:]] == [1, 2]
    assert ledger.values == [0, 3, 4]
    assert ledger.epoch == 1
    await sender.stop()


async def test_a_batch_whose_answers_are_lost_is_not_left_behind(impatient: None) -> None:
    """The first batch's answer is lost ten times: those after it wait before the leader forgets it."""
    ledger = Ledger()
    losses = 10

    async def send(producer_batch: ProducerBatch) -> int:
        nonlocal losses
        offset = ledger.take(producer_batch.data)
        if producer_batch.sequence == 0 and losses:
            losses -= 1
            raise TransportError("the answer was lost", sent=True)
        return offset

    sender = sender_to(send, in_flight_max=4)
    acks = [Ack(*sender.accumulator.add(Record(0, None, b"%08d" % number), 40)) for number in range(30)]
    assert [(await ack).offset for ack in acks] == list(range(30))
    await sender.stop()
