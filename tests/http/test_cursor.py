"""Reading all partitions behind one cursor."""

from __future__ import annotations

import asyncio
import base64

import msgspec
import pytest

from tests.http.conftest import Harness

RECORDS = "/v1/topics/t/records"


@pytest.fixture(params=[1, 3])
def node_count(request: pytest.FixtureRequest) -> int:
    """Alone, and with most partitions led elsewhere."""
    return int(request.param)


async def produce(http: Harness, first: int, count: int) -> None:
    """Numbered records, spread over the partitions by key."""
    records = [{"key": f"k{number}", "value": number} for number in range(first, first + count)]
    assert (await http.call("POST", RECORDS, json={"records": records})).status == 200


async def test_a_cursor_reads_everything_once(http: Harness) -> None:
    """In small pages, each asked of another node, nothing is missed and nothing comes twice."""
    await http.make_topic(partitions=6)
    await produce(http, 0, 50)
    nodes = list(http.cluster.urls)
    query, seen, last = "", [], {}
    for turn in range(60):
        page = (await http.call("GET", f"{RECORDS}?max_records=3{query}", node=nodes[turn % len(nodes)])).json
        for item in page["records"]:
            assert item["offset"] == last.get(item["partition"], -1) + 1
            last[item["partition"]] = item["offset"]
            seen.append(item["value"])
        query = f"&cursor={page['cursor']}"
        if not page["records"]:
            break
    assert sorted(seen) == list(range(50))


async def test_a_cursor_at_the_end_waits_for_any_partition(http: Harness) -> None:
    """``from=latest`` is pinned, so what is stored between two polls is not missed."""
    await http.make_topic(partitions=6)
    await produce(http, 0, 10)
    start = (await http.call("GET", f"{RECORDS}?from=latest")).json
    assert start["records"] == []
    await produce(http, 10, 1)
    page = (await http.call("GET", f"{RECORDS}?wait=60s&cursor={start['cursor']}")).json
    assert [item["value"] for item in page["records"]] == [10]
    polling = asyncio.create_task(http.call("GET", f"{RECORDS}?wait=60s&cursor={page['cursor']}"))
    for number in range(6):
        await http.cluster.logs["t", number].awaited()
    await produce(http, 11, 1)
    assert [item["value"] for item in (await polling).json["records"]] == [11]


async def test_a_partition_without_a_leader_does_not_hide_the_others(http: Harness) -> None:
    """Its records come later, with the same cursor; alone it is 503."""
    await http.make_topic(partitions=2)
    for partition in (0, 1):
        await http.call("POST", RECORDS, json={"value": partition, "partition": partition})
    leader = http.cluster.logs["t", 1].leader
    http.cluster.logs["t", 1].move(None)
    page = (await http.call("GET", RECORDS)).json
    assert [item["value"] for item in page["records"]] == [0]
    rest = await http.call("GET", f"{RECORDS}?cursor={page['cursor']}")
    assert (rest.status, rest.json["code"]) == (503, "unavailable")
    http.cluster.logs["t", 1].move(leader)
    later = (await http.call("GET", f"{RECORDS}?cursor={page['cursor']}")).json
    assert [item["value"] for item in later["records"]] == [1]


async def test_a_cursor_behind_retention_is_told_how_to_go_on(http: Harness) -> None:
    """410 with a cursor that starts where the log starts."""
    await http.make_topic(partitions=2)
    for value in range(3):
        await http.call("POST", RECORDS, json={"value": value, "partition": 0})
    page = (await http.call("GET", f"{RECORDS}?max_records=1")).json
    http.cluster.logs["t", 0].truncate_head(2)
    gone = await http.call("GET", f"{RECORDS}?cursor={page['cursor']}")
    assert (gone.status, gone.json["partition"]) == (410, 0)
    rest = (await http.call("GET", f"{RECORDS}?cursor={gone.json['cursor']}")).json
    assert [item["value"] for item in rest["records"]] == [2]


def forged(content: object) -> str:
    """Text that looks like a cursor."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(content)).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%ff",
        "A" * 7000,
        forged([2, 1, [0]]),
        forged([1, 1, [0, 0]]),
        forged([1, 1, [-5]]),
        forged([1, 1, [1 << 63]]),
        forged([1, 1, [0] * 1001]),
        forged({"a": 1}),
        forged([1, 1, [0], 4]),
        base64.urlsafe_b64encode(b"\x91" * 5000).decode(),
    ],
)
async def test_a_forged_cursor_is_400(http: Harness, cursor: str) -> None:
    """Nothing in it is believed."""
    await http.make_topic()
    answer = await http.call("GET", f"{RECORDS}?cursor={cursor}")
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")


async def test_a_cursor_of_a_deleted_topic_is_not_taken_for_its_successor(http: Harness) -> None:
    """The topic's id is part of it."""
    await http.make_topic()
    cursor = (await http.call("GET", RECORDS)).json["cursor"]
    await http.call("DELETE", "/v1/topics/t")
    await http.make_topic()
    stale = await http.call("GET", f"{RECORDS}?cursor={cursor}")
    assert (stale.status, stale.json["code"]) == (404, "topic_deleted")
