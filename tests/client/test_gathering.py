"""When a batch that is not full leaves: without lingering with the answer to the one before it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest
from floodmark.errors import TooLarge, TransportError, Unavailable
from floodmark.format import batch
from floodmark.format.batch import ProducerKind
from floodmark.format.record import Record
from floodmark.producer import record_accumulator
from floodmark.producer.numbering import Epoch, Numbering
from floodmark.producer.partition_sender import PartitionSender
from floodmark.producer.produced import Ack
from floodmark.producer.producer_batch import ProducerBatch
from floodmark.producer.sender_options import SenderHost, SenderOptions
from floodmark.transport import pacing

BATCH_BYTES = 400
RECORD_BYTES = 40


class Partition:
    """Takes batches in, and answers each when the test says how."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self._answers: list[asyncio.Future[int]] = []
        self._arrived = asyncio.Condition()

    async def send(self, producer_batch: ProducerBatch) -> int:
        """One attempt, held until ``store`` or ``refuse``."""
        self.batches.append([int(record.value) for record in batch.decode(producer_batch.data)])
        self._answers.append(asyncio.get_running_loop().create_future())
        answer = self._answers[-1]
        async with self._arrived:
            self._arrived.notify_all()
        return await answer

    async def arrived(self, count: int) -> list[list[int]]:
        """The batches, once there are so many."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.batches) >= count)
        return self.batches

    def store(self, number: int) -> None:
        """This batch is stored, at some offset."""
        self._answers[number].set_result(100 * number)

    def refuse(self, number: int, error: Exception) -> None:
        """This batch is not stored."""
        self._answers[number].set_exception(error)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch waits for the answer to another one for as long as it takes."""
    monkeypatch.setattr(record_accumulator, "_ANSWER_S_MAX", 3600.0)


def sender_to(partition: Partition, linger_s: float = 0.0) -> PartitionSender:
    """A sender whose batches are full with ten records."""
    options = SenderOptions(linger_s=linger_s, batch_bytes=BATCH_BYTES, in_flight_max=4)
    numbering = Numbering(Epoch(batch.producer_id_of("p"), 0, ProducerKind.NAMED))
    return PartitionSender(0, options, numbering, SenderHost(partition.send, lambda _: None, lambda: False))


def sending_to(sender: PartitionSender) -> Callable[[int], list[Ack]]:
    """What sends so many records, numbered from 0 on."""
    sent = 0

    def send(count: int) -> list[Ack]:
        nonlocal sent
        numbers = range(sent, sent + count)
        sent += count
        return [Ack(*sender.accumulator.add(Record(0, None, b"%d" % each), RECORD_BYTES)) for each in numbers]

    return send


async def one_under_way(
    linger_s: float = 0.0,
) -> tuple[Partition, PartitionSender, Callable[[int], list[Ack]], list[Ack]]:
    """A sender whose first record has left alone and is not answered; what sends more, and that record's."""
    partition = Partition()
    sender = sender_to(partition, linger_s)
    send = sending_to(sender)
    acks = send(1)
    await partition.arrived(1)
    return partition, sender, send, acks


async def turns(count: int) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_records_gather_while_a_batch_is_under_way_and_leave_at_its_answer(patient: None) -> None:
    """The first record leaves at once, alone; all that come before its answer leave together after it."""
    partition, sender, send, acks = await one_under_way()
    for _ in range(5):
        acks += send(1)
        await turns(10)
    assert partition.batches == [[0]]
    partition.store(0)
    assert await partition.arrived(2) == [[0], [1, 2, 3, 4, 5]]
    partition.store(1)
    assert [(await ack).offset for ack in acks] == [0, 100, 101, 102, 103, 104]
    await sender.stop()


async def test_full_batches_leave_while_others_are_under_way(patient: None) -> None:
    """Ten records fill a batch: it does not wait for an answer, and what is left over does."""
    partition, sender, send, _ = await one_under_way()
    send(25)
    await partition.arrived(3)
    await turns(10)
    assert [len(each) for each in partition.batches] == [1, 10, 10]
    partition.store(0)
    partition.store(1)
    await turns(10)
    assert len(partition.batches) == 3
    partition.store(2)
    assert len((await partition.arrived(4))[3]) == 5
    await sender.stop()


async def test_a_batch_that_lingered_waits_for_no_answer() -> None:
    """With lingering, time decides: the second batch leaves although the first one is never answered."""
    partition, sender, send, _ = await one_under_way(linger_s=0.001)
    send(1)
    assert await partition.arrived(2) == [[0], [1]]
    await sender.stop()


async def test_a_slow_answer_is_not_waited_for_to_its_end() -> None:
    """The answer to a batch takes long, as from nodes far away: the next batch leaves before it."""
    partition, sender, send, _ = await one_under_way()
    send(2)
    assert await partition.arrived(2) == [[0], [1, 2]]
    await sender.stop()


async def test_flushing_waits_for_no_answer(patient: None) -> None:
    """What ``flush`` finds gathering leaves at once: nobody sends more."""
    partition, sender, send, _ = await one_under_way()
    send(2)
    await turns(10)
    sender.accumulator.ripen()
    assert await partition.arrived(2) == [[0], [1, 2]]
    await sender.stop()


@pytest.mark.parametrize(
    ("error", "is_repeated"),
    [
        (Unavailable("no leader"), True),
        (TransportError("the answer was lost", sent=True), True),
        (TooLarge("the topic does not want it"), False),
    ],
)
async def test_a_batch_that_fails_strands_nobody(
    error: Exception, is_repeated: bool, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a batch that fails leaves when that one was sent again and stored, or was given up."""
    monkeypatch.setattr(pacing, "_FIRST_DELAY_S", 0.0001)
    partition, sender, send, _ = await one_under_way()
    acks = send(3)
    partition.refuse(0, error)
    if is_repeated:
        assert await partition.arrived(2) == [[0], [0]]
        await turns(10)
        assert len(partition.batches) == 2
        partition.store(1)
    assert (await partition.arrived(2 + is_repeated))[-1] == [1, 2, 3]
    partition.store(1 + is_repeated)
    assert [(await ack).offset % 100 for ack in acks] == [0, 1, 2]
    await sender.stop()


async def test_callers_that_wait_for_each_other_find_together(patient: None) -> None:
    """One caller sends before the others: from the second batch on all of them share each batch."""
    partition = Partition()
    sender = sender_to(partition)
    send = sending_to(sender)

    async def call(rounds: int) -> None:
        for _ in range(rounds):
            await send(1)[0]

    async def answer() -> None:
        for number in itertools.count():
            await partition.arrived(number + 1)
            await turns(10)
            partition.store(number)

    answering = asyncio.create_task(answer())
    first = asyncio.create_task(call(6))
    await partition.arrived(1)
    await asyncio.gather(first, *(call(5) for _ in range(6)))
    answering.cancel()
    assert [len(each) for each in partition.batches] == [1, 7, 7, 7, 7, 7]
    await sender.stop()
