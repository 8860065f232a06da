"""No topic brings a node more replicas than it takes, however many are made at once, and wherever."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from floodmark.errors import TooManyPartitions

from node import descriptors
from node.control.partition_room import PartitionRoom
from node.metadata.domains.nodes import RegisterNode
from node.metadata.domains.topics import CreateTopic
from node.metadata.machine import applied
from node.metadata.state import MetadataState
from node.metadata.topic_config import TopicConfig
from tests.support.nodes import NodeCluster

LIMIT = 10


def test_what_is_being_made_counts_until_it_has_come_to_something() -> None:
    """Two at once have the room of both; one that ended gives it back; what exists counts by the metadata."""
    state, room, limits = MetadataState(), PartitionRoom(), {"n1": 3, "n2": 5}
    for node in limits:
        applied(state, RegisterNode(node, "", "", "i", ""))
    two, one = [["n1", "n2"]] * 2, [["n1"]]
    with room.held(state, two, limits):
        with room.held(state, one, limits):
            with (
                pytest.raises(TooManyPartitions, match=r"n1 has .* 3 partitions and takes 3 .*bring 1"),
                room.held(state, one, limits),
            ):
                pass
            with room.held(state, [["n2"]] * 3, limits):
                pass
        with room.held(state, one, limits):
            pass
    applied(state, CreateTopic("t", 2, TopicConfig(), two))
    with pytest.raises(TooManyPartitions) as caught, room.held(state, two, limits):
        pass
    assert caught.value.fields == {"node": "n1", "partitions": 2, "limit": 3}
    with room.held(state, one, limits):
        pass


def test_the_limit_follows_from_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four a replica beside the reserve, which is a quarter where there are few; and there is an end."""
    for has, expected in ((1500, 311), (600, 112), (40, 7), (1 << 20, descriptors.PARTITIONS_MAX)):
        monkeypatch.setattr(descriptors, "limit", lambda has=has: has)
        assert descriptors.partitions_max(reserved=256) == expected, has


async def test_at_every_node_a_topic_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """Of topics that are made at once as many are made as fit, and DELETE makes room for the next."""
    async with NodeCluster.running(tmp_path, **{"limits.partitions_per_node_max": LIMIT}) as cluster:

        async def put(number: int, partitions: int) -> tuple[int, dict[str, Any]]:
            url = cluster[f"n{number % 3 + 1}"].url
            body = json.dumps({"partitions": partitions})
            async with cluster.session.put(f"{url}/v1/topics/t{number}", data=body) as answer:
                return answer.status, await answer.json(content_type=None)

        answers = await asyncio.gather(*(put(number, 4) for number in range(6)))
        assert sorted(status for status, _ in answers) == [201] * 2 + [409] * 4
        for status, document in answers:
            if status == 409:
                assert document["code"] == "too_many_partitions"
                assert document["limit"] == LIMIT
                assert "limits.partitions_per_node_max" in document["detail"]
        for number in range(10, 13):
            assert (await put(number, 3))[0] == 409
        made = next(number for number, (status, _) in enumerate(answers) if status == 201)
        async with cluster.session.delete(f"{cluster['n2'].url}/v1/topics/t{made}") as answer:
            assert answer.status == 204
        assert (await put(20, 6))[0] == 201
        async with cluster.session.get(f"{cluster['n1'].url}/v1/cluster/health") as answer:
            assert [node["partitions_max"] for node in (await answer.json())["nodes"]] == [LIMIT] * 3
