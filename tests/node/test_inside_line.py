"""Nodes ask each other over their links: from any node, and for as long as the answer is wanted."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from floodmark.errors import (
    InvalidBatch,
    NotLeaderOrFollower,
    OffsetPastEnd,
    OutcomeUnknown,
    TooManyRequests,
    TooNew,
    TopicDeleted,
    Unavailable,
)
from floodmark.format import batch as codec
from floodmark.format.record import Record

from node.broker import Acks
from node.http.context import CONTEXT
from node.service import cursor
from node.service.answer_budget import AnswerBudget, Hold
from node.service.inside_answers import Asked
from node.service.inside_line import InsideLine
from node.service.partition_requests import (
    AppendThere,
    FetchThere,
    ListOffsetsThere,
    TailThere,
    WaitThere,
)
from node.service.service import Service
from tests.node.test_inside_requests import Unheard
from tests.support.nodes import NodeCluster, TestNode


def _service(node: TestNode) -> Service:
    return node.running.app[CONTEXT].service


def _line(node: TestNode) -> InsideLine:
    return _service(node).inside


def _batch(count: int = 1, size: int = 10) -> bytes:
    return codec.encode([Record(1, None, bytes(size)) for _ in range(count)])


class _Watched(Hold):
    """Tells when an answer begins to come."""

    def __init__(self, budget: AnswerBudget, address: str) -> None:
        super().__init__(budget, address)
        self.begun = asyncio.Event()

    def more(self, count: int) -> None:
        super().more(count)
        self.begun.set()


async def test_the_leader_does_what_it_is_asked_and_says_why_it_does_not(tmp_path: Path) -> None:
    """From any node, the leader itself included; errors are the classes that they were there."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t")
        leader = await cluster.leader("t")
        there = leader.node_id
        topic_id = leader.broker.topic_limits("t").topic_id
        for number, node in enumerate(cluster.up):
            line = _line(node)
            append = AppendThere("t", topic_id, 0, Acks.QUORUM, None, _batch())
            assert (await line.ask(there, append, timeout_s=10)).first_offset == number
            with AnswerBudget(1 << 20).hold("x") as hold:
                fetch = FetchThere("t", topic_id, 0, "0", 1 << 20)
                found = await line.ask(there, fetch, timeout_s=10, hold=hold)
                assert (found.start, found.next_offset) == (0, number + 1)
                assert hold.held == len(found.frames)
            latest = ListOffsetsThere("t", topic_id, 0, "latest")
            assert (await line.ask(there, latest, timeout_s=10)).start == number + 1
            tail = await line.ask(there, TailThere("t", topic_id, 0), timeout_s=10)
            assert tail.high_watermark == number + 1
            with pytest.raises(OffsetPastEnd) as past:
                await line.ask(there, FetchThere("t", topic_id, 0, "99", 1), timeout_s=10)
            assert past.value.fields["high_watermark"] == number + 1
            with pytest.raises(TopicDeleted):
                await line.ask(there, ListOffsetsThere("t", topic_id - 1, 0, "latest"), timeout_s=10)
            with pytest.raises(TooNew):
                await line.ask(there, Unheard(), timeout_s=10)
        full = AnswerBudget(100)
        full.hold("x").more(100)
        fetch = FetchThere("t", topic_id, 0, "0", 1 << 20)
        for node in cluster.up:
            with pytest.raises(TooManyRequests):
                await _line(node).ask(there, fetch, timeout_s=10, hold=full.hold("y"))
        others = [node for node in cluster.up if node is not leader]
        with pytest.raises(NotLeaderOrFollower) as error:
            await _line(leader).ask(
                others[0].node_id, ListOffsetsThere("t", topic_id, 0, "latest"), timeout_s=10
            )
        assert error.value.fields["leader"] == there


async def test_a_caller_that_left_frees_what_the_leader_holds_for_it(tmp_path: Path) -> None:
    """A wait and a large answer, each given up at a follower: both are counted at the leader."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t")
        leader = await cluster.leader("t")
        follower = next(node for node in cluster.up if node is not leader)
        topic_id = leader.broker.topic_limits("t").topic_id
        line = _line(follower)
        for _ in range(4):
            append = AppendThere("t", topic_id, 0, Acks.QUORUM, None, _batch(7, 1_000_000))
            await line.ask(leader.node_id, append, timeout_s=20)
        budget = _service(leader).answers
        bulk = leader.running.host.links.bulk

        def serving() -> int:
            return sum(connection.serving for connection in bulk.of(follower.node_id))

        def sent() -> int:
            return sum(connection.bytes_sent for connection in bulk.of(follower.node_id))

        with _Watched(AnswerBudget(1 << 30), "x") as hold:
            fetch = FetchThere("t", topic_id, 0, "0", 1 << 30)
            asking = asyncio.create_task(line.ask(leader.node_id, fetch, timeout_s=20, hold=hold))
            await hold.begun.wait()
            assert budget.used > 20_000_000
            asking.cancel()
            await cluster.until(lambda: not budget.used, "the answer's memory is free")
            assert sent() < 20_000_000
        wait = WaitThere("t", topic_id, cursor.encode(topic_id, [28]))
        waiting = asyncio.create_task(line.ask(leader.node_id, wait, timeout_s=60))
        await cluster.until(lambda: serving() == 1, "the wait is at the leader")
        waiting.cancel()
        await cluster.until(lambda: serving() == 0, "it has ended there")


async def test_what_was_lost_on_its_way_is_told_from_what_may_have_been_done(tmp_path: Path) -> None:
    """An append that a stopped node had before it: its outcome is unknown; a read just failed."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t")
        leader = await cluster.leader("t")
        follower = next(node for node in cluster.up if node is not leader)
        topic_id = leader.broker.topic_limits("t").topic_id
        await _line(follower).ask(leader.node_id, ListOffsetsThere("t", topic_id, 0, "latest"), timeout_s=10)
        asked: list[Asked] = []

        async def hangs(_request: object, asked_there: Asked) -> None:
            asked.append(asked_there)
            await asyncio.Event().wait()

        answers = leader.running.host.links.bulk.serve.__self__._answers  # type: ignore[attr-defined]
        for kind in (AppendThere, ListOffsetsThere):
            answers._handlers[kind] = hangs
        append = AppendThere("t", topic_id, 0, Acks.QUORUM, None, _batch())
        resolve = ListOffsetsThere("t", topic_id, 0, "latest")
        tasks = [
            asyncio.create_task(_line(follower).ask(leader.node_id, request, timeout_s=60))
            for request in (append, resolve)
        ]
        await cluster.until(lambda: len(asked) == 2, "both are there")
        await leader.stop()
        with pytest.raises(OutcomeUnknown):
            await tasks[0]
        with pytest.raises(Unavailable):
            await tasks[1]
        with contextlib.suppress(Exception):
            await asyncio.gather(*tasks)


async def test_a_producers_batches_are_admitted_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    """However long it would take to check one of them: the asking node did. What was damaged is refused."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("t")
        node = await cluster.leader("t")
        topic_id = node.broker.topic_limits("t").topic_id
        name = codec.producer_id_of("p")

        def append(sequence: int, count: int, *, damage: bytes = b"") -> AppendThere:
            records = [Record(1, None, b"")] * count
            made = codec.encode(records, producer_id=name, producer_epoch=0, sequence=sequence)
            return AppendThere("t", topic_id, 0, Acks.QUORUM, None, made[: len(made) - len(damage)] + damage)

        ask = _line(node).ask
        found = await asyncio.gather(
            *(ask("n1", append(number, 50_000 if number == 0 else 1), timeout_s=10) for number in range(4))
        )
        assert [item.first_offset for item in found] == [0, 50_000, 50_001, 50_002]
        with pytest.raises(InvalidBatch):
            await ask("n1", append(4, 1, damage=b"\xff"), timeout_s=10)
