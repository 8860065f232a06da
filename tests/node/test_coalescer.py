"""Small produces share batches, and none of them notices."""

from __future__ import annotations

import asyncio

import pytest
from floodmark.errors import FloodmarkError, OutcomeUnknown, TooManyRequests, Unavailable
from floodmark.format import batch as codec
from floodmark.format.batch import BatchHeader
from floodmark.format.record import Record

from consensus.types import NotStored, Proposal, Stored, Unknown
from node.partition.coalescer import SHARED_BYTES_MAX, Coalescer


class Partition:
    """Takes batches in; the test decides when and how they end."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.proposals: list[Proposal] = []
        self.refuses: FloodmarkError | None = None
        self.arrived = asyncio.Event()
        self.next_offset = 100

    def append(self, batch: bytes, header: BatchHeader) -> Proposal:
        self.arrived.set()
        if self.refuses is not None:
            raise self.refuses
        self.batches.append([record.value for record in codec.decode(batch)])
        self.proposals.append(Proposal(first_offset=self.next_offset))
        self.next_offset += header.count
        return self.proposals[-1]

    def store(self, number: int) -> None:
        proposal = self.proposals[number]
        proposal.resolve(Stored(7, 1, proposal.first_offset))


def send(coalescer: Coalescer, *values: bytes, size: int = 10) -> asyncio.Future[int]:
    """One request."""
    records = [Record(1, None, value) for value in values]
    return coalescer.produce(records, size, timeout_s=5, answer=int)


async def arrival(partition: Partition) -> None:
    """The next batch."""
    await asyncio.wait_for(partition.arrived.wait(), 5)
    partition.arrived.clear()


async def test_requests_of_one_moment_share_a_batch_and_get_their_own_offsets() -> None:
    """What arrives together is one batch, in the order of arrival."""
    partition = Partition()
    coalescer = Coalescer(partition.append, lambda: 1)
    first, second, third = send(coalescer, b"a"), send(coalescer, b"b", b"c"), send(coalescer, b"d")
    await arrival(partition)
    assert partition.batches == [[b"a", b"b", b"c", b"d"]]
    partition.store(0)
    assert [await first, await second, await third] == [100, 101, 103]


async def test_what_arrives_while_a_batch_is_on_its_way_leaves_when_that_is_stored() -> None:
    """The commit of one batch sends the next, without waiting for the timer."""
    partition = Partition()
    coalescer = Coalescer(partition.append, lambda: 1)
    first = send(coalescer, b"a")
    await arrival(partition)
    second, third = send(coalescer, b"b"), send(coalescer, b"c")
    await asyncio.sleep(0)
    assert partition.batches == [[b"a"]]
    partition.store(0)
    assert await first == 100
    await arrival(partition)
    assert partition.batches == [[b"a"], [b"b", b"c"]]
    partition.store(1)
    assert [await second, await third] == [101, 102]


async def test_callers_that_come_back_are_taken_along_by_the_next_batch() -> None:
    """Those who were answered and those who waited share a batch, which leaves when all are there."""
    partition = Partition()
    coalescer = Coalescer(partition.append, lambda: 1)
    first, second = send(coalescer, b"a"), send(coalescer, b"b")
    await arrival(partition)
    waiting = send(coalescer, b"c")
    partition.store(0)
    assert [await first, await second] == [100, 101]
    assert len(partition.batches) == 1
    again = [send(coalescer, b"d"), send(coalescer, b"e")]
    await arrival(partition)
    assert partition.batches[1:] == [[b"c", b"d", b"e"]]
    partition.store(1)
    assert [await waiting, *[await each for each in again]] == [102, 103, 104]


async def test_after_waiting_in_vain_the_next_ones_leave_at_once() -> None:
    """Callers that do not come back hold others up once, and not again for a while."""
    partition = Partition()
    coalescer = Coalescer(partition.append, lambda: 1)
    requests = [send(coalescer, b"a") for _ in range(8)]
    await arrival(partition)
    requests.append(send(coalescer, b"b"))
    partition.store(0)
    await arrival(partition)  # By the timer.
    for number in range(1, 4):
        requests.append(send(coalescer, b"c"))
        partition.store(number)
        assert len(partition.batches) == number + 2, "sent without waiting for anybody"
    partition.store(4)
    assert await asyncio.gather(*requests) == list(range(100, 112))


async def test_a_request_whose_time_is_up_says_whether_it_left() -> None:
    """One that still waits is not stored and never will be; of one that left nobody knows."""
    partition = Partition()
    coalescer = Coalescer(partition.append, lambda: 1)
    records = [Record(1, None, b"x")]
    left = coalescer.produce(records, 10, timeout_s=0.001, answer=int)
    await arrival(partition)
    stays = coalescer.produce(records, 10, timeout_s=0.001, answer=int)
    with pytest.raises(OutcomeUnknown):
        await left
    with pytest.raises(Unavailable):
        await stays
    partition.store(0)
    await asyncio.sleep(0.03)
    assert partition.batches == [[b"x"]]


async def test_nobody_waits_for_long_behind_a_batch_that_is_not_stored() -> None:
    """A batch that hangs, as after a lost leadership, does not hold back the next one."""
    partition = Partition()
    coalescer = Coalescer(partition.append, lambda: 1)
    stuck = send(coalescer, b"a")
    await arrival(partition)
    later = send(coalescer, b"b")
    await arrival(partition)
    partition.store(1)
    assert await later == 101
    stuck.cancel()


async def test_a_batch_that_is_full_leaves_at_once() -> None:
    """Bytes that wait are bounded, whatever is on its way."""
    partition = Partition()
    coalescer = Coalescer(partition.append, lambda: 1)
    first = send(coalescer, b"a")
    await arrival(partition)
    second = send(coalescer, b"b", size=SHARED_BYTES_MAX)
    await asyncio.sleep(0)
    assert partition.batches == [[b"a"], [b"b"]]
    partition.store(1)
    partition.store(0)
    assert [await first, await second] == [100, 101]


async def test_a_refusal_reaches_everyone_who_shares_and_no_one_else() -> None:
    """Nothing of the batch is stored; the next one is a new attempt."""
    partition = Partition()
    coalescer = Coalescer(partition.append, lambda: 1)
    partition.refuses = TooManyRequests("full")
    first, second = send(coalescer, b"a"), send(coalescer, b"b")
    for request in (first, second):
        with pytest.raises(TooManyRequests):
            await request
    partition.refuses = None
    partition.arrived.clear()
    third = send(coalescer, b"c")
    await arrival(partition)
    partition.store(0)
    assert await third == 100


@pytest.mark.parametrize(
    ("outcome", "error"), [(NotStored("x"), Unavailable), (Unknown("x"), OutcomeUnknown)]
)
async def test_an_outcome_is_that_of_all_who_share(
    outcome: NotStored | Unknown, error: type[FloodmarkError]
) -> None:
    """Not stored is not stored, unknown is unknown, for each of them."""
    partition = Partition()
    coalescer = Coalescer(partition.append, lambda: 1)
    first, second = send(coalescer, b"a"), send(coalescer, b"b")
    await arrival(partition)
    partition.proposals[0].resolve(outcome)
    for request in (first, second):
        with pytest.raises(error):
            await request
