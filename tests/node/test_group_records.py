"""The smallest consumer: records of a group with nothing but the answer of the call before, at any node."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any, Final

from tests.node.test_group_routes import Asking
from tests.support.nodes import NodeCluster, TestNode

PATH: Final = "/v1/groups/g/records?topics=orders"


async def _poll(
    ask: Asking, node: TestNode, token: str | None = None, *, query: str = "", **more: Any
) -> dict[str, Any]:
    body = {**({} if token is None else {"commit": token}), **more}
    found: dict[str, Any] = await ask.done(node, "POST", PATH + query, body)
    return found


def _places(answer: dict[str, Any]) -> list[tuple[int, int]]:
    return sorted((record["partition"], record["offset"]) for record in answer["records"])


async def _committed(ask: Asking) -> dict[int, int]:
    found = await ask.done(ask.cluster.up[0], "GET", "/v1/groups/g/offsets")
    return {each["partition"]: each["offset"] for each in found["offsets"]}


async def test_a_consumer_goes_on_at_whichever_node(tmp_path: Path) -> None:
    """Every record once, in pages, each call at the next node; what is lost on its way comes again."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", partitions=2, replicas=2)
        ask = Asking(cluster)
        nodes = itertools.cycle(cluster.up)
        await ask.produce("orders", 0, 10)
        await ask.produce("orders", 1, 5)
        answer = await _poll(ask, next(nodes), query="&max_records=4")
        assert {record["topic"] for record in answer["records"]} == {"orders"}
        assert await _committed(ask) == {}, "nothing is done with yet"
        seen: list[tuple[int, int]] = []
        while answer["records"]:
            again = await _poll(ask, next(nodes), answer["commit"], query="&max_records=4")
            once_more = await _poll(ask, next(nodes), answer["commit"], query="&max_records=4")
            assert _places(again) == _places(once_more), "the same records"
            seen += _places(answer)
            answer = once_more
        assert sorted(seen) == [*((0, offset) for offset in range(10)), *((1, offset) for offset in range(5))]
        assert await _committed(ask) == {0: 10, 1: 5}
        late = asyncio.create_task(_poll(ask, next(nodes), answer["commit"], query="&wait=20s"))
        await ask.produce("orders", 1, 1)
        answer = await late
        assert _places(answer) == [(1, 5)]
        gone = await _poll(ask, next(nodes), answer["commit"], leave=True)
        assert gone == {"records": [], "commit": None}
        assert await _committed(ask) == {0: 10, 1: 6}
        described = await ask.done(next(nodes), "GET", "/v1/groups/g")
        assert (described["state"], described["members"]) == ("empty", [])
        for node in cluster.up:
            status, problem = await ask(node, "POST", PATH, {"commit": answer["commit"]})
            assert (status, problem["code"]) == (404, "unknown_member")
            assert "call with {} to begin again" in problem["detail"]


async def test_the_same_token_begins_with_the_same_partition_and_the_next_one_with_another(
    tmp_path: Path,
) -> None:
    """In two topics, where a page has room for a few records only: whoever asks again, at any node, gets the
    same ones in the same order; and no partition waits until the others are read to their ends."""
    async with NodeCluster.running(tmp_path) as cluster:
        topics = {"orders": 4, "payments": 3}
        ask = Asking(cluster)
        for name, partitions in topics.items():
            await cluster.create(name, partitions=partitions, replicas=2)
            for number in range(partitions):
                await ask.produce(name, number, 120)
        path = "/v1/groups/g/records?topics=orders,payments&max_records=3"
        answer = await ask.done(cluster.up[0], "POST", path, {})
        firsts: set[tuple[str, int]] = set()
        every = {(name, number) for name, partitions in topics.items() for number in range(partitions)}
        for rounds in itertools.count():
            pages = []
            token = {"commit": answer["commit"]}
            for node in cluster.up if rounds < 6 else cluster.up[:1]:
                answer = await ask.done(node, "POST", path, token)
                pages.append(
                    [(each["topic"], each["partition"], each["offset"]) for each in answer["records"]]
                )
            assert all(page == pages[0] for page in pages)
            firsts.add(pages[0][0][:2])
            if firsts == every:
                break
            assert rounds < 140, f"of {every} only {firsts} came first, and half of all is read"


async def test_a_newcomer_gets_what_is_free_and_then_its_share(tmp_path: Path) -> None:
    """Without a token somebody new joins. Nobody loses what it has in hand, and each record goes to one."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", partitions=2, replicas=2)
        ask = Asking(cluster)
        n1, n2, n3 = cluster.up
        await ask.produce("orders", 0, 3)
        await ask.produce("orders", 1, 3)
        first = await _poll(ask, n1, query="&max_records=2")
        second = await _poll(ask, n2)
        assert second["records"] == [], "nothing is free"
        assert second["commit"]
        waiting = asyncio.create_task(_poll(ask, n3, second["commit"], query="&wait=20s"))
        in_hand = _places(first)
        first = await _poll(ask, n2, first["commit"])
        second = await waiting
        handed = in_hand + _places(first) + _places(second)
        assert sorted(handed) == sorted(set(handed)), "none is repeated"
        assert len({partition for partition, _ in _places(first)}) <= 1
        for node, answer in ((n1, first), (n3, second)):
            await _poll(ask, node, answer["commit"], leave=True)
        assert sorted(handed) == [(partition, offset) for partition in (0, 1) for offset in range(3)]
        assert await _committed(ask) == {0: 3, 1: 3}


async def test_a_position_that_retention_has_overtaken_is_told_once(tmp_path: Path) -> None:
    """With how many records were lost; then it goes on behind them."""
    async with NodeCluster.running(tmp_path, 1, **{"storage.retention_interval_s": 0.1}) as cluster:
        await cluster.create("orders", replicas=1)
        (node,) = cluster.up
        ask = Asking(cluster)
        await ask.produce("orders", 0, 2)
        answer = await _poll(ask, node)
        answer = await _poll(ask, node, answer["commit"])
        assert await _committed(ask) == {0: 2}
        await ask.produce("orders", 0, 5)
        (log,) = [
            replica.log for replica in node.running.replicas.local.values() if replica.log.next_offset == 7
        ]
        await ask.done(node, "PATCH", "/v1/topics/orders", {"config": {"retention_ms": 1}})
        await cluster.until(lambda: log.start_offset == 7, "all records are gone")
        await ask.done(node, "PATCH", "/v1/topics/orders", {"config": {"retention_ms": None}})
        await ask.produce("orders", 0, 1)
        told = await _poll(ask, node, answer["commit"])
        assert told["lost"] == [
            {"topic": "orders", "partition": 0, "first_offset": 2, "next_offset": 7, "records": 5}
        ]
        assert _places(told) == [(0, 7)]
        assert "lost" not in await _poll(ask, node, told["commit"])


async def test_a_forced_reset_sends_a_reader_elsewhere(tmp_path: Path) -> None:
    """And what it did before does not undo it."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("orders", replicas=1)
        (node,) = cluster.up
        ask = Asking(cluster)
        await ask.produce("orders", 0, 6)
        answer = await _poll(ask, node)
        assert len(answer["records"]) == 6
        await ask.done(
            node, "POST", "/v1/groups/g/offsets/reset", {"to": "2", "topics": ["orders"], "force": True}
        )
        answer = await _poll(ask, node, answer["commit"])
        assert _places(answer) == [(0, offset) for offset in range(2, 6)]
        assert await _committed(ask) == {0: 2}
        latest = await _poll(ask, node, query="&start=latest&wait=0")
        assert latest["records"] == []
        status, problem = await ask(node, "POST", "/v1/groups/none/records?topics=orders&start=none", {})
        assert (status, problem["code"]) == (404, "no_committed_offset")


async def test_a_token_is_of_its_group_and_not_to_be_changed(tmp_path: Path) -> None:
    """400 for a changed one, and for another group's."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("orders", replicas=1)
        (node,) = cluster.up
        ask = Asking(cluster)
        token = (await _poll(ask, node))["commit"]
        changed = ("B" if token[0] == "A" else "A") + token[1:]
        for path, wrong in (
            (PATH, changed),
            (PATH, token[:-3]),
            ("/v1/groups/h/records?topics=orders", token),
        ):
            status, problem = await ask(node, "POST", path, {"commit": wrong})
            assert (status, problem["code"]) == (400, "invalid_request"), problem
            assert "call with {} to begin again" in problem["detail"]


async def test_whose_first_call_is_refused_is_no_member_and_holds_nothing(tmp_path: Path) -> None:
    """No token says who it is, so it could neither go on nor leave: the next one gets all partitions."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", partitions=2, replicas=2)
        ask = Asking(cluster)
        await ask.produce("orders", 0, 3)
        await ask.produce("orders", 1, 4)
        for node in cluster.up:
            status, problem = await ask(node, "POST", PATH + "&start=none", {})
            assert (status, problem["code"]) == (404, "no_committed_offset")
            described = await ask.done(node, "GET", "/v1/groups/g")
            assert (described["state"], described["members"]) == ("empty", [])
        answer = await _poll(ask, cluster.up[0])
        assert len(answer["records"]) == 7
        await _poll(ask, cluster.up[1], answer["commit"], leave=True)

        past = {"offsets": [{"topic": "orders", "partition": 1, "offset": 9}]}
        await ask.done(cluster.up[0], "POST", "/v1/groups/g/offsets", past)
        for node in cluster.up:
            status, problem = await ask(node, "POST", PATH, {})
            assert (status, problem["code"]) == (416, "offset_past_end")
            assert (problem["topic"], problem["partition"], problem["high_watermark"]) == ("orders", 1, 4)
            assert "partition 1 of topic orders" in problem["detail"]
            assert "/v1/groups/g/offsets/reset" in problem["detail"]
            assert (await ask.done(node, "GET", "/v1/groups/g"))["members"] == []
            lag = await ask.done(node, "GET", "/v1/groups/g/lag")
            assert [(each["end"], each["lag"], each["lag_ms"]) for each in lag["partitions"]] == [
                (3, 0, 0),
                (4, 0, 0),
            ]
        await ask.done(cluster.up[0], "POST", "/v1/groups/g/offsets/reset", {"to": "-1"})
        assert _places(await _poll(ask, cluster.up[0])) == [(0, 2)]


async def test_who_leaves_before_the_first_answer_is_no_member_and_holds_nothing(tmp_path: Path) -> None:
    """Somebody who waits at an empty topic, gives up, and asks again a moment later: it gets what comes."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", partitions=2, replicas=2)
        ask = Asking(cluster)

        async def until(members: int) -> None:
            async with asyncio.timeout(20):  # Of a session of 30.
                while True:
                    status, found = await ask(cluster.up[0], "GET", "/v1/groups/g")
                    if status == 200 and len(found["members"]) == members:
                        return

        for node in cluster.up:
            waiting = asyncio.create_task(_poll(ask, node, query="&wait=60s"))
            await until(1)
            waiting.cancel()
            await until(0)
        waiting = asyncio.create_task(_poll(ask, cluster.up[0], query="&wait=60s"))
        await until(1)
        await ask.produce("orders", 0, 3)
        assert _places(await waiting) == [(0, 0), (0, 1), (0, 2)]
