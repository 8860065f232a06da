"""The overview of ``floodmark dev`` once the cluster serves: where the leaders are, and what to try."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

import click

from cli.api import Api, Document, all_topics
from cli.cluster import leaders_of
from cli.flights import TOPIC as FLIGHTS
from cli.session import Target
from local.access import Access
from local.folder import LocalNode
from local.restarts import Restarts

_LOSES_NONE_MAX = 2
"""A cluster of up to this many nodes has no majority if one is lost."""


async def print_overview(nodes: Sequence[LocalNode], target: Target, options: str) -> None:
    """Leaders per topic, then lines for curl, one for each of up to three nodes."""
    async with Api(target) as api:
        cluster = await api.get("/v1/cluster")
        leaders = leaders_of(await all_topics(api))
    click.echo(f"\nmetadata leader: {cluster['metadata_leader']}")
    for topic in dict.fromkeys(leader["topic"] for leader in leaders):
        places = [f"{row['partition']}:{row['leader'] or '?'}" for row in leaders if row["topic"] == topic]
        shares = Counter(row["leader"] or "nobody" for row in leaders if row["topic"] == topic)
        click.echo(f"leaders of {topic}: {' '.join(places)}   ({_shares(shares)})")
    click.echo("\nany node answers any request:\n")
    urls = [node.url for node in nodes]
    for line in curl_lines(urls, flights_partition=_fullest(leaders, FLIGHTS), options=options):
        click.echo(f"  {line}")
    click.echo()


def kill_lines(nodes: Sequence[LocalNode], pids: Mapping[str, int], restarts: Restarts) -> str:
    """How to kill a node, and what happens then."""
    victim = nodes[1 % len(nodes)].name  # Not the first, which other commands use.
    others = "the others go on" if len(nodes) > _LOSES_NONE_MAX else "nothing is acknowledged without it"
    back = (
        "you start it again"
        if restarts.after_s is None
        else f"it is started again {restarts.after_s:g} s later"
    )
    return f"lose a node; {others}, and {back}:\n\n  kill -9 {pids[victim]}    # {victim}\n"


def _fullest(leaders: Sequence[Document], topic: str) -> int | None:
    """The partition of a topic with the most records; None if all are empty."""
    filled = [(row["high_watermark"] or 0, row["partition"]) for row in leaders if row["topic"] == topic]
    most, partition = max(filled, default=(0, 0))
    return partition if most else None


def _shares(shares: Counter[str]) -> str:
    return ", ".join(f"{node} leads {count}" for node, count in sorted(shares.items()))


def curl_options(access: Access) -> str:
    """What curl needs besides to be let in."""
    if access.ca is None:
        return ""
    ca, token_file = shlex.quote(str(access.ca)), shlex.quote(str(access.token_file))
    return f' --cacert {ca} -H "Authorization: Bearer $(cat {token_file})"'


def curl_lines(urls: Sequence[str], *, flights_partition: int | None, options: str = "") -> list[str]:
    """Commands that work as they are, in this order, each at another node."""
    first, second, third = (f"{urls[number % len(urls)]}/v1/topics" for number in range(3))
    lines = [
        f"""curl{options} -X PUT {second}/greetings -d '{{"partitions": 3}}'""",
        f"""curl{options} {third}/greetings/records -d '{{"key": "me", "value": "hello"}}'""",
        f"curl{options} '{first}/greetings/records'",
    ]
    if flights_partition is None:
        return lines
    return [f"curl{options} '{first}/{FLIGHTS}/partitions/{flights_partition}/records?from=-2'", *lines[:2]]
