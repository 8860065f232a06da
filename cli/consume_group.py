"""``floodmark consume -g``: reading as a member of a group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from floodmark.consumer.consumed import ConsumedRecord
from floodmark.groups.shapes import TopicPartition

from cli.api import TIMEOUT_S, require_topic
from cli.session import Target, talk

Write = Callable[[Sequence[ConsumedRecord]], None]


async def consume_as(
    group: str, server: Target, topic: str, write: Write, *, count: int | None, start: Any, follow: bool
) -> None:
    """Print, and commit what was printed."""
    await require_topic(server, topic)
    if count == 0:
        return
    left = count

    def on_gap(place: TopicPartition, first: int, following: int) -> None:
        talk(
            f"{following - first} records of {place.topic}/{place.partition} were removed by retention unread"
        )

    async with (
        server.client(timeout_s=TIMEOUT_S) as client,
        client.consume(topic, group=group, start=start, follow=follow, on_gap=on_gap) as consumer,
    ):
        while (chunk := await consumer.take()) is not None:
            records = chunk.records[:left]
            write(records)
            if left is not None:
                left -= len(records)
                if left == 0:
                    place = TopicPartition(topic, records[-1].partition)
                    await consumer.commit({place: records[-1].offset + 1})
                    return
            consumer.finish(chunk)
