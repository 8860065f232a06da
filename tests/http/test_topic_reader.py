"""Reading several partitions at once: what becomes of it when nobody wants it any more."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

from node.http.context import CONTEXT
from node.service.policy import Operation, topic
from node.service.request_context import RequestContext
from node.service.topic_reader import TopicReader
from tests.http.conftest import Harness


async def test_a_client_that_leaves_before_partitions_are_asked_leaves_nothing(http: Harness) -> None:
    """Cancelled in the very turn in which it began: no question is left that nobody ever asked."""
    await http.make_topic(partitions=3)
    context = http.servers["n1"].app[CONTEXT]
    partitions = [http.broker.partition("t", number) for number in range(3)]
    topic_id = http.broker.topic("t").topic_id
    with context.service.answers.hold("somebody") as hold, warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        permit = context.service.open_reads.permit(RequestContext(protocol="t"), Operation.READ, topic("t"))
        reader = TopicReader(
            context.service, hold, topic_id, partitions, ["0"] * 3, permit=permit, by_cursor=True
        )
        reader.begin(max_bytes=1 << 20)
        reading = asyncio.create_task(reader.next())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        gc.collect()
    assert [text for item in seen if "never awaited" in (text := str(item.message))] == []
