"""What is refused is so: confirmed by a majority, and for nothing that may come to nothing.

A deposed leader that does not know it yet refuses nothing of what its old state would have it refuse.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from floodmark.format import batch
from floodmark.format.record import Record

from consensus.types import Proposal
from node.broker import Acks
from tests.support.deposed import deposed, deposed_of_metadata
from tests.support.nodes import NodeCluster, TestNode

PRODUCER, OTHER = "a producer", "another producer"
BATCH = "application/vnd.floodmark.batch;v=1"
RAW = "application/octet-stream"


def payload(value: bytes, name: str = "", sequence: int = 0, epoch: int = 0) -> bytes:
    """One record, in the producer's name if it has one."""
    record = [Record(0, None, value)]
    if not name:
        return batch.encode(record)
    return batch.encode(
        record, producer_id=batch.producer_id_of(name), producer_epoch=epoch, sequence=sequence
    )


async def ask(
    cluster: NodeCluster, node: TestNode, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Any]:
    """Status and answer of one request; ``path`` is below the topic."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        names = {"Content-Type": BATCH, **names}
    url = f"{node.url}/v1/topics/orders/{path}"
    async with cluster.session.request(method, url, data=body, headers=names) as answer:
        return answer.status, await answer.json(content_type=None)


async def store(cluster: NodeCluster, node: TestNode, *bodies: bytes) -> None:
    """Store batches, one after the other."""
    for body in bodies:
        status, answer = await ask(cluster, node, "POST", "partitions/0/records", body)
        assert status == 200, answer


async def count(cluster: NodeCluster, node: TestNode) -> int:
    """How many records the partition holds."""
    status, answer = await ask(cluster, node, "GET", "partitions/0/tail")
    assert status == 200, answer
    return int(answer["high_watermark"])


ONE = "partitions/0/records?timeout=300ms"
IN_TIME = ONE.replace("300ms", "15s")
PRODUCES: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "gap, by the fast path": (ONE, payload(b"x", PRODUCER, 4), {}),
    "gap, by headers": (ONE, b"x", {"Content_Type": RAW, "Producer_Id": PRODUCER, "Producer_Seq": "4"}),
    "gap, with a mark that is none": (ONE, payload(b"x", PRODUCER, 4), {"Floodmark_Forwarded": "1"}),
    "other records": (ONE, payload(b"x", PRODUCER, 1), {}),
    "other records, by headers": (
        ONE,
        b"x",
        {"Content_Type": RAW, "Producer_Id": PRODUCER, "Producer_Seq": "1"},
    ),
    "old epoch": (ONE, payload(b"x", OTHER, 0, epoch=1), {}),
    "right offset": (ONE, payload(b"x"), {"If_Offset": "7"}),
    "wrong offset": (ONE, payload(b"x"), {"If_Offset": "5"}),
    "right offset, acks=leader": (f"{ONE}&acks=leader", payload(b"x"), {"If_Offset": "7"}),
    "right offset, acks=none": (f"{ONE}&acks=none", payload(b"x"), {"If_Offset": "7"}),
}
"""Each would be refused by what the deposed leader has; in time it learns neither that nor the contrary."""


async def test_a_deposed_leader_that_does_not_know_it_refuses_nothing(tmp_path: Path) -> None:
    """Produces end with the retriable error of those that find no leader; reads, and those with time left,
    wait and are answered by its successor."""
    async with NodeCluster.running(tmp_path, count=4) as cluster:
        await cluster.create("orders", replicas=3)
        first = await cluster.leader("orders")
        replicas = cluster["n1"].broker.topic("orders").partitions[0].replicas
        outsider = next(node for name, node in cluster.nodes.items() if name not in replicas)
        kept = [payload(b"%d" % number, PRODUCER, number) for number in range(4)]
        await store(cluster, first, *kept[:2], payload(b"e", OTHER, 0, epoch=2))
        async with deposed(cluster, "orders") as state:
            await store(cluster, state.new, *kept[2:], payload(b"f", OTHER, 0, epoch=3), payload(b"g"))
            assert await count(cluster, state.new) == 7
            answers = await asyncio.gather(
                *(
                    ask(cluster, state.old, "POST", path, body, **headers)
                    for path, body, headers in PRODUCES.values()
                )
            )
            found = dict(zip(PRODUCES, answers, strict=True))
            assert {name: (status, answer["code"]) for name, (status, answer) in found.items()} == (
                dict.fromkeys(PRODUCES, (503, "unavailable"))
            )
            assert all(answer["retriable"] for _, answer in answers)
            assert await count(cluster, state.new) == 7
            waiting = [
                asyncio.create_task(ask(cluster, node, "GET", f"partitions/0/records?from={start}"))
                for node in (state.old, outsider)
                for start in (7, 8)
            ]
            refused = asyncio.create_task(
                ask(cluster, state.old, "POST", IN_TIME, payload(b"x"), If_Offset="4")
            )
            done, _ = await asyncio.wait([*waiting[:2], refused], timeout=0.1)
            assert not done, "nobody has confirmed anything"
            assert state.believes
            state.heal()
            read = await asyncio.gather(*waiting)
            assert [status for status, _ in read] == [200, 416] * 2
            assert {answer["high_watermark"] for _, answer in read} == {7}
            assert await refused == (412, {**(await refused)[1], "next_offset": 7}), "its successor says so"
        again = [
            await ask(cluster, state.old, "POST", IN_TIME, payload(b"x", PRODUCER, number))
            for number in (4, 6)
        ]
        assert again[0][1]["first_offset"] == 7
        assert (again[1][0], again[1][1]["expected_sequence"]) == (409, 5)


def _has_ended(proposal: Proposal | None) -> bool:
    return proposal is None or proposal.outcome is not None


async def test_an_append_that_comes_to_nothing_lets_nobody_else_fail(tmp_path: Path) -> None:
    """A's and B's conditional appends meet at a deposed leader, where neither wins: both go on to its
    successor, and whoever is told that the other one did is told so by that."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        await store(cluster, await cluster.leader("orders"), payload(b"0"), payload(b"1"))
        async with deposed(cluster, "orders") as state:
            appender = state.old.running.replicas.local[state.raft_group].appender
            first = ask(cluster, state.old, "POST", IN_TIME, payload(b"a"), If_Offset="2")
            both = [asyncio.create_task(first)]
            await cluster.until(lambda: not _has_ended(appender.newest), "the first one is under way")
            second = ask(cluster, state.old, "POST", IN_TIME, payload(b"b"), If_Offset="2")
            both.append(asyncio.create_task(second))
            done, _ = await asyncio.wait(both, timeout=0.2)
            assert not done
            state.heal()
            answers = sorted(await asyncio.gather(*both), key=lambda answer: answer[0])
            assert [status for status, _ in answers] == [200, 412]
            assert (answers[0][1]["first_offset"], answers[1][1]["next_offset"]) == (2, 3)
            assert await count(cluster, state.new) == 3


async def test_a_deposed_leader_of_the_metadata_says_nothing_of_topics_by_its_old_state(
    tmp_path: Path,
) -> None:
    """Not that one is there, as wanted or otherwise, nor that there is none."""
    async with NodeCluster.running(tmp_path) as cluster:

        async def put(
            node: TestNode, method: str, topic: str, body: str = "{}", timeout: str = "300ms"
        ) -> tuple[int, Any]:
            url = f"{node.url}/v1/topics/{topic}?timeout={timeout}"
            async with cluster.session.request(method, url, data=body) as answer:
                return answer.status, await answer.json(content_type=None)

        await cluster.create("gone", partitions=2, replicas=3)
        async with deposed_of_metadata(cluster) as state:
            assert state.believes
            assert (await put(state.new, "DELETE", "gone", timeout="15s"))[0] == 204
            asked = [
                ("PUT", "gone", "{}"),
                ("PUT", "gone", '{"partitions": 5}'),
                ("PATCH", "made", '{"config": {"retention_ms": 5}}'),
                ("DELETE", "made", "{}"),
            ]
            answers = await asyncio.gather(*(put(state.old, *each) for each in asked))
            assert [status for status, _ in answers] == [503] * len(asked), answers
            assert state.believes
            state.heal()
            host = state.old.running.host
            await cluster.until(lambda: not host.group(state.raft_group).is_ready_leader, "it knows")
        assert (await put(state.old, "DELETE", "gone", timeout="10s"))[0] == 404


async def test_of_two_conditional_appends_at_once_one_wins(tmp_path: Path) -> None:
    """At every node. The other one is told the offset behind the winner's record: it is committed by then."""
    async with NodeCluster.running(tmp_path, count=4) as cluster:
        await cluster.create("orders", replicas=3)
        for expected, node in enumerate(cluster.nodes.values()):
            answers = await asyncio.gather(
                *(
                    ask(
                        cluster, node, "POST", "partitions/0/records", payload(value), If_Offset=str(expected)
                    )
                    for value in (b"a", b"b", b"c")
                )
            )
            assert sorted(status for status, _ in answers) == [200, 412, 412]
            told = {answer["next_offset"] for _, answer in answers}
            assert told == {expected + 1}


async def test_what_is_taken_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do batches of a producer one behind the other, or conditional ones. A refusal does, once."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        leader = await cluster.leader("orders")
        host = leader.running.host
        confirm, asked = host.confirm_lead, []

        async def counted(raft_group: int, **options: Any) -> None:
            asked.append(raft_group)
            await confirm(raft_group, **options)

        monkeypatch.setattr(host, "confirm_lead", counted)
        partition = leader.broker.partition("orders", 0)
        bodies = [payload(b"x", PRODUCER, number) for number in range(5)]
        stored = await asyncio.gather(
            *(
                partition.produce(
                    body, batch.decode_header(body), acks=Acks.QUORUM, timeout_s=10, expected_offset=number
                )
                for number, body in enumerate(bodies)
            )
        )
        assert [appended.first_offset for appended in stored] == list(range(5))
        await partition.fetch(5, max_bytes=1 << 20)
        assert asked == []
        for path, status in (("records?from=6", 416), ("records?from=5", 200)):
            assert (await ask(cluster, leader, "GET", f"partitions/0/{path}"))[0] == status
        assert len(asked) == 1


async def test_a_batch_that_overtook_another_waits_for_it(tmp_path: Path) -> None:
    """While the leadership is confirmed the one before it comes: neither has to be sent again."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        partition = (await cluster.leader("orders")).broker.partition("orders", 0)
        bodies = [payload(b"x", PRODUCER, number) for number in (1, 0)]
        stored = await asyncio.gather(
            *(
                partition.produce(body, batch.decode_header(body), acks=Acks.QUORUM, timeout_s=10)
                for body in bodies
            )
        )
        assert [appended.first_offset for appended in stored] == [1, 0]
