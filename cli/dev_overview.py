"""What ``floodmark dev`` prints once the cluster serves: where the leaders are, and what to try."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from cli.api import Api, Document, all_topics
from cli.cluster import leaders_of
from cli.flights import TOPIC as FLIGHTS
from local.folder import LocalNode


async def print_overview(nodes: Sequence[LocalNode]) -> None:
    """Leaders per topic, then lines for curl, one for each of up to three nodes."""
    async with Api(nodes[0].url) as api:
        cluster = await api.get("/v1/cluster")
        leaders = leaders_of(await all_topics(api))
    click.echo(f"\nmetadata leader: {cluster['metadata_leader']}")
    for topic in dict.fromkeys(leader["topic"] for leader in leaders):
        places = [f"{row['partition']}:{row['leader'] or '?'}" for row in leaders if row["topic"] == topic]
        shares = Counter(row["leader"] or "nobody" for row in leaders if row["topic"] == topic)
        click.echo(f"leaders of {topic}: {' '.join(places)}   ({_shares(shares)})")
    click.echo("\nany node answers any request:\n")
    for line in curl_lines([node.url for node in nodes], flights_partition=_fullest(leaders, FLIGHTS)):
        click.echo(f"  {line}")
    click.echo()


def _fullest(leaders: Sequence[Document], topic: str) -> int | None:
    """The partition of a topic that holds most, if any holds something."""
    filled = [(row["high_watermark"] or 0, row["partition"]) for row in leaders if row["topic"] == topic]
    most, partition = max(filled, default=(0, 0))
    return partition if most else None


def _shares(shares: Counter[str]) -> str:
    return ", ".join(f"{node} leads {count}" for node, count in sorted(shares.items()))


def curl_lines(urls: Sequence[str], *, flights_partition: int | None) -> list[str]:
    """Lines that work as they stand, in this order, each at another node."""
    first, second, third = (f"{urls[number % len(urls)]}/v1/topics" for number in range(3))
    lines = [
        f"""curl -X PUT {second}/greetings -d '{{"partitions": 3}}'""",
        f"""curl {third}/greetings/records -d '{{"key": "me", "value": "hello"}}'""",
        f"curl '{first}/greetings/records'",
    ]
    if flights_partition is None:
        return lines
    return [f"curl '{first}/{FLIGHTS}/partitions/{flights_partition}/records?from=-2'", *lines[:2]]
