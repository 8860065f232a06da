"""Consuming as a member of a group: what is committed when, and who reads what."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from floodmark import Client, GroupConsumer, GroupRecord, TopicPartition
from floodmark.errors import (
    GroupNotEmpty,
    InvalidName,
    InvalidRequest,
    NoCommittedOffset,
    NotUsable,
    OffsetPastEnd,
    OutcomeUnknown,
    UnknownGroup,
    UnknownTopic,
)
from floodmark.groups.member import Member
from floodmark.sync import Client as SyncClient

from node.http.app import create_app
from node.http.server import HttpServer
from node.metadata.levels import GROUPS
from node.request_limits import RequestLimits
from tests.client.front import Front
from tests.client.test_reading import fill
from tests.http.memory_broker import MemoryCluster


@pytest.fixture
async def nodes() -> AsyncIterator[MemoryCluster]:
    """One: what nodes ask each other about groups goes by no user's door."""
    cluster = MemoryCluster(1)
    cluster.level = GROUPS
    server = HttpServer(create_app(cluster.brokers["n1"], RequestLimits()))
    host, port = await server.start("127.0.0.1", 0)
    cluster.urls["n1"] = f"http://{host}:{port}"
    try:
        yield cluster
    finally:
        await server.stop(0.2)


@pytest.fixture
async def filled(client: Client, topic: str) -> str:
    """Ten numbers in each of three partitions."""
    for partition in range(3):
        await fill(client, topic, 10, partition)
    return topic


def place_of(record: GroupRecord) -> tuple[int, int]:
    """Partition and offset."""
    return record.partition, record.offset


ALL = [(partition, offset) for partition in range(3) for offset in range(10)]


async def committed(client: Client, group: str = "g") -> dict[int, int]:
    """By partition."""
    return {each.partition: each.offset for each in await client.groups.offsets(group)}


@contextlib.asynccontextmanager
async def running(consumer: GroupConsumer, seen: list[tuple[int, int]]) -> AsyncIterator[None]:
    """Somebody who reads on and on, and notes what it gets."""

    async def read() -> None:
        async for record in consumer:
            seen.append(place_of(record))  # noqa: PERF401 - it is looked at meanwhile

    task = asyncio.create_task(read())
    try:
        yield
    finally:
        consumer.stop()
        await task


async def until(condition: Any) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it is about several tasks
            await asyncio.sleep(0.005)


async def test_a_group_goes_on_where_it_was(client: Client, filled: str) -> None:
    """A record is done with when the next one is asked for: the one in hand comes again, and no other."""
    seen: list[tuple[int, int]] = []
    consumer = client.consume(filled, group="g", follow=False)
    async for record in consumer:
        assert record.topic == filled
        seen.append(place_of(record))
        if len(seen) == 14:
            break
    await consumer.aclose()
    again = [place_of(record) async for record in client.consume(filled, group="g", follow=False)]
    assert again[0] in seen or seen[-1] in again
    assert Counter(seen + again) == Counter([*ALL, seen[-1]])
    assert await committed(client) == {0: 10, 1: 10, 2: 10}
    assert [record async for record in client.consume(filled, group="g", follow=False)] == []
    assert len([1 async for _ in client.consume(filled, group="other", follow=False)]) == 30
    latest = client.consume(filled, group="new", start="latest", follow=False)
    assert [record async for record in latest] == []
    assert await committed(client, "new") == {0: 10, 1: 10, 2: 10}, "what comes now is missed by nobody"


async def test_what_may_have_been_done_is_asked_again(
    client: Client, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat or a commit whose outcome stays unknown ends nothing: to repeat them does no harm."""
    lost: Counter[str] = Counter()

    def losing(name: str) -> None:
        ask = getattr(Member, name)

        async def asked(self: Member, *arguments: Any) -> Any:
            found = await ask(self, *arguments)
            if lost[name] < 2:
                lost[name] += 1
                raise OutcomeUnknown("it may have been stored")
            return found

        monkeypatch.setattr(Member, name, asked)

    losing("heartbeat")
    losing("commit")
    seen: list[tuple[int, int]] = []
    async with running(client.consume(filled, group="g", session_timeout_s=1.0), seen):
        await until(lambda: len(seen) == 30 and lost == {"heartbeat": 2, "commit": 2})
    assert await committed(client) == {0: 10, 1: 10, 2: 10}


async def test_members_share_the_partitions_and_hand_over_without_a_repeat(
    client: Client, filled: str
) -> None:
    """One comes, one goes: each record is handed out once, and both are told what they have."""
    seen: list[tuple[int, int]] = []
    told: list[tuple[str, str, list[int]]] = []

    def teller(who: str, what: str) -> Any:
        return lambda places: told.append((who, what, [place.partition for place in places]))

    one = client.consume(
        filled,
        group="g",
        commit=60.0,  # So that nothing is committed but what has to be.
        on_assigned=teller("one", "+"),
        on_revoked=teller("one", "-"),
        session_timeout_s=2,
    )
    two = client.consume(filled, group="g", on_assigned=teller("two", "+"), session_timeout_s=2)
    async with running(one, seen):
        await until(lambda: len(seen) == 30)
        assert told == [("one", "+", [0, 1, 2])]
        async with running(two, seen):
            await until(lambda: len(told) == 3)
            assert sorted([*one.assignment, *two.assignment]) == [(filled, number) for number in range(3)]
            assert len(two.assignment) == 1
            for partition in range(3):
                await fill(client, filled, 5, partition)
            await until(lambda: len(seen) == 45)
            described = await client.groups.describe("g")
            assert {member.member_id for member in described.members} == {one.member_id, two.member_id}
        await until(lambda: len(one.assignment) == 3)
        await fill(client, filled, 2, 0)
        await until(lambda: len(seen) == 47)
    assert told[1][:2] == ("one", "-")
    assert told[1][2] == told[2][2], "what one gave up the other one got"
    assert len(set(seen)) == len(seen) == 47
    assert told[-1] == ("one", "-", [0, 1, 2]), "the end gives everything up"
    assert (await client.groups.describe("g")).members == []


async def test_a_slow_program_keeps_its_membership_and_gives_up_between_records(
    client: Client, filled: str
) -> None:
    """While it has a record in hand heartbeats go on; what the group takes goes after that record."""
    consumer = client.consume(filled, group="g", session_timeout_s=1.2)
    records = aiter(consumer)
    first = await anext(records)
    seen: list[tuple[int, int]] = []
    other = client.consume(filled, group="g", session_timeout_s=1.2)
    before = (await client.groups.describe("g")).epoch
    async with running(other, seen):
        await until(lambda: other.member_id)
        await asyncio.sleep(1.0)  # Some heartbeats of both.
        assert (await client.groups.describe("g")).epoch == before + 1, "one rebalance: for who came"
        assert seen == [], "nothing is free yet"
        got = [place_of(first), place_of(await anext(records))]
        await until(lambda: seen)
        await records.aclose()
        await until(lambda: len(seen) >= 28)
    assert sorted({*got, *seen}) == ALL
    assert len(got) + len(seen) <= 31, "the one in hand at the end may come again, and no other"


async def test_by_hand_and_every_so_often(client: Client, filled: str) -> None:
    """Nothing is committed that the program did not ask for; then all that was handed out."""
    async with client.consume(filled, group="g", commit="manual", follow=False) as consumer:
        count = 0
        async for record in consumer:
            count += 1
            if count == 12:
                assert await committed(client) == {}
                await consumer.commit()
                assert sum((await committed(client)).values()) == 12
                await consumer.commit({TopicPartition(filled, record.partition): record.offset + 1})
                with pytest.raises(InvalidRequest):
                    await consumer.commit({TopicPartition(filled, 77): 1})
        assert count == 30
    assert sum((await committed(client)).values()) == 12
    async with client.consume(filled, group="h", commit=0.05) as consumer:
        records = aiter(consumer)
        for _ in range(5):
            await anext(records)
        async with asyncio.timeout(60):
            while sum((await committed(client, "h")).values()) != 4:  # noqa: ASYNC110 - it comes by time
                await asyncio.sleep(0.01)
        await records.aclose()


async def test_what_retention_removed_is_told_once(client: Client, filled: str, nodes: MemoryCluster) -> None:
    """With its offsets; the consumer goes on behind it."""
    await client.groups.commit("g", {TopicPartition(filled, 0): 2})
    nodes.logs[filled, 0].start = 6
    gaps: list[tuple[TopicPartition, int, int]] = []
    consumer = client.consume(filled, group="g", follow=False, on_gap=lambda *gap: gaps.append(gap))
    seen = [place_of(record) async for record in consumer]
    assert gaps == [(TopicPartition(filled, 0), 2, 6)]
    assert sorted(seen) == [place for place in ALL if place[0] or place[1] >= 6]
    again = client.consume(filled, group="g", follow=False, on_gap=lambda *gap: gaps.append(gap))
    assert [record async for record in again] == []
    assert len(gaps) == 1


async def test_a_member_that_is_removed_joins_again(client: Client, filled: str) -> None:
    """It is told what it lost, commits nothing of it, and goes on from what is committed."""
    lost: list[int] = []
    seen: list[tuple[int, int]] = []
    consumer = client.consume(
        filled,
        group="g",
        session_timeout_s=1.2,
        on_lost=lambda places: lost.extend(place.partition for place in places),
    )
    async with running(consumer, seen):
        await until(lambda: len(seen) == 30)
        await _until_committed(client, 30)
        was = consumer.member_id
        await client._transport.call(_delete(f"/v1/groups/g/members/{was}"), _soon())
        await until(lambda: lost)
        await until(lambda: consumer.member_id not in ("", was) and len(consumer.assignment) == 3)
        await fill(client, filled, 3, 1)
        await until(lambda: len(seen) == 33)
    assert sorted(lost) == [0, 1, 2]
    assert len(set(seen)) == 33


async def test_a_forced_reset_moves_a_running_consumer(client: Client, filled: str) -> None:
    """It begins anew there, and does not commit over it."""
    seen: list[tuple[int, int]] = []
    consumer = client.consume(filled, group="g", session_timeout_s=1.2)
    async with running(consumer, seen):
        await until(lambda: len(seen) == 30)
        await _until_committed(client, 30)
        with pytest.raises(GroupNotEmpty):
            await client.groups.reset("g", "earliest")
        await client.groups.reset("g", 7, partitions=[TopicPartition(filled, 1)], force=True)
        await until(lambda: len(seen) == 33)
        assert sorted(seen[30:]) == [(1, 7), (1, 8), (1, 9)]
    assert await committed(client) == {0: 10, 1: 10, 2: 10}


async def test_a_reset_that_came_in_the_background_is_not_undone(client: Client, topic: str) -> None:
    """A program that has a record in hand commits in the epoch that it read it in."""
    await fill(client, topic, 10)
    async with client.consume(topic, group="g", commit="manual", session_timeout_s=1.2) as consumer:
        records = aiter(consumer)
        assert [(await anext(records)).offset for _ in range(10)] == list(range(10))
        member = consumer._member
        was = member.epoch
        await client.groups.reset("g", 2, partitions=[TopicPartition(topic, 0)], force=True)
        await until(lambda: member.epoch > was)
        await consumer.commit()
        assert await committed(client) == {0: 2}
        assert (await anext(records)).offset == 2
        await consumer.commit()
        assert await committed(client) == {0: 3, 1: 0, 2: 0} or await committed(client) == {0: 3}
        await records.aclose()


async def test_a_client_that_is_closed_leaves_for_consumers_that_nobody_holds(
    client: Client, front: Front, filled: str
) -> None:
    """They are members as long as they are open."""
    async with Client(front.url) as other:
        await other.consume(filled, group="g").open()
        gc.collect()
        assert len((await client.groups.describe("g")).members) == 1
    assert (await client.groups.describe("g")).members == []


async def test_what_cannot_be_is_said_at_once(client: Client, filled: str) -> None:
    """Wrong options, unknown topics, no offset where one is needed; and a consumer is used once."""
    for wrong in (
        {"commit": 0},
        {"commit": "never"},
        {"start": 3},
        {"pattern": "a.*"},
        {"session_timeout_s": 0},
    ):
        with pytest.raises(InvalidRequest):
            client.consume(filled, group="g", **wrong)
    with pytest.raises(InvalidRequest):
        client.consume(group="g")
    with pytest.raises(UnknownTopic):
        await client.consume("nowhere", group="g").open()
    with pytest.raises(InvalidRequest):
        await client.consume(filled, group="g", session_timeout_s=0.01).open()
    with pytest.raises(NoCommittedOffset):
        await anext(aiter(client.consume(filled, group="g", start="none")))
    consumer = client.consume(filled, group="h", follow=False)
    assert len([1 async for _ in consumer]) == 30
    with pytest.raises(NotUsable):
        await anext(aiter(consumer))
    with pytest.raises(UnknownGroup):
        await client.groups.describe("nobody")


async def test_a_position_past_an_end_is_told_with_its_place(client: Client, filled: str) -> None:
    """Whoever has many partitions is told which it is, and goes on after a reset."""
    await client.groups.commit("g", {TopicPartition(filled, 1): 11})
    with pytest.raises(OffsetPastEnd, match=f"partition 1 of topic {filled}.*groups.reset") as caught:
        _ = [record async for record in client.consume(filled, group="g", follow=False)]
    assert (caught.value.fields["topic"], caught.value.fields["partition"]) == (filled, 1)
    await client.groups.reset("g", "latest", topics=[filled])
    assert [record async for record in client.consume(filled, group="g", follow=False)] == []


async def test_a_pattern_takes_topics_as_they_come(client: Client, filled: str) -> None:
    """Whole names that match."""
    await client.topics.create("t2", partitions=1)
    await fill(client, "t2", 3)
    consumer = client.consume(group="g", pattern="t[0-9]*", follow=False)
    seen = Counter([record.topic async for record in consumer])
    assert seen == {filled: 30, "t2": 3}


async def test_a_topic_that_is_made_again_begins_anew(client: Client, filled: str) -> None:
    """What was committed of the deleted one is void, and no commit of it fails what is read of others."""
    await client.topics.create("other", partitions=1)
    seen: list[tuple[int, int]] = []
    consumer = client.consume([filled, "other"], group="g", session_timeout_s=1.2)
    async with running(consumer, seen):
        await until(lambda: len(seen) == 30)
        await client.topics.delete(filled)
        await fill(client, "other", 4)
        await until(lambda: len(seen) == 34)
        await client.topics.create(filled, partitions=1)
        await fill(client, filled, 5)
        # Whoever comes or goes has the group look at its topics; at real nodes a change of topics does.
        await client.consume("other", group="g", follow=False).open()
        await until(lambda: len(seen) >= 39)
    topics = {each.topic: (each.topic_id, each.offset) for each in await client.groups.offsets("g")}
    assert topics[filled] == ((await client.topics.describe(filled)).topic_id, 5)
    assert topics["other"][1] == 4


async def test_groups_are_looked_after(client: Client, filled: str) -> None:
    """List, describe, lag, reset, delete."""
    await client.groups.commit("g", {TopicPartition(filled, 0): 4, TopicPartition(filled, 1): 10})
    assert [(each.group, each.state) async for each in client.groups.list()] == [("g", "empty")]
    lag = await client.groups.lag("g")
    assert (lag.lag, [each.lag for each in lag.partitions]) == (6, [6, 0])
    looked = await client.groups.reset("g", "-3", dry_run=True)
    assert [(each.before, each.after) for each in looked] == [(4, 1), (10, 7)]
    await client.groups.reset("g", {TopicPartition(filled, 2): 5})
    await client.groups.delete_offsets("g", filled, 0)
    assert await committed(client) == {1: 10, 2: 5}
    await client.groups.delete("g")
    assert [each async for each in client.groups.list()] == []


def _sync_program(url: str, topic: str) -> None:
    with SyncClient(url) as client:
        seen = []
        for record in client.consume(topic, group="s", follow=False):
            seen.append((record.partition, record.offset))
            if len(seen) == 11:
                break
        with client.consume(topic, group="s", commit="manual", follow=False) as consumer:
            rest = [(record.partition, record.offset) for record in consumer]
            consumer.commit()
        assert Counter(seen + rest) == Counter([*ALL, seen[-1]])
        assert {each.offset for each in client.groups.offsets("s")} == {10}
        assert client.groups.lag("s").lag == 0
        client.groups.delete("s")
        consumer = client.consume(topic, group="s")
        assert next(consumer).topic == topic
        assert len(consumer.assignment) == 3
        consumer.stop()
        assert len(list(consumer)) <= 1
        assert client.groups.describe("s").members == []


@pytest.mark.parametrize("name", ["caf\u00e9", "a b", "a/b", "..", ".", "x?y#z", "%2F", "\0", "g" * 255])
async def test_a_group_may_have_any_name(nodes: MemoryCluster, filled: str, name: str) -> None:
    """Whatever is one over HTTP is one here."""
    async with Client(nodes.urls["n1"]) as client:  # A proxy may change what has dots.
        got = [place_of(record) async for record in client.consume(filled, group=name, follow=False)]
        assert sorted(got) == ALL
        assert [group.group async for group in client.groups.list()] == [name]
        assert (await client.groups.lag(name)).lag == 0
        assert (await client.groups.describe(name)).group == name
        await client.groups.delete(name)
        assert [group async for group in client.groups.list()] == []


@pytest.mark.parametrize("name", ["", "g" * 256, "\u00e9" * 128, "\ud800"])
async def test_a_groups_name_is_neither_empty_nor_too_long(client: Client, name: str) -> None:
    with pytest.raises(InvalidName, match="1 to 255 bytes"):
        client.consume("orders", group=name)
    with pytest.raises(InvalidName, match="1 to 255 bytes"):
        await client.groups.describe(name)


async def test_the_same_without_an_event_loop(nodes: MemoryCluster, filled: str) -> None:
    """In a thread of its own."""
    await asyncio.to_thread(_sync_program, nodes.urls["n1"], filled)


async def _until_committed(client: Client, count: int) -> None:
    async with asyncio.timeout(60):
        while sum((await committed(client)).values()) != count:  # noqa: ASYNC110 - it is nodes' to tell
            await asyncio.sleep(0.005)


def _delete(path: str) -> Any:
    from floodmark.transport.http import Request

    return Request(method="DELETE", path=path)


def _soon() -> Any:
    from floodmark.transport.pacing import Deadline

    return Deadline(5)
