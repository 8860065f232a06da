"""A metadata leader of an older build is asked over its HTTP for all that only it can do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from floodmark.errors import Conflict, FloodmarkError, NotFound

from node.http.context import CONTEXT
from node.http.older_metadata_leader import _topic
from node.metadata.levels import MEMBERSHIP
from node.service.administration import AT_METADATA_LEADER
from node.service.cluster import DescribeFeatures, RaiseLevel
from node.service.moves import MoveReplicas, WantedMove
from node.service.nodes import DrainNode, ForgetNode, Rebalance, RemoveNode, ReplaceNode
from node.service.producer_ids import InitProducerId
from node.service.requests import Request
from node.service.topic_changes import AlterTopic, ConfigChanges, CreateTopic, DeleteTopic
from tests.http.conftest import Harness

REQUESTS: list[tuple[Request[Any], type[FloodmarkError] | None]] = [
    (CreateTopic(topic="t", partitions=2, config=ConfigChanges(retention_ms=None)), None),
    (AlterTopic(topic="t", config=ConfigChanges(retention_ms=9)), None),
    (AlterTopic(topic="t", partitions=3), None),
    (DescribeFeatures(), None),
    (RaiseLevel(level=1), Conflict),
    (MoveReplicas(moves=[WantedMove("t", 0, ["n2"])]), None),
    (MoveReplicas(moves=[WantedMove("t", 0, None)]), None),
    (DrainNode(node="n2"), None),
    (DrainNode(node="n2", undo=True), None),
    (ForgetNode(node="n9"), NotFound),
    (RemoveNode(node="n2"), None),
    (ReplaceNode(node="n2", by="n3"), None),
    (Rebalance(begin=True), None),
    (InitProducerId(), None),
    (InitProducerId(producer_id=1, producer_epoch=0), None),
    (DeleteTopic(topic="t", topic_id=1), None),
]


@pytest.mark.parametrize("node_count", [3])
async def test_every_request_has_a_way_there_and_its_result_one_back(http: Harness) -> None:
    """As if it had been executed here: the same types, the same errors."""
    assert {type(request) for request, _ in REQUESTS} == {
        kind for kind, _ in AT_METADATA_LEADER.values() if kind.needs_level <= MEMBERSHIP
    }
    http.cluster.level = MEMBERSHIP
    http.cluster.metadata_leader = "n3"
    results = dict(AT_METADATA_LEADER.values())
    inside = http.servers["n1"].app[CONTEXT].service.inside
    for request, refusal in REQUESTS:
        if refusal is not None:
            with pytest.raises(refusal):
                await inside.ask("n3", request, timeout_s=5)
            continue
        found = await inside.ask("n3", request, timeout_s=5)
        assert isinstance(found, results[type(request)] or type(None)), request
    assert not http.cluster.topics


def test_a_topic_of_a_build_that_says_less_of_it_is_understood() -> None:
    """What is missing there is null, or what such builds do."""
    partition = {"partition": 0, "leader": "n1", "replicas": ["n1"], "in_sync": ["n1"]}
    partition |= {"high_watermark": 0, "log_start_offset": 0, "term": 1}
    config = {"retention_ms": None, "retention_bytes": None, "max_record_bytes": 1, "segment_bytes": 4096}
    older = {
        "topic": "t",
        "topic_id": 1,
        "replication_factor": 1,
        "config": config,
        "partitions": [partition],
    }
    topic = _topic(msgspec.json.encode(older))
    assert (topic.id, topic.batch_format, topic.partitions[0].leader_epoch) == (None, 1, None)
