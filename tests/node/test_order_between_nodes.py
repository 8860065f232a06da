"""A producer's batches reach the leader in the order in which another node got them, whatever their sizes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from floodmark.format import batch as codec
from floodmark.format.record import Record

from node.broker import Acks
from node.http.context import CONTEXT
from node.service.leaders import LeaderThere
from tests.support.nodes import NodeCluster

SIZES = (4 << 20, 10, 300_000, 10, 1 << 20, 10, 10)


async def test_a_small_batch_does_not_overtake_a_large_one_of_its_producer(tmp_path: Path) -> None:
    """The leader would refuse it for the gap before it. All are under way at once."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t", replicas=3)
        leader = await cluster.leader("t")
        follower = next(node for node in cluster.up if node is not leader)
        service = follower.running.app[CONTEXT].service
        there = LeaderThere(service.inside, follower.broker.partition("t", 0), leader.node_id)
        name = codec.producer_id_of("p")
        batches = [
            codec.encode_with_header([Record(1, None, bytes(size))], producer_id=name, sequence=sequence)
            for sequence, size in enumerate(SIZES)
        ]
        stored = await asyncio.gather(
            *(there.append(batch, header, acks=Acks.QUORUM, timeout_s=20) for batch, header in batches)
        )
        assert [each.first_offset for each in stored] == list(range(len(SIZES)))
