"""Requests and answers over bulk connections: real sockets, both roles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from consensus.links import requests, served
from consensus.links.bulk_connection import BulkConnection
from consensus.links.bulk_packets import Outcome
from consensus.links.bulk_types import (
    Answer,
    Overloaded,
    Served,
    ServedBudget,
    Unanswered,
    Unreached,
)
from consensus.links.handshake import CHALLENGE_BYTES, Dialing, Versions
from consensus.links.send_queue import WINDOW_BYTES
from tests.consensus.link_nodes import LinkNode, closed, joined, numbered, proxied, running

LARGE = bytes(range(256)) * 4096


class Desk:
    """Serves: echoes, or holds what asks for it until it is let go. Counts what it has in hand."""

    def __init__(self, node: LinkNode) -> None:
        self.name = node.node_id
        self.begun: list[bytes] = []
        self.cancelled: list[bytes] = []
        self.released = 0
        self.left: list[float] = []
        self.go = asyncio.Event()
        self._changed = asyncio.Event()
        node.links.bulk.serve = self.serve

    async def serve(self, peer: str, envelope: bytes, raw: bytes, timeout_s: float) -> Served:
        self.begun.append(envelope[:100])
        self.left.append(timeout_s)
        self._changed.set()
        try:
            if envelope.startswith(b"wait"):
                await self.go.wait()
            if envelope.startswith(b"defect"):
                raise AssertionError("a defect of the test")
        except asyncio.CancelledError:
            self.cancelled.append(envelope[:100])
            self._changed.set()
            raise
        if envelope.startswith(b"large"):
            raw = LARGE * int(envelope[5:])
        failed = envelope.startswith(b"fail")
        return Served(failed, f"{self.name} to {peer}: ".encode() + envelope, raw, self._release)

    def _release(self) -> None:
        self.released += 1
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def _ask(node: LinkNode, of: str, envelope: bytes, raw: bytes = b"", timeout_s: float = 60) -> Answer:
    return await node.links.bulk.ask(of, envelope, raw, timeout_s=timeout_s)


async def test_requests_travel_both_ways_and_the_one_connection_serves_both() -> None:
    """It is made when the first request wants it."""
    async with joined() as (a, b):
        Desk(a)
        Desk(b)
        assert not list(a.links.bulk.each())
        assert await _ask(a, "b", b"x", b"raw") == Answer(Outcome.DONE, b"b to a: x", b"raw")
        assert (await _ask(b, "a", b"y")).envelope == b"a to b: y"
        assert (await _ask(a, "b", b"fail")).outcome is Outcome.FAILED
        assert len(list(a.links.bulk.each())) == len(list(b.links.bulk.each())) == 1


async def test_large_bodies_and_envelopes_arrive_whole_among_each_other() -> None:
    """More than fits into a window at once, both ways."""
    async with joined() as (a, b):
        desk = Desk(b)
        bodies = [bytes([number]) * (9 << 20) for number in range(8)]
        answers = await asyncio.gather(*(_ask(a, "b", body[: 200 << 10], body) for body in bodies))
        for body, answer in zip(bodies, answers, strict=True):
            assert answer.raw == body
            assert answer.envelope == b"b to a: " + body[: 200 << 10]
        [connection] = a.links.bulk.each()
        assert connection.under_way_bytes == 0
        assert b.links.bulk.budget.used == 0
        await desk.until(lambda: desk.released == len(bodies))


async def test_a_message_larger_than_the_window_goes_alone() -> None:
    """It waits until nothing else is under way."""
    async with joined() as (a, b):
        Desk(b)
        size = WINDOW_BYTES + (1 << 20)
        answers = await asyncio.gather(*(_ask(a, "b", b"x", bytes(size)) for _ in range(2)))
        assert [len(answer.raw) for answer in answers] == [size, size]


async def test_small_requests_do_not_wait_for_large_bodies_that_nobody_takes() -> None:
    """Counted in bytes: while 64 MiB wait, a small request is before all but what has left already."""
    async with joined() as (a, b):
        desk = Desk(b)
        large = [asyncio.create_task(_ask(a, "b", b"x", bytes(16 << 20))) for _ in range(4)]
        await asyncio.sleep(0)
        assert (await _ask(a, "b", b"small")).envelope == b"b to a: small"
        assert desk.begun == [b"small"]
        await asyncio.gather(*large)


def _asked_in_order(node: LinkNode, sizes: dict[bytes, int]) -> list[asyncio.Task[Answer]]:
    """Requests of one order, by name, whose bodies have these sizes."""
    return [
        asyncio.create_task(node.links.bulk.ask("b", name, bytes(size), timeout_s=60, order="p"))
        for name, size in sizes.items()
    ]


async def test_requests_of_one_order_do_not_overtake_each_other_and_others_do() -> None:
    """A small one does not pass a large one before it, nor does one that is less large."""
    async with joined() as (a, b):
        desk = Desk(b)
        asked = _asked_in_order(a, {b"1": 8 << 20, b"2": 1, b"3": 1 << 20, b"4": 100_000, b"5": 0})
        await asyncio.sleep(0)
        await _ask(a, "b", b"of none")
        await asyncio.gather(*asked)
        assert desk.begun == [b"of none", b"1", b"2", b"3", b"4", b"5"]


async def test_one_that_is_given_up_lets_those_behind_it_go_on() -> None:
    """The one on its way, and one that waits for it."""
    async with joined() as (a, b):
        desk = Desk(b)
        await _ask(a, "b", b"connected")
        [connection] = a.links.bulk.each()
        asked = _asked_in_order(a, {b"1": 16 << 20, b"2": 1, b"3": 1 << 20, b"4": 1})
        while connection.asked < len(asked):  # noqa: ASYNC110 - they run in this turn of the loop and the next
            await asyncio.sleep(0)
        for given_up in asked[:2]:
            given_up.cancel()
        await asyncio.gather(*asked[2:])
        assert desk.begun == [b"connected", b"3", b"4"]


async def test_requests_of_one_order_wait_for_a_connection_one_behind_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that finds a connection at once is not sent before one that had to wait for its own."""
    async with joined() as (a, b):
        desk = Desk(b)
        connection_to = a.links.bulk._connection
        is_made = asyncio.Event()
        waiting = [is_made.wait()]

        async def waited_for(node: str) -> BulkConnection:
            if waiting:
                await waiting.pop()
            return await connection_to(node)

        monkeypatch.setattr(a.links.bulk, "_connection", waited_for)
        asked = _asked_in_order(a, {b"1": 1, b"2": 1})
        await asyncio.sleep(0)
        await _ask(a, "b", b"of none")
        is_made.set()
        await asyncio.gather(*asked)
        assert desk.begun == [b"of none", b"1", b"2"]
        assert not a.links.bulk._lanes, "nothing is kept of orders that nobody waits for"


async def test_bulk_data_queues_nothing_in_front_of_messages() -> None:
    """With a bulk connection that is full to the brim, nothing waits on the link of messages."""
    async with joined() as (a, b):
        Desk(b)
        large = [asyncio.create_task(_ask(a, "b", b"x", bytes(16 << 20))) for _ in range(4)]
        for number in range(100):
            a.links.send("b", [numbered(number)])
            assert a.links.queue_bytes("b") == 0
            await asyncio.sleep(0)
        await b.until(lambda: b.numbers("a") == list(range(100)))
        await asyncio.gather(*large)


async def test_a_caller_that_gives_up_ends_the_handler_and_frees_what_it_held() -> None:
    """At once, and the connection goes on."""
    async with joined() as (a, b):
        desk = Desk(b)
        task = asyncio.create_task(_ask(a, "b", b"wait", bytes(1 << 20)))
        await desk.until(lambda: desk.begun == [b"wait"])
        assert b.links.bulk.budget.used > 1 << 20
        task.cancel()
        await desk.until(lambda: desk.cancelled == [b"wait"])
        await _ask(a, "b", b"next")
        assert b.links.bulk.budget.used == 0
        [connection] = a.links.bulk.each()
        assert (connection.asked, connection.under_way_bytes) == (0, 0)


async def test_a_caller_without_room_for_the_answer_is_told_so_and_takes_little_of_it() -> None:
    """What ``room`` raises is what the caller gets; the rest of the answer is not sent."""
    async with joined() as (a, b):
        desk = Desk(b)
        sizes = []

        def refuse(*told: int) -> None:
            sizes.append(told)
            raise LookupError("no room")

        with pytest.raises(LookupError, match="no room"):
            await a.links.bulk.ask("b", b"large30", timeout_s=60, room=refuse)
        assert sizes == [(len(b"b to a: large30"), len(LARGE) * 30)]
        await desk.until(lambda: desk.released == 1)
        [connection] = b.links.bulk.each()
        assert connection.bytes_sent < 20 << 20
        assert (await _ask(a, "b", b"large8")).raw == LARGE * 8
        await desk.until(lambda: desk.released == 2)
        await _ask(a, "b", b"next")
        assert connection.under_way_bytes == 0


async def test_an_answer_is_not_sent_to_its_end_when_its_caller_gives_up() -> None:
    """Cancelled in the middle of it: what the answer held is given back, and the window is free again."""
    async with joined() as (a, b):
        desk = Desk(b)
        begun = asyncio.Event()
        asking = a.links.bulk.ask("b", b"large30", timeout_s=60, room=lambda *_sizes: begun.set())
        task = asyncio.create_task(asking)
        await begun.wait()
        task.cancel()
        await desk.until(lambda: desk.released == 1)
        [connection] = b.links.bulk.each()
        assert connection.bytes_sent < 20 << 20
        await _ask(a, "b", b"next")
        assert connection.under_way_bytes == 0


async def test_the_time_left_travels_and_ends_the_wait() -> None:
    """The handler hears how long its answer is of use; who asked is told after that time."""
    async with joined() as (a, b):
        desk = Desk(b)
        with pytest.raises(Unanswered):
            await _ask(a, "b", b"wait", timeout_s=0.2)
        assert 0.1 < desk.left[0] <= 0.2
        await desk.until(lambda: desk.cancelled == [b"wait"])


async def test_a_lost_connection_tells_what_had_left_from_what_had_not() -> None:
    """What had left may have been done; what had not was not."""
    async with proxied() as (a, b, proxy):
        desk = Desk(b)
        await _ask(a, "b", b"x")
        left = asyncio.create_task(_ask(a, "b", b"wait"))
        await desk.until(lambda: len(desk.begun) == 2)
        proxy.pause()
        not_left = asyncio.create_task(_ask(a, "b", b"y", bytes(30 << 20)))
        await asyncio.sleep(0)
        proxy.drop_connections()
        with pytest.raises(Unanswered):
            await left
        with pytest.raises(Unreached):
            await not_left
        await desk.until(lambda: desk.cancelled == [b"wait"])
        assert b.links.bulk.budget.used == 0
        proxy.resume()
        await a.until_up("b")
        assert (await _ask(a, "b", b"z")).envelope == b"b to a: z"


async def test_a_connection_on_which_nothing_gets_through_is_given_up() -> None:
    """A request does not wait to the end of its time for a connection that hangs; pings keep a good one."""
    async with proxied() as (a, b, proxy):
        desk = Desk(b)
        waits = asyncio.create_task(_ask(a, "b", b"wait", timeout_s=60))
        await desk.until(lambda: desk.begun == [b"wait"])
        await asyncio.sleep(1.2 * a.links._context.options.dead_after_s)
        assert not waits.done()
        proxy.pause()
        with pytest.raises(Unanswered):
            await waits
        proxy.heal()


async def test_a_node_that_is_gone_leaves_nobody_waiting() -> None:
    """Its process has ended, or its links are forgotten."""
    async with joined() as (a, b):
        desk = Desk(b)
        waits = [asyncio.create_task(_ask(a, "b", b"wait", timeout_s=60)) for _ in range(2)]
        await desk.until(lambda: len(desk.begun) == 2)
        await a.links.forget("b")
        for task in waits:
            with pytest.raises(Unanswered):
                await task
        with pytest.raises(Unreached):
            await _ask(a, "b", b"x")


async def test_a_node_that_stops_ends_what_runs_and_begins_nothing() -> None:
    """All that was asked has an end at once: an answer where it comes within a moment."""
    async with joined() as (a, b):
        desk = Desk(b)
        first = asyncio.create_task(_ask(a, "b", b"wait 1", timeout_s=60))
        await desk.until(lambda: len(desk.begun) == 1)
        stopping = asyncio.create_task(b.links.bulk.stop())
        await asyncio.sleep(0)
        with pytest.raises(Unreached):
            await _ask(a, "b", b"late")
        desk.go.set()
        assert (await first).envelope == b"b to a: wait 1"
        await stopping
    async with joined() as (a, b):
        desk = Desk(b)
        task = asyncio.create_task(_ask(a, "b", b"wait", timeout_s=60))
        await desk.until(lambda: len(desk.begun) == 1)
        await b.links.bulk.stop()
        with pytest.raises(Unanswered, match="ended"):
            await task


async def test_a_node_that_serves_no_more_still_asks() -> None:
    """Its clients' requests end before it does."""
    async with joined() as (a, b):
        Desk(a)
        desk = Desk(b)
        waiting = asyncio.create_task(_ask(a, "b", b"wait"))
        await desk.until(lambda: bool(desk.begun))
        await a.links.bulk.serve_no_more()
        with pytest.raises(Unreached):
            await _ask(b, "a", b"late")
        desk.go.set()
        assert (await waiting).envelope == b"b to a: wait"
        assert (await _ask(a, "b", b"x")).envelope == b"b to a: x"


async def test_a_node_that_is_forgotten_gets_the_answers_that_it_waits_for() -> None:
    """Its removal is what it may have asked for, and so are answers that it has been asked for."""
    async with joined() as (a, b):
        theirs, ours = Desk(a), Desk(b)
        asked = [
            asyncio.create_task(_ask(a, "b", b"wait: remove me", timeout_s=60)),
            asyncio.create_task(_ask(b, "a", b"wait", timeout_s=60)),
        ]
        await ours.until(lambda: bool(ours.begun))
        await theirs.until(lambda: bool(theirs.begun))
        forgotten = asyncio.create_task(b.links.forget("a"))
        await asyncio.sleep(0)
        assert not list(b.links.bulk.each())
        ours.go.set()
        theirs.go.set()
        answers = await asyncio.gather(*asked)
        assert [answer.envelope[:6] for answer in answers] == [b"b to a", b"a to b"]
        await forgotten


async def test_a_defect_of_a_handler_ends_its_request_alone() -> None:
    """The others' go on."""
    async with joined() as (a, b):
        Desk(b)
        with pytest.raises(Unanswered):
            await _ask(a, "b", b"defect")
        assert (await _ask(a, "b", b"x")).envelope == b"b to a: x"


async def test_a_node_without_room_for_requests_refuses_them() -> None:
    """Bytes of all peers together; one request alone always fits."""
    async with joined() as (a, b):
        desk = Desk(b)
        b.links.bulk.budget = ServedBudget(1 << 20)
        first = asyncio.create_task(_ask(a, "b", b"wait", bytes(2 << 20)))
        await desk.until(lambda: desk.begun == [b"wait"])
        with pytest.raises(Unreached):
            await _ask(a, "b", b"y", bytes(1 << 20))
        desk.go.set()
        await first
        await _ask(a, "b", b"y", bytes(1 << 20))


async def test_only_so_many_requests_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is refused here, before it is sent."""
    monkeypatch.setattr(requests, "REQUESTS_MAX", 50)
    monkeypatch.setattr(served, "REQUESTS_MAX", 50)
    async with joined() as (a, b):
        desk = Desk(b)
        tasks = [asyncio.create_task(_ask(a, "b", b"wait")) for _ in range(50)]
        await desk.until(lambda: len(desk.begun) == 50)
        with pytest.raises(Overloaded):
            await _ask(a, "b", b"x")
        tasks[0].cancel()
        await desk.until(lambda: len(desk.cancelled) == 1)
        desk.go.set()
        await asyncio.gather(*tasks[1:])
        await _ask(a, "b", b"x")


async def test_older_builds_are_not_asked() -> None:
    """They would not know what comes; nothing is dialled."""
    a, b = LinkNode("a"), LinkNode("b", versions=Versions(3, 5))
    async with running(a, b):
        a.links.dial("b", *b.address)
        await a.until_up("b")
        assert not a.links.takes_requests("b")
        with pytest.raises(Unreached, match="takes no requests"):
            await _ask(a, "b", b"x")


async def test_a_node_whose_link_does_not_stand_may_not_ask() -> None:
    """Whoever sends no messages asks nothing: a bulk connection without the peer's own link is refused."""
    async with joined() as (a, b):
        Desk(b)
        dialing = Dialing(replace(a.links._context.identity, process=b"another process."), "b", 1, bulk=True)
        reader, writer = await asyncio.open_connection(*b.address)
        writer.write(dialing.hello)
        writer.write(dialing.answer(await reader.readexactly(CHALLENGE_BYTES)))
        assert await closed(reader) == b""
        writer.close()
        assert not list(b.links.bulk.each())
        assert (await _ask(a, "b", b"x")).envelope == b"b to a: x"
