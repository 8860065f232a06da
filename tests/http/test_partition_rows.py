"""What tells of every partition is made in slices, and once for all who ask."""

from __future__ import annotations

import asyncio

import pytest

from node.broker import TopicInfo
from node.service.topics import PARTITIONS_AT_ONCE as AT_ONCE
from tests.http.conftest import Harness

PARTITIONS = 3


@pytest.fixture
def looks(http: Harness, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many partitions each look at the topics brought."""
    found: list[int] = []
    real = http.broker.topics.page

    def counted(*, prefix: str, after: str, limit: int) -> list[TopicInfo]:
        page = real(prefix=prefix, after=after, limit=limit)
        found.append(sum(len(topic.partitions) for topic in page))
        return page

    monkeypatch.setattr(http.broker.topics, "page", counted)
    return found


async def make(http: Harness, topics: int) -> None:
    """Topics in the order of their names."""
    for number in range(topics):
        await http.make_topic(f"t{number:03}", partitions=PARTITIONS)


async def test_metrics_of_many_partitions_are_made_in_slices_and_once(
    http: Harness, looks: list[int]
) -> None:
    """Thirty scrapes at a time, and one just after, cost what one costs; each has all rows."""
    await make(http, 50)
    answers = await asyncio.gather(*(http.call("GET", "/metrics") for _ in range(30)))
    answers.append(await http.call("GET", "/metrics"))
    assert max(looks) <= AT_ONCE
    assert sum(looks) == 50 * PARTITIONS
    for answer in answers:
        rows = [
            line for line in answer.body.decode().splitlines() if line.startswith("floodmark_partition_l")
        ]
        assert rows.count('floodmark_partition_leader{topic="t049",partition="2",node="n1"} 1.0') == 1
        assert len(rows) == 2 * 50 * PARTITIONS


async def test_few_partitions_are_told_as_they_are(http: Harness) -> None:
    """Each scrape looks anew."""
    for number in range(3):
        await http.make_topic(f"t{number}")
        text = (await http.call("GET", "/metrics")).body.decode()
        assert text.count("floodmark_partition_leader{") == number + 1


async def test_a_long_list_of_topics_is_made_in_slices(http: Harness, looks: list[int]) -> None:
    """And is what it was: in order, within its bounds, by pages."""
    await make(http, 50)
    first = (await http.call("GET", "/v1/topics?limit=45")).json["topics"]
    assert [topic["topic"] for topic in first] == [f"t{number:03}" for number in range(45)]
    rest = (await http.call("GET", "/v1/topics?limit=45&after=t044")).json["topics"]
    assert [topic["topic"] for topic in rest] == [f"t{number:03}" for number in range(45, 50)]
    assert (await http.call("GET", "/v1/topics?prefix=x")).json == {"topics": []}
    assert max(looks) <= AT_ONCE
