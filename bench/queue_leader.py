"""What a queue costs its leader: ``python -m bench.queue_leader [--records 60000] [--profile ROW]``.

The leader of a shard alone in this process, with what it really does for a queue, over a log that stores what
was proposed two milliseconds later, and a topic of batches that are decoded as they are read. Workers receive
and acknowledge, each in one request, without HTTP. Processor time of this process by record, and what was
written; the other replicas, the doors and the disk are not in it.

Then what a new leader does with a million delayed records before it serves their queue: processor time, and
the longest turn of the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from floodmark.format.batch import decode, encode
from floodmark.format.frame import Frame, FrameKind, crc_of
from floodmark.format.record import Record

from bench.payload import payload
from bench.queues.work import BATCHES, KEYS, LIST, RECORD_BYTES, WORKERS
from consensus.core.keyed_state import command
from consensus.host.group_host import GroupHost
from consensus.types import Proposal, Stored
from node.coordinator import keys, values
from node.coordinator.delivery.around import QueuesAround
from node.coordinator.delivery.ports import Chunk, DeadLetterTarget, Piece
from node.coordinator.delivery.queue_lead import QueueLead
from node.coordinator.delivery.queue_leads import QueueLeads
from node.coordinator.keys import Kind
from node.coordinator.machine import CoordinatorMachine
from node.coordinator.proposals import Proposals
from node.coordinator.queues import administration
from node.coordinator.queues.administration import Put
from node.coordinator.queues.requests import BY_KEY, NO_ORDER, Action, QueueConfig, Receive, Settlement
from node.coordinator.queues.times import GROWS_UP_TO, times_value
from node.coordinator.tally import CoordinatorTally

TOPIC: Final = 7
QUEUE: Final = "jobs"
PARTITIONS: Final = 3
STORED_S: Final = 0.002
RECORDS: Final = 60_000


class Log:
    """Stores all that was proposed within a while, one after the other."""

    def __init__(self) -> None:
        self.machine = CoordinatorMachine()
        self.entries = 0
        self.bytes = 0
        self.pairs = 0
        self._index = 1
        self._waiting: list[tuple[bytes, Proposal]] = []

    def propose_nowait(self, _group: int, _kind: FrameKind, payload: bytes) -> Proposal:
        """See ``GroupHost``."""
        proposal = Proposal()
        if not self._waiting:
            asyncio.get_running_loop().call_later(STORED_S, self._store)
        self._waiting.append((payload, proposal))
        return proposal

    async def confirm_lead(self, _group: int, *, deadline_s: float) -> None:
        """See ``GroupHost``."""

    def take(self, pairs: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Have these stored at once."""
        self._apply(command(pairs))

    def _store(self) -> None:
        waiting, self._waiting = self._waiting, []
        for data, proposal in waiting:
            self.entries += 1
            self.bytes += len(data)
            self._apply(data)
            proposal.resolve(Stored(self._index, 1, 0))

    def _apply(self, data: bytes) -> None:
        self._index += 1
        self.machine.apply(Frame(self._index, 1, 0, 0, 0, FrameKind.COMMAND, data, crc_of(data)))


class Topic:
    """Batches of a thousand, decoded as they are read."""

    def __init__(self, count: int) -> None:
        self._count = count // PARTITIONS // LIST * LIST
        self.total = self._count * PARTITIONS
        records = [Record(1, b"%d" % (n % KEYS), payload(RECORD_BYTES)) for n in range(LIST)]
        self._batch = encode(records, format=2)
        self.decoded = 0

    def partitions(self, topic_id: int) -> int:
        """See ``RecordSource``."""
        return PARTITIONS if topic_id == TOPIC else 0

    async def bounds(self, topic_id: int, partition: int, *, timeout_s: float) -> tuple[int, int]:  # noqa: ARG002
        """See ``RecordSource``."""
        return 0, self._count

    async def read(self, topic_id: int, partition: int, offset: int, *, max_bytes: int) -> Chunk:  # noqa: ARG002
        """See ``RecordSource``."""
        await asyncio.sleep(STORED_S)
        pieces: list[Piece] = []
        at = offset
        while at < self._count and (not pieces or (at - offset) * RECORD_BYTES < max_bytes):
            first = at - at % LIST
            self.decoded += 1
            records = decode(self._batch)
            pieces.append(Piece(at, 1, 0, records[at - first :]))
            at = first + LIST
        return Chunk(pieces, max(at, offset), 0, self._count)

    async def wait(self, topic_id: int, offsets: Mapping[int, int], *, wait_s: float) -> Collection[int]:  # noqa: ARG002
        """See ``RecordSource``."""
        await asyncio.sleep(wait_s)
        return ()


class Leader:
    """A queue at its leader."""

    def __init__(self, count: int) -> None:
        self.log = Log()
        self.topic = Topic(count)
        self.around = QueuesAround(lambda: time.time_ns() // 1_000_000)
        self.around.records = self.topic
        self.around.letters = cast(DeadLetterTarget, None)
        self.proposals = Proposals(host=cast(GroupHost, self.log), raft_group=1, tally=CoordinatorTally())
        self._leads = QueueLeads(self.proposals, self.log.machine, self.around)

    @property
    def lead(self) -> QueueLead:
        """Of the queue."""
        return self._leads.of(QUEUE)

    async def make(self, *, by_key: bool) -> None:
        """The queue."""
        config = QueueConfig(topic="t", topic_id=TOPIC, ordering=BY_KEY if by_key else NO_ORDER)
        request = Put(config, 9, {})
        await self.lead.decide(lambda view: administration.put(view, request, now_ms=1), deadline=_soon())


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    batch: int
    workers: int
    by_key: bool

    @property
    def name(self) -> str:
        """As in ``bench.queues``."""
        return f"{self.batch}x{self.workers}{'k' if self.by_key else ''}"


@dataclass(frozen=True, slots=True)
class Cost:
    """By record, but for ``entries``: by turn."""

    cpu_us: float
    entries: float
    written: float
    decoded: float


async def measured(row: Row, count: int, profile: cProfile.Profile | None = None) -> Cost:
    """Until all records are done with."""
    leader = Leader(count)
    await leader.make(by_key=row.by_key)
    done = turns = 0

    async def work(number: int) -> None:
        nonlocal done, turns
        settle: Sequence[Settlement] = ()
        while done < leader.topic.total:
            request = Receive(worker=f"w{number}", max_records=row.batch, wait_s=0.05, settle=settle)
            received = await leader.lead.receive(request, deadline=_soon())
            done += len(settle)
            turns += 1
            settle = [Settlement(place=r.place, lease=r.lease, action=Action.ACK) for r in received.records]

    gc.collect()
    gc.freeze()
    begin = time.process_time()
    if profile is not None:
        profile.enable()
    await asyncio.gather(*(work(number) for number in range(row.workers)))
    if profile is not None:
        profile.disable()
    took = time.process_time() - begin
    gc.unfreeze()
    log = leader.log
    return Cost(took / done * 1e6, log.entries / turns, log.bytes / done, leader.topic.decoded * LIST / done)


async def read(count: int) -> str:
    """A queue with so many delayed records, as they come from a producer of single ones."""
    leader = Leader(0)
    await leader.make(by_key=True)
    pairs = []
    for first in range(0, count, GROWS_UP_TO):
        some = [(first + n, first + n + 1, 1 << 50) for n in range(min(GROWS_UP_TO, count - first))]
        key = keys.numbered_key(Kind.TIMES, QUEUE, (TOPIC, 0), first)
        pairs.append((key, values.encode(times_value(some))))
        if len(pairs) == LIST:
            leader.log.take(pairs)
            pairs.clear()
    leader.log.take(pairs)
    around, machine = leader.around, leader.log.machine
    leads = QueueLeads(leader.proposals, machine, around)
    turns: list[float] = []

    async def watch() -> None:
        before = time.process_time()
        while True:
            await asyncio.sleep(0)
            now = time.process_time()
            turns.append(now - before)
            before = now

    watching = asyncio.create_task(watch())
    begin = time.process_time()
    lead = await leads.opened(QUEUE, _soon())
    took = time.process_time() - begin
    watching.cancel()
    assert lead.view.delayed == count
    return (
        f"{count:,} delayed records read in {took * 1e3:.0f} ms of processor time, {len(turns)} turns; "
        f"the longest one {max(turns) * 1e3:.1f} ms"
    )


def _soon() -> float:
    return asyncio.get_running_loop().time() + 30


def main() -> None:
    """All rows, or one with its profile."""
    parser = argparse.ArgumentParser(prog="python -m bench.queue_leader", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--rounds", type=int, default=3, help="the one of the least processor time is told")
    parser.add_argument("--delayed", type=int, default=1_000_000, help="0: none")
    parser.add_argument("--profile", metavar="ROW", help="of one row alone, as 100x64k")
    parser.add_argument("--only", metavar="ROWS", default="", help="as 100x64k,1x16")
    arguments = parser.parse_args()
    rows = [
        Row(batch, workers, by_key) for batch in BATCHES for workers in WORKERS for by_key in (False, True)
    ]
    if arguments.profile:
        row = next(each for each in rows if each.name == arguments.profile)
        profile = cProfile.Profile()
        asyncio.run(measured(row, _count(row, arguments.records), profile))
        stats = pstats.Stats(profile)
        stats.sort_stats("tottime").print_stats(45)
        return
    only = [each for each in arguments.only.split(",") if each]
    for row in rows:
        if only and row.name not in only:
            continue
        costs = [asyncio.run(measured(row, _count(row, arguments.records))) for _ in range(arguments.rounds)]
        best = min(costs, key=lambda cost: cost.cpu_us)
        print(
            f"{row.name:<8} {best.cpu_us:8.1f} us  {best.entries:6.3f} entries/turn  "
            f"{best.written:7.1f} bytes  {best.decoded:5.2f} decoded",
            flush=True,
        )
    if arguments.delayed:
        print(asyncio.run(read(arguments.delayed)))


def _count(row: Row, records: int) -> int:
    return records if row.batch > 1 else records // 5


if __name__ == "__main__":
    main()
