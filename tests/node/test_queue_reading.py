"""A queue with so much in it that a new leader reads it in pieces: one piece in a turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from floodmark.errors import NotLeaderOrFollower, ServerError, Unavailable
from floodmark.format.frame import Frame, FrameKind, crc_of

from consensus.core.keyed_state import command
from consensus.host.group_host import GroupHost
from node import outcomes
from node.coordinator import keys, values
from node.coordinator.delivery.queue_leads import QueueLeads
from node.coordinator.keys import Kind
from node.coordinator.proposals import Proposals
from node.coordinator.queues.reading import Reading
from node.coordinator.queues.requests import QueueConfig
from node.coordinator.queues.times import left_value, times_value
from node.coordinator.queues.values import QueueValue
from node.coordinator.tally import CoordinatorTally
from tests.node.test_queue_leads import TOPIC, Shard, soon, turns

PAIRS = 1_000
EACH = 20
LARGE = ("a", "b")


class Pieces:
    """In which turns of the event loop pieces were read. Turns are counted as long as it is used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of_turn: Counter[int] = Counter()
        self.turn = 0
        go_on = Reading.go_on

        def counted(reading: Reading, *, clock_s: float) -> bool:
            self.of_turn[self.turn] += 1
            return go_on(reading, clock_s=clock_s)

        monkeypatch.setattr(Reading, "go_on", counted)

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        async def count() -> None:
            while True:
                await asyncio.sleep(0)
                self.turn += 1

        task = asyncio.create_task(count())
        yield
        task.cancel()


def stored(shard: Shard, name: str, count: int) -> None:
    """A queue with so many pairs of delayed records, of which some were delivered."""
    config = QueueConfig(topic="t", topic_id=TOPIC)
    pairs = [(keys.queue_key(name), values.encode(QueueValue(number=1, config=config, created_ms=1)))]
    for first in range(0, count * EACH, EACH):
        times = times_value([(first + n, 0, 1 << 50) for n in range(EACH)])
        at = (TOPIC, 0)
        # Its rest is met before it in the state.
        pairs += [
            (keys.numbered_key(Kind.LEFT, name, at, first), values.encode(left_value(0b111))),
            (keys.numbered_key(Kind.TIMES, name, at, first), values.encode(times)),
        ]
    log = shard.log
    log.index += 1
    data = command(pairs)
    log.machine.apply(Frame(log.index, 1, 0, 0, 0, FrameKind.COMMAND, data, crc_of(data)))


def new_leader(shard: Shard) -> QueueLeads:
    proposals = Proposals(host=cast(GroupHost, shard.log), raft_group=1, tally=CoordinatorTally())
    return QueueLeads(proposals, shard.log.machine, shard.around)


async def test_one_piece_of_all_is_read_in_a_turn_and_requests_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks within the turn, or has no time, is told to come again; a small queue is there at once."""
    shard = Shard()
    for name in LARGE:
        stored(shard, name, PAIRS)
    stored(shard, "small", 1)
    pieces = Pieces(monkeypatch)
    leads = new_leader(shard)
    async with pieces.counting():
        asking = [asyncio.create_task(leads.opened(name, soon())) for name in LARGE * 3]
        await turns()
        for name in LARGE:
            with pytest.raises(Unavailable, match="still reads"):
                leads.of(name)
            with pytest.raises(Unavailable, match="still reads"):
                await leads.opened(name, soon(-1))
        assert leads.of("small").view.delayed == 3
        found = await asyncio.gather(*asking)
    assert [lead.view.delayed for lead in found] == [3 * PAIRS] * 6
    assert len({id(lead) for lead in found}) == 2
    assert all(leads.of(name) is lead for name, lead in zip(LARGE, found, strict=False))
    # 2,000 of some 33 for each pair and what is left of it. Two begin in one turn; the small one takes one.
    assert sum(pieces.of_turn.values()) == pytest.approx(2 * PAIRS * 33 / 2_000, abs=6)
    assert sum(count - 1 for count in pieces.of_turn.values()) <= 2
    leads.end(outcomes.not_leader("n2"))
    shard.end()


async def test_whoever_waits_for_a_queue_is_told_when_the_lead_ends() -> None:
    shard = Shard()
    stored(shard, "a", PAIRS)
    leads = new_leader(shard)
    asking = asyncio.create_task(leads.opened("a", soon()))
    await turns()
    leads.end(outcomes.not_leader("n2"))
    with pytest.raises(NotLeaderOrFollower):
        await asking
    await turns()
    assert not shard.around.reading.locked(), "nothing more of it is read"
    shard.end()


async def test_a_large_queue_that_cannot_be_read_holds_up_no_other() -> None:
    shard = Shard()
    for name in LARGE:
        stored(shard, name, PAIRS)
    key = keys.numbered_key(Kind.TIMES, "a", (TOPIC, 0), 1 << 40)
    data = command([(key, b"damaged")])
    shard.log.machine.apply(Frame(100, 1, 0, 0, 0, FrameKind.COMMAND, data, crc_of(data)))
    leads = new_leader(shard)
    asking = [asyncio.create_task(leads.opened(name, soon())) for name in LARGE]
    with pytest.raises(ServerError, match="cannot be read"):
        await asking[0]
    assert (await asking[1]).view.delayed == 3 * PAIRS
    leads.end(outcomes.not_leader("n2"))
    shard.end()
