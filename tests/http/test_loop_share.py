"""What many clients ask for at once is spread over turns of the event loop."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Callable

import pytest
import uvloop

from node.http.context import CONTEXT
from node.request_limits import RequestLimits
from node.service.loop_share import LoopShare
from tests.http.conftest import Harness, until
from tests.http.memory_broker import MemoryCluster

CROWD = 200
OCTETS = {"Content-Type": "application/octet-stream"}

Runs = Callable[..., object]
on_both_loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


class Turns:
    """Counts the turns of the running loop."""

    def __init__(self) -> None:
        self.count = 0
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self.count += 1
        asyncio.get_running_loop().call_soon(self._turn)


async def _turns_of(share: LoopShare, sizes: list[int], numbers: list[int]) -> list[tuple[int, int]]:
    """(piece, turn) of each piece in the order in which they were done."""
    turns = Turns()
    done: list[tuple[int, int]] = []

    async def piece(place: int) -> None:
        await share.wait(sizes[place], numbers[place])
        done.append((place, turns.count))

    await asyncio.gather(*(piece(place) for place in range(len(sizes))))
    return done


@on_both_loops
def test_a_turn_has_no_more_than_its_share_and_one_piece(run: Runs) -> None:
    """Sixteen pieces of half a share take eight turns, and small ones share one."""

    async def both() -> None:
        large = await _turns_of(LoopShare(100), [50] * 16, list(range(16)))
        assert [place for place, _ in large] == list(range(16))
        turns = [turn for _, turn in large]
        assert max(turns.count(turn) for turn in turns) == 2
        small = await _turns_of(LoopShare(100), [1] * 100, [0] * 100)
        assert len({turn for _, turn in small}) == 1

    run(both())


@on_both_loops
def test_the_oldest_goes_first_and_all_get_their_turn(run: Runs) -> None:
    """Numbers say who is older, whoever asks first; only what nobody waited for goes at once."""

    async def in_order() -> list[tuple[int, int]]:
        return await _turns_of(LoopShare(10), [10] * 8, [7, 3, 5, 1, 6, 2, 4, 0])

    done = run(in_order())
    assert isinstance(done, list)
    assert [place for place, _ in done] == [0, 7, 3, 5, 1, 6, 2, 4]


@on_both_loops
def test_who_does_not_wait_any_more_stops_nobody(run: Runs) -> None:
    """A client that left is passed over."""

    async def cancelled() -> None:
        share = LoopShare(10)
        await share.wait(10)
        waiting = [asyncio.ensure_future(share.wait(10)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        async with asyncio.timeout(10):
            await asyncio.gather(*waiting[1:])

    run(cancelled())


async def _started() -> Harness:
    http = Harness(MemoryCluster(1))
    await http.start("n1", RequestLimits())
    await http.make_topic()
    return http


async def test_reads_that_find_nothing_wait_for_no_turn() -> None:
    """Many long polls at the end of a partition leave every turn to those who find something."""
    http = await _started()
    try:
        pages = http.servers["n1"].app[CONTEXT].service.pages
        # A share that is taken for good: whoever asks for a turn would wait for ever.
        pages._has_room = lambda _: False  # type: ignore[method-assign]
        async with asyncio.timeout(20):
            for path in ("partitions/0/records?from=latest&wait=10ms", "records?from=latest&wait=10ms"):
                answer = await http.call("GET", f"/v1/topics/t/{path}")
                assert answer.json["records"] == []
    finally:
        await http.close()


async def test_bodies_that_come_at_once_are_read_in_turn_and_whole() -> None:
    """Past aiohttp and by it, none is lost or mixed up; who is slow keeps nobody's place."""
    http = await _started()
    try:
        host, port = http.address
        _, slow = await asyncio.open_connection(host, port)
        slow.write(
            b"POST /v1/topics/t/partitions/0/records HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/octet-stream\r\nContent-Length: 900000\r\n\r\n" + bytes(300_000)
        )
        await slow.drain()
        bodies = [bytes([number]) * 300_000 for number in range(24)]
        async with asyncio.timeout(30):
            answers = await asyncio.gather(
                *(
                    http.call(
                        "POST",
                        f"/v1/topics/t/{'partitions/0/' if number % 2 else ''}records",
                        data=body,
                        headers=OCTETS,
                    )
                    for number, body in enumerate(bodies)
                )
            )
        assert {answer.status for answer in answers} == {200}
        for number, answer in enumerate(answers):
            (placed,) = answer.json.get("records", [answer.json])
            offset, partition = placed.get("first_offset", placed.get("offset")), placed["partition"]
            path = f"/v1/topics/t/partitions/{partition}/records?from={offset}&max_records=1"
            (found,) = (await http.call("GET", path)).json["records"]
            assert base64.b64decode(found["value_b64"]) == bodies[number]
        slow.close()
    finally:
        await http.close()


@on_both_loops
def test_a_crowd_that_connects_at_once_is_let_in_within_few_turns(run: Runs) -> None:
    """The loop by itself accepts one in a turn, and a node under load has some thirty turns a second."""

    async def crowd() -> int:
        http = await _started()
        sockets = []
        try:
            server = http.servers["n1"]
            for _ in range(CROWD):
                each = socket.socket()
                each.setblocking(False)
                each.connect_ex(http.address)
                sockets.append(each)
            turns = Turns()
            async with asyncio.timeout(20):
                while len(server._runner.open_connections()) < CROWD:  # noqa: ASYNC110 - turns are counted
                    await asyncio.sleep(0)
            return turns.count
        finally:
            for each in sockets:
                each.close()
            await until(lambda: len(server._runner.open_connections()) == 0)
            await http.close()

    count = run(crowd())
    assert isinstance(count, int)
    assert count < CROWD / 4


@on_both_loops
def test_a_server_that_has_stopped_accepts_nothing(run: Runs) -> None:
    """Its port is closed, whatever accepts at it."""

    async def stopped() -> None:
        http = await _started()
        address = http.address
        await http.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)

    run(stopped())
