"""Queues at their leader over a log that a test lets go on: what is answered when, and what is begun anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import pytest
from floodmark.errors import NotLeaderOrFollower, OffsetBelowStart, OutcomeUnknown, Unavailable, UnknownQueue
from floodmark.format.record import Record

from consensus.host.group_host import GroupHost
from consensus.types import NotStored
from node import outcomes, pace
from node.coordinator.delivery import describing, dispatch, replaying
from node.coordinator.delivery.around import QueuesAround
from node.coordinator.delivery.memory import Memory
from node.coordinator.delivery.ports import Chunk, DeadLetterTarget, DeadSource, Piece, TakenOver
from node.coordinator.delivery.queue_lead import QueueLead
from node.coordinator.delivery.queue_leads import QueueLeads
from node.coordinator.proposals import Proposals
from node.coordinator.queues import administration, dead_letters, description
from node.coordinator.queues.administration import Put
from node.coordinator.queues.requests import (
    Action,
    Delivered,
    Place,
    QueueConfig,
    Receive,
    Received,
    Replay,
    Settled,
    Settlement,
)
from node.coordinator.tally import CoordinatorTally
from tests.node.test_coordinator_lead import Log, turns

TOPIC = 7
QUEUE = "jobs"


class Topic:
    """Two partitions, the records of which are their offsets. Counts what is asked of it."""

    def __init__(self, count: int) -> None:
        self.counts = [count, count]
        self.reads = 0
        self.waits = 0
        self.gone: set[int] = set()
        self.starts: dict[int, int] = {}
        """Where topics begin, by their ids."""
        self.key_of: Callable[[int], bytes | None] = lambda _: None
        self.more = asyncio.Event()

    def partitions(self, topic_id: int) -> int:
        return 2 if topic_id in (TOPIC, TOPIC + 1) else 0

    async def bounds(self, topic_id: int, partition: int, *, timeout_s: float) -> tuple[int, int]:
        return 0, self.counts[partition]

    async def read(self, topic_id: int, partition: int, offset: int, *, max_bytes: int) -> Chunk:
        self.reads += 1
        if offset < (start := self.starts.get(topic_id, 0)):
            raise OffsetBelowStart(f"it begins at {start}", log_start_offset=start)
        end = min(offset + 10, self.counts[partition])
        records = [
            None if at in self.gone else Record(None, self.key_of(at), b"%d" % at)
            for at in range(offset, end)
        ]
        pieces = [Piece(offset, 5, 0, records)] if records else []
        return Chunk(pieces, max(end, offset), 0, self.counts[partition])

    async def wait(self, topic_id: int, offsets: Mapping[int, int], *, wait_s: float) -> Collection[int]:
        self.waits += 1
        await self.more.wait()
        return [number for number, offset in offsets.items() if offset < self.counts[number]]


class Letters:
    """A dead letter topic of one partition. Notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stored: list[Record] = []
        self.before: Piece | None = None
        """What an earlier leader has stored last, as number 0."""

    async def take_over(self, topic_id: int, source: DeadSource) -> TakenOver:
        self.asked.append("take over")
        number = 0 if self.before is None else 1
        return TakenOver(partition=0, epoch=1, number=number, found_in=0)

    def record_bytes_max(self, topic_id: int) -> int:
        return 1 << 20

    async def store(
        self,
        topic_id: int,
        partition: int,
        source: DeadSource,
        records: Sequence[Record],
        *,
        epoch: int,
        sequence: int,
        number: int,
    ) -> int:
        self.asked.append("store")
        self.stored += records
        return len(self.stored) - len(records)

    async def last_stored(
        self, topic_id: int, partition: int, source: DeadSource, number: int
    ) -> Piece | None:
        return self.before

    async def forget(self, topic_id: int, queue_number: int) -> None:
        self.asked.append(f"forget in {topic_id}")


class Shard:
    """One queue at its leader."""

    def __init__(self, count: int = 100, letters: Letters | None = None) -> None:
        self.log = Log()
        self.topic = Topic(count)
        self.around = QueuesAround(lambda: 1_000)
        self.around.records = self.topic
        self.around.letters = letters or cast(DeadLetterTarget, None)
        self.tally = CoordinatorTally()
        self.proposals = Proposals(host=cast(GroupHost, self.log), raft_group=1, tally=self.tally)
        self.leads = QueueLeads(self.proposals, self.log.machine, self.around)

    @property
    def lead(self) -> QueueLead:
        return self.leads.of(QUEUE)

    async def made(self, **config: Any) -> Shard:
        self.log.at_once = True
        request = Put(QueueConfig(topic="t", topic_id=TOPIC, **config), 9, {})
        await self.lead.decide(lambda view: administration.put(view, request, now_ms=1), deadline=soon())
        self.log.at_once = False
        return self

    def receive(self, count: int, *, worker: str = "w", wait_s: float = 5) -> asyncio.Task[Received]:
        request = Receive(worker=worker, max_records=count, wait_s=wait_s)
        return asyncio.create_task(self.lead.receive(request, deadline=soon()))

    async def received(self, count: int, **how: Any) -> Sequence[Delivered]:
        receiving = self.receive(count, **how)
        await self.until(lambda: bool(self.log.frames))
        self.log.go_on()
        return (await receiving).records

    def settle(self, records: Sequence[Delivered], action: Action) -> asyncio.Task[Sequence[Settled]]:
        said = [Settlement(place=each.place, lease=each.lease, action=action) for each in records]
        return asyncio.create_task(self.lead.settle(said, deadline=soon()))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():  # noqa: ASYNC110 - no one event covers all of these
                await asyncio.sleep(0)

    def end(self) -> None:
        error = outcomes.not_leader("n2")
        self.leads.end(error)
        self.proposals.end(error)


def soon(seconds: float = 10.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def offsets(records: Sequence[Delivered]) -> list[int]:
    return [record.place.offset for record in records]


async def test_nothing_is_answered_before_what_it_was_decided_on_is_stored() -> None:
    """Steps go on meanwhile: a hundred of one queue are under way in one frame."""
    shard = await Shard().made()
    first = await shard.received(2)
    assert offsets(first) == [0, 1]
    acks = shard.settle(first, Action.ACK)
    twice = shard.settle(first, Action.ACK)
    late = shard.settle(first, Action.NACK)
    others = [shard.receive(1, worker=f"w{n}") for n in range(20)]
    await turns(20)
    assert len(shard.log.frames) == 1
    assert not any(task.done() for task in (acks, twice, late, *others))
    confirmed = shard.log.confirmed
    shard.log.go_on()
    assert await acks == [Settled.DONE] * 2
    assert (await twice, await late) == ([Settled.ALREADY] * 2, [Settled.LATE] * 2)
    assert shard.log.confirmed == confirmed + 2, "nothing was stored for them: a majority says who leads"
    got = [(record.place.partition, *offsets([record])) for task in others for record in (await task).records]
    assert len(set(got)) == 20
    shard.end()


async def test_what_is_not_stored_is_begun_anew_from_what_is() -> None:
    """The receiver is told that nothing was done, and gets the same records the next time."""
    shard = await Shard().made()
    waiting = shard.receive(1, worker="other", wait_s=5)
    receiving = shard.receive(3)
    await shard.until(lambda: bool(shard.log.frames))
    frames, shard.log.frames = shard.log.frames, []
    acking = shard.settle([], Action.ACK)
    for _, proposal in frames:
        proposal.resolve(NotStored("another one leads"))
    for task in (waiting, receiving, acking):
        with pytest.raises(Unavailable):
            await task
    again = await shard.received(3)
    assert offsets(again) == [0, 1, 2]
    assert {record.deliveries for record in again} == {1}
    shard.end()


async def test_while_something_may_still_be_stored_nothing_is_begun_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A frame that failed and one behind it that is under way: only then it is known what is there."""
    monkeypatch.setattr(pace, "WAIT_S_MAX", 0)
    shard = await Shard().made()
    one = shard.receive(1)
    await shard.until(lambda: len(shard.log.frames) == 1)
    two = shard.receive(1)
    await shard.until(lambda: len(shard.log.frames) == 2)
    (_, failed), (stored_payload, stored) = shard.log.frames
    shard.log.frames = []
    failed.resolve(NotStored("refused"))
    with pytest.raises(Unavailable):
        await one
    with pytest.raises(Unavailable, match="begins again"):
        shard.lead.check()
    shard.log.frames = [(stored_payload, stored)]
    shard.log.go_on()
    await asyncio.gather(two, return_exceptions=True)
    await turns()
    assert shard.lead.view.in_flight == 1, "the second one is leased, whoever was told"
    shard.end()


async def test_a_dead_letter_is_sent_once_it_is_stored_that_its_record_died() -> None:
    """Else another leader could deliver that record again, and it would be in both places."""
    letters = Letters()
    shard = await Shard(letters=letters).made(dead_letter_topic="d", dead_letter_topic_id=TOPIC + 1)
    records = await shard.received(1)
    rejecting = shard.settle(records, Action.REJECT)
    await shard.until(lambda: bool(shard.log.frames))
    await turns(20)
    assert letters.asked == []
    shard.log.go_on()
    assert await rejecting == [Settled.DONE]
    await shard.until(lambda: bool(shard.log.frames))
    assert letters.asked == ["take over", "store"]
    assert [record.value for record in letters.stored] == [records[0].value]
    shard.log.go_on()
    shard.end()


async def test_a_letter_without_a_header_that_is_stored_already_is_known_by_its_position() -> None:
    """It was too large for any, so it is alone in its batch."""
    letters = Letters()
    letters.before = Piece(41, 5, 0, [Record(None, None, b"0")])
    shard = await Shard(letters=letters).made(dead_letter_topic="d", dead_letter_topic_id=TOPIC + 1)
    (record,) = await shard.received(1)
    shard.log.at_once = True
    assert await shard.settle([record], Action.REJECT) == [Settled.DONE]
    await shard.until(lambda: bool(shard.lead.view.dead))
    (letter,) = dead_letters.listed(shard.lead.view, after=None, limit=10)
    assert letter.at == Place(TOPIC + 1, 0, 41)
    assert letters.stored == []
    shard.end()


async def test_a_queue_that_is_deleted_is_forgotten_wherever_its_letters_are() -> None:
    """Also in a topic that took them before it had another one."""
    letters = Letters()
    shard = await Shard(letters=letters).made(dead_letter_topic="d", dead_letter_topic_id=TOPIC + 1)
    (record,) = await shard.received(1)
    shard.log.at_once = True
    await shard.settle([record], Action.REJECT)
    await shard.until(lambda: bool(shard.lead.view.dead))
    await shard.made(dead_letter_topic="other", dead_letter_topic_id=TOPIC + 2)
    shard.log.at_once = True
    await shard.leads.delete(QUEUE, deadline=soon())
    await turns()
    assert sorted(letters.asked[2:]) == [f"forget in {TOPIC + more}" for more in (1, 2)]
    shard.end()


async def test_whoever_waits_is_told_when_the_lead_ends() -> None:
    shard = await Shard(count=0).made()
    waiting = shard.receive(1)
    await shard.until(lambda: shard.lead.dispatch.waiting == 1)
    shard.end()
    with pytest.raises(NotLeaderOrFollower):
        await waiting
    with pytest.raises(Unavailable):
        shard.leads.of(QUEUE)


async def test_a_lease_that_is_under_way_when_the_lead_ends_is_unknown() -> None:
    shard = await Shard().made()
    receiving = shard.receive(1)
    await shard.until(lambda: bool(shard.log.frames))
    shard.end()
    with pytest.raises(OutcomeUnknown):
        await receiving


async def test_what_fails_once_a_part_is_stored_does_not_say_that_nothing_was() -> None:
    """An acknowledgement is stored, and then nobody confirms that the other delivery is over. Where
    nothing was stored, that is what is said."""
    shard = await Shard(count=2).made()
    first, second = (await shard.received(1))[0], (await shard.received(1))[0]
    done = shard.settle([second], Action.ACK)
    await shard.until(lambda: bool(shard.log.frames))
    shard.log.go_on()
    assert await done == [Settled.DONE]

    async def lead_ends() -> None:
        shard.log.leads = False

    shard.log.while_confirming = lead_ends
    with pytest.raises(NotLeaderOrFollower):
        await shard.settle([second], Action.NACK)
    shard.log.leads = True
    mixed = [
        Settlement(place=each.place, lease=each.lease, action=action)
        for each, action in ((first, Action.ACK), (second, Action.NACK))
    ]
    settling = asyncio.create_task(shard.lead.settle(mixed, deadline=soon()))
    await shard.until(lambda: bool(shard.log.frames))
    shard.log.go_on()
    with pytest.raises(OutcomeUnknown, match="a part of it may be"):
        await settling
    shard.end()


async def test_a_worker_whose_acknowledgement_is_stored_waits_when_the_lead_ends() -> None:
    """It is not told that nothing was stored."""
    shard = await Shard(count=1).made()
    shard.topic.counts = [1, 0]
    (record,) = await shard.received(1)
    said = [Settlement(place=record.place, lease=record.lease, action=Action.ACK)]
    request = Receive(worker="w", max_records=1, wait_s=5, settle=said)
    receiving = asyncio.create_task(shard.lead.receive(request, deadline=soon()))
    await shard.until(lambda: bool(shard.log.frames))
    shard.log.go_on()
    await shard.until(lambda: shard.lead.dispatch.waiting == 1)
    shard.end()
    with pytest.raises(OutcomeUnknown):
        await receiving


async def test_a_receiver_that_leaves_leases_nothing() -> None:
    shard = await Shard(count=0).made()
    leaving, staying = shard.receive(5), shard.receive(5)
    await shard.until(lambda: shard.lead.dispatch.waiting == 2)
    leaving.cancel()
    await turns()
    shard.topic.counts = [3, 0]
    shard.topic.more.set()
    await shard.until(lambda: bool(shard.log.frames))
    shard.log.go_on()
    assert offsets((await staying).records) == [0, 1, 2]
    shard.end()


async def test_a_worker_that_has_enough_does_not_keep_others_waiting() -> None:
    shard = await Shard().made(max_in_flight_per_worker=2)
    assert len(await shard.received(5, worker="w")) == 2
    more, other = shard.receive(5, worker="w", wait_s=0.2), shard.receive(1, worker="v")
    await shard.until(lambda: bool(shard.log.frames))
    shard.log.go_on()
    assert len((await other).records) == 1
    assert (await more).paused == "in_flight_full"
    shard.end()


async def test_a_full_window_opens_when_records_are_settled() -> None:
    shard = Shard()
    shard.around.memory = Memory(limit=1)  # Nothing more is read before that is taken.
    await shard.made(window=10)
    first = [*await shard.received(10), *await shard.received(10)]
    assert len(first) == 20, "all that was read of both partitions"
    assert (await shard.receive(10, wait_s=0.01)).paused == "window_full"
    assert describing.health(shard.lead) == ["window_full"]
    waiting = shard.receive(10)
    await turns(20)
    assert not waiting.done()
    acking = shard.settle(first, Action.ACK)
    await shard.until(lambda: bool(shard.log.frames))
    shard.log.at_once = True
    shard.log.go_on()
    assert await acking == [Settled.DONE] * 20
    assert (await waiting).records
    shard.end()


async def test_what_compaction_removed_is_not_waited_for() -> None:
    """Before it was read, and after it was delivered and failed."""
    shard = await Shard(count=3).made(backoff_ms=(0,))
    shard.topic.gone = {1}
    shard.log.at_once = True
    got: list[Delivered] = []
    while len(got) < 4:
        got += (await shard.receive(10)).records
    assert sorted(offsets(got)) == [0, 0, 2, 2]
    shard.topic.gone = {1, 2}
    await shard.settle(got, Action.NACK)
    again = [*(await shard.receive(1)).records, *(await shard.receive(1)).records]
    assert sorted(offsets(again)) == [0, 0]
    await shard.settle(again, Action.ACK)
    assert not (await shard.receive(1, wait_s=0.05)).records
    await shard.until(lambda: shard.lead.view.counts[2] == 0)  # Nothing waits.
    shard.end()


async def test_a_dying_record_that_is_gone_stands_aside_for_those_behind_it() -> None:
    """It is lost in its turn, and each of the others is sent once."""
    letters = Letters()
    shard = await Shard(letters=letters).made(dead_letter_topic="d", dead_letter_topic_id=TOPIC + 1)
    shard.log.at_once = True
    records = (await shard.receive(3)).records
    shard.topic.gone = {records[1].place.offset}
    assert await shard.settle(records, Action.REJECT) == [Settled.DONE] * 3
    await shard.until(lambda: len(shard.lead.view.dead) == 2)
    assert letters.asked == ["take over", "store", "store"]
    assert [record.value for record in letters.stored] == [records[0].value, records[2].value]
    info = description.info(shard.lead.view, ends={}, oldest_ms=None)
    assert (info.dying, info.lost) == (0, 1)
    shard.end()


async def test_letters_that_retention_took_are_lost_whenever_they_are_to_be_delivered_again() -> None:
    """Each is counted, also where it was known before that the topic begins behind it."""
    shard = await Shard(letters=Letters()).made(dead_letter_topic="d", dead_letter_topic_id=TOPIC + 1)
    shard.log.at_once = True
    await shard.settle((await shard.receive(2)).records, Action.REJECT)
    await shard.until(lambda: len(shard.lead.view.dead) == 2)
    shard.topic.starts[TOPIC + 1] = 5
    for name in sorted(shard.lead.view.dead, reverse=True):
        assert await replaying.replay(shard.lead, Replay(letters=[name]), deadline=soon()) == 1
        await shard.receive(1)
        await shard.until(lambda name=name: name not in shard.lead.view.dead)  # type: ignore[misc]
    info = description.info(shard.lead.view, ends={}, oldest_ms=None)
    assert (info.dead, info.lost) == (0, 2)
    shard.end()


async def test_a_queue_that_nobody_asks_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read ahead is given back, and nothing is read or watched."""
    shard = await Shard(count=3).made()
    shard.log.at_once = True
    records = [*(await shard.receive(1)).records]
    assert shard.around.memory.used > 0, "for whoever asks next, for a while"
    monkeypatch.setattr("node.coordinator.delivery.read_ahead.LINGER_S", 0.05)
    records += (await shard.receive(1)).records
    await shard.settle(records, Action.ACK)
    await shard.until(lambda: not shard.lead.dispatch.is_used)
    reads = shard.topic.reads
    assert shard.around.memory.used == 0
    assert shard.lead.is_idle
    await asyncio.sleep(0.1)
    assert shard.topic.reads == reads
    while len(records) < 6:
        records += (await shard.receive(1)).records
    assert len({record.place for record in records}) == 6, "it is read again, and goes on where it was"
    shard.end()


async def test_it_is_looked_past_many_records_of_one_key_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also for one who does not want to wait; others have their turns meanwhile."""
    shard = Shard(count=2_000)
    shard.topic.key_of = lambda offset: b"other" if offset == 1_900 else b"key"
    await shard.made(ordering="key")
    shard.log.at_once = True
    held = (*(await shard.receive(1)).records, *(await shard.receive(1)).records)
    assert [(each.place.partition, each.place.offset) for each in held] == [(0, 0), (1, 0)]
    await shard.until(lambda: shard.topic.reads >= 400)
    await turns(10)  # All of it was read ahead.
    monkeypatch.setattr(dispatch, "LOOK_S", 10.0)
    frames = shard.tally.frames
    (other,) = (await shard.receive(1, wait_s=0)).records
    assert other.place.offset == 1_900
    assert shard.tally.frames - frames > 5
    shard.end()


async def test_a_full_memory_leaves_each_queue_a_chunk() -> None:
    shard = Shard(count=1_000)
    memory = shard.around.memory = Memory(limit=1)
    await shard.made()
    shard.log.at_once = True
    got = 0
    while got < 200:
        records = (await shard.receive(50)).records
        got += len(records)
        await shard.settle(records, Action.ACK)
        assert memory.used < 3 * 10 * 300, "a chunk of each partition at the most"
    shard.end()


async def test_a_deletion_is_gone_on_with_by_the_next_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(administration, "PAIRS_PER_STEP", 1)
    shard = await Shard().made()
    for _ in range(3):
        await shard.received(1)
    deleting = asyncio.create_task(shard.leads.delete(QUEUE, deadline=soon()))
    await shard.until(lambda: bool(shard.log.frames))
    shard.log.go_on()
    await turns(10)
    shard.end()
    with pytest.raises(OutcomeUnknown):
        await deleting
    shard.log.frames.clear()
    assert shard.log.machine.queue_names() == [QUEUE]

    shard.log.at_once = True
    later = QueueLeads(
        Proposals(host=cast(GroupHost, shard.log), raft_group=1, tally=CoordinatorTally()),
        shard.log.machine,
        shard.around,
    )
    await shard.until(lambda: not shard.log.machine.queue_names())
    with pytest.raises(UnknownQueue):
        later.of(QUEUE).check_exists()
    later.end(outcomes.not_leader(None))
