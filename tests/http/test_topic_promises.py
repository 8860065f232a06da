"""What holds within one partition is not promised where the partition is chosen anew for each request."""

from __future__ import annotations

import msgspec
import pytest
from floodmark.format import batch
from floodmark.format.record import Record

from tests.http.conftest import Harness

TOPIC = "/v1/topics/t/records"
PROMISES = (
    {"Producer-Id": "p", "Producer-Seq": "0"},
    {"producer-id": "p", "producer-seq": "0", "producer-epoch": "3"},
    {"Producer-Id": "p"},
    {"Producer-Seq": "1"},
    {"Producer-Epoch": "1"},
    {"If-Offset": "0"},
    {"If-Offset": ""},
    {"Producer-Id": ""},
)
BATCH = "application/vnd.floodmark.batch;v=1"
BODIES = {
    "application/json": b'{"value":1,"partition":0}',
    "application/x-www-form-urlencoded": b'{"records":[{"value":1,"key":"k"}]}',
    "application/x-ndjson": b'{"value":1}\n',
    "application/vnd.msgpack": msgspec.msgpack.encode({"value": 1}),
    "application/octet-stream": b"x",
    BATCH: batch.encode([Record(0, None, b"x")]),
}


@pytest.fixture
def node_count() -> int:
    """Partition p is led by node p + 1, so the third node leads none of two."""
    return 3


@pytest.mark.parametrize("partitions", [1, 2])
async def test_a_promise_within_a_partition_is_refused_on_the_topic(http: Harness, partitions: int) -> None:
    """Every header, every kind of body, every node, one partition or more; the answer says where to post."""
    await http.make_topic(partitions=partitions)
    for node in http.servers:
        for kind, body in BODIES.items():
            for promise in PROMISES:
                headers = {"Content-Type": kind, **promise}
                answer = await http.call("POST", TOPIC, node=node, data=body, headers=headers)
                where = (node, kind, promise)
                assert (answer.status, answer.json["code"]) == (400, "invalid_request"), where
                assert "/v1/topics/t/partitions/N/records" in answer.json["detail"], where
    assert all(not log.frames for log in http.cluster.logs.values())


async def test_a_batch_that_names_its_producer_is_refused_on_the_topic(http: Harness) -> None:
    """It would go to another partition with each try; to a fixed one it goes once."""
    await http.make_topic(partitions=2)
    made = batch.encode([Record(0, b"k", b"x")], producer_id=batch.producer_id_of("p"), sequence=0)
    for node in http.servers:
        answer = await http.call("POST", TOPIC, node=node, data=made, headers={"Content-Type": BATCH})
        assert answer.status == 400
        assert "/v1/topics/t/partitions/N/records" in answer.json["detail"]
    assert all(not log.frames for log in http.cluster.logs.values())
    path = "/v1/topics/t/partitions/1/records"
    for node in http.servers:
        answer = await http.call("POST", path, node=node, data=made, headers={"Content-Type": BATCH})
        assert (answer.status, answer.json["first_offset"]) == (200, 0)
    assert len(http.cluster.logs["t", 1].frames) == 1
