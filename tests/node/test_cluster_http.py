"""Three whole nodes through their HTTP ports: any node answers, whoever has the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from floodmark.errors import InvalidRequest, TopicExists
from floodmark.format import batch
from floodmark.format.record import Record

from node.broker import Acks
from node.control import controller
from node.metadata.topic_config import TopicConfig
from tests.support.nodes import NodeCluster, TestNode


async def call(
    cluster: NodeCluster, node: TestNode, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    """Status and JSON body of one request."""
    async with cluster.session.request(method, node.url + path, json=body) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_every_node_serves_a_topic_with_a_single_replica_somewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes without a replica ask who leads and pass the request on; also after a change of the leader."""
    monkeypatch.setattr(controller, "FIT_FOR_S", 600)  # It is not handed back.
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("single", partitions=3, replicas=1)
        await cluster.create("pair", partitions=1, replicas=2)
        expected: list[int] = []
        for topic in ("single", "pair"):
            for node in cluster.nodes.values():
                for number in range(3 if topic == "single" else 1):
                    path = f"/v1/topics/{topic}/partitions/{number}/records"
                    status, answer = await call(cluster, node, "POST", path, {"records": [{"value": number}]})
                    assert status == 200, answer
                    expected.append(answer["first_offset"])
        assert expected == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 1, 2]
        replicas = cluster["n1"].broker.topic("pair").partitions[0].replicas
        (outsider,) = set(cluster.nodes) - set(replicas)
        other = await cluster.hand_over("pair")
        path = "/v1/topics/pair/partitions/0/records"
        status, answer = await call(cluster, cluster[outsider], "GET", path)
        assert status == 200, answer
        assert len(answer["records"]) == 3
        status, described = await call(cluster, cluster[outsider], "GET", "/v1/topics/pair")
        assert described["partitions"][0]["leader"] == other.node_id
        assert described["partitions"][0]["high_watermark"] == 3


async def test_topics_are_made_changed_and_removed_through_any_node(tmp_path: Path) -> None:
    """Making one twice is fine when it is the same, and a conflict when it is not."""
    async with NodeCluster.running(tmp_path) as cluster:
        for node in cluster.nodes.values():
            status, _ = await call(cluster, node, "PUT", "/v1/topics/orders", {"partitions": 2})
            assert status == (201 if node.node_id == "n1" else 200)
            status, _ = await call(cluster, node, "PUT", "/v1/topics/orders", {"partitions": 3})
            assert status == 409
        status, _ = await call(
            cluster, cluster["n3"], "PATCH", "/v1/topics/orders", {"config": {"retention_ms": 5}}
        )
        assert status == 200
        leader = cluster[await cluster["n1"].broker.metadata.wait_leader(timeout_s=5)].broker
        assert leader.topic("orders").config == TopicConfig(retention_ms=5)
        with pytest.raises(InvalidRequest, match="has 3 nodes"):
            await leader.topics.create(
                "wide", partitions=1, replication_factor=4, config=TopicConfig(), timeout_s=5
            )
        with pytest.raises(TopicExists):
            await leader.topics.create(
                "orders", partitions=2, replication_factor=3, config=TopicConfig(), timeout_s=5
            )
        async with cluster.session.delete(cluster["n2"].url + "/v1/topics/orders") as answer:
            assert answer.status == 204
        async with cluster.session.delete(cluster["n1"].url + "/v1/topics/orders") as answer:
            assert (answer.status, (await answer.json())["code"]) == (404, "unknown_topic")
        await cluster.until(lambda: not cluster["n3"].running.metadata.state.topics, "everybody knows")
        status, _ = await call(cluster, cluster["n3"], "GET", "/v1/topics/orders")
        assert status == 404


@pytest.mark.parametrize("acks", list(Acks))
async def test_each_kind_of_acknowledgement_is_answered(tmp_path: Path, acks: Acks) -> None:
    """With none the offset is not known, with the others it is; the record is there in the end."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        partition = await cluster.on_leader("orders")
        body = batch.encode([Record(0, None, b"x")])
        answer = await partition.produce(body, batch.decode_header(body), acks=acks, timeout_s=10)
        assert answer.first_offset == (-1 if acks is Acks.NONE else 0)
        assert await partition.wait_records(0, wait_s=10)
        assert (await partition.fetch(0, max_bytes=1000)).next_offset == 1


async def test_retention_removes_old_segments_while_running(tmp_path: Path) -> None:
    """On every replica; what is left begins at the log's start, and a restart finds the same."""
    async with NodeCluster.running(tmp_path, **{"storage.retention_interval_s": 0.1}) as cluster:
        await cluster.create("orders", retention_bytes=20_000, segment_bytes=8_192)
        partition = await cluster.on_leader("orders")
        body = batch.encode([Record(0, None, b"x" * 2_000)])
        for _ in range(60):
            await partition.produce(body, batch.decode_header(body), acks=Acks.QUORUM, timeout_s=10)

        def starts() -> list[int]:
            return [
                node.broker.partition("orders", 0).bounds().log_start_offset
                for node in cluster.nodes.values()
            ]

        await cluster.until(lambda: min(starts()) >= 40, "old segments are gone")
        await cluster["n2"].stop()
        cluster["n2"].start()
        await cluster.ready()
        await cluster.until(lambda: min(starts()) >= 40, "and stay so")


async def test_a_lagging_follower_is_not_in_sync(tmp_path: Path) -> None:
    """Whoever is asked says what the leader knows."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        await cluster["n3"].stop()
        await cluster.leader("orders")
        for node in cluster.up:
            status, described = await call(cluster, node, "GET", "/v1/topics/orders")
            assert status == 200
            assert sorted(described["partitions"][0]["in_sync"]) == ["n1", "n2"]
        cluster["n3"].start()
        await cluster.ready()
        await cluster.until(
            lambda: len((cluster["n3"].broker.topic("orders")).partitions[0].in_sync) == 3, "in sync again"
        )


async def test_metrics_and_health_tell_of_the_node(tmp_path: Path) -> None:
    """The figures that OPERATIONS.md names are there."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        # The leader may serve before another node has heard who leads.
        await cluster.ready()
        node = cluster["n2"]
        assert await call(cluster, node, "GET", "/readyz") == (
            200,
            {"ready": True, "reasons": [], "warnings": []},
        )
        async with cluster.session.get(node.url + "/metrics") as answer:
            text = await answer.text()
        for name in (
            "floodmark_log_flush_seconds_bucket",
            "floodmark_leader_changes_total",
            "floodmark_replicas_failed_total",
            'floodmark_peer_queue_bytes{peer="n1"}',
            'floodmark_peer_connected{peer="n3"} 1.0',
            "floodmark_node_replicas 1.0",
            "floodmark_node_leaderships",
            "floodmark_node_log_bytes",
            "floodmark_node_inflight_bytes",
        ):
            assert name in text, name
