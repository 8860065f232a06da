"""A leader dies with produces in hand: who sent them in a producer's name is told what became of them."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from floodmark.errors import FloodmarkError
from floodmark.format import batch as codec
from floodmark.format.record import Record

from node.service.inside_answers import Asked
from node.service.partition_requests import AppendThere
from tests.support.nodes import NodeCluster, TestNode

RECORDS = "/v1/topics/t/partitions/0/records"
BATCH = {"Content-Type": "application/vnd.floodmark.batch;v=1"}


class Sent(NamedTuple):
    """A produce request, and whether the next leader is asked what became of it."""

    headers: dict[str, str]
    body: bytes
    is_asked_again: bool
    query: str = ""
    is_gap: bool = False


def _batch(value: str, *, sequence: int | None = 0) -> bytes:
    records = [Record(1, None, value.encode())]
    if sequence is None:
        return codec.encode(records)
    return codec.encode(records, producer_id=codec.producer_id_of(value), sequence=sequence)


def _sent(door: str) -> dict[str, Sent]:
    """By the value of its record, each in the name of a producer of its own."""
    named = {
        "Content-Type": "application/octet-stream",
        "Producer-Id": f"{door}-headers",
        "Producer-Seq": "0",
    }
    return {
        f"{door}-batch": Sent(BATCH, _batch(f"{door}-batch"), is_asked_again=True),
        f"{door}-headers": Sent(named, f"{door}-headers".encode(), is_asked_again=True),
        f"{door}-condition": Sent(
            {**BATCH, "If-Offset": "99"}, _batch(f"{door}-condition"), is_asked_again=False
        ),
        f"{door}-gap": Sent(BATCH, _batch(f"{door}-gap", sequence=5), is_asked_again=False, is_gap=True),
        f"{door}-nobody": Sent(BATCH, _batch(f"{door}-nobody", sequence=None), is_asked_again=False),
        f"{door}-leader": Sent(BATCH, _batch(f"{door}-leader"), is_asked_again=False, query="?acks=leader"),
    }


async def _post(cluster: NodeCluster, node: TestNode, sent: Sent) -> tuple[int, Any]:
    url = node.url + RECORDS + sent.query
    async with cluster.session.post(url, data=sent.body, headers=sent.headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def _stored(cluster: NodeCluster, node: TestNode) -> list[str]:
    headers = {"Accept": "application/x-ndjson"}
    async with cluster.session.get(f"{node.url}{RECORDS}?from=0", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        lines = (await answer.text()).splitlines()
    return [value for value in (_value(line) for line in lines) if value is not None]


def _value(line: str) -> str | None:
    found = json.loads(line)
    if "value_b64" in found:
        return base64.b64decode(found["value_b64"]).decode()
    value = found.get("value")
    return value if isinstance(value, str) else None


@pytest.mark.parametrize("stores", [True, False], ids=["stored", "not stored"])
async def test_the_next_leader_is_asked_what_became_of_a_producers_batch(
    tmp_path: Path, stores: bool
) -> None:
    """By way of a follower and of a node without a replica; nothing is stored twice.

    What no leader would recognise ends as unknown, and so does what the next leader refuses: that says
    nothing about the first one.
    """
    async with NodeCluster.running(tmp_path, 4) as cluster:
        await cluster.create("t", replicas=3)
        leader = await cluster.leader("t")
        replicas = leader.running.metadata.state.topics["t"].partitions[0].replicas
        follower = next(cluster[name] for name in replicas if name != leader.node_id)
        stranger = next(node for node in cluster.up if node.node_id not in replicas)
        doors = {node: _sent(node.node_id) for node in (follower, stranger)}
        count = sum(map(len, doors.values()))
        answers = leader.running.host.links.bulk.serve.__self__._answers  # type: ignore[attr-defined]
        append = answers._handlers[AppendThere]
        done: list[object] = []

        async def dies(request: AppendThere, asked: Asked) -> None:
            outcome: object = None
            if stores:
                try:
                    outcome = await append(request, asked)
                except FloodmarkError as error:
                    outcome = error
            done.append(outcome)
            if len(done) == count:
                leader.running.host.links.sever()
            await asyncio.Event().wait()

        answers._handlers[AppendThere] = dies
        asking = {
            value: asyncio.create_task(_post(cluster, node, sent))
            for node, values in doors.items()
            for value, sent in values.items()
        }
        await asyncio.gather(*asking.values())
        stored = await _stored(cluster, follower)
        assert len(stored) == len(set(stored))
        for node, values in doors.items():
            for value, sent in values.items():
                status, told = asking[value].result()
                if sent.is_asked_again:
                    assert (status, told.get("duplicate", False)) == (200, stores), (value, told)
                    assert stored[told["first_offset"]] == value
                    continue
                assert (status, told["code"]) == (504, "outcome_unknown"), (value, told)
                if sent.is_gap:
                    status, told = await _post(cluster, node, sent)
                    assert (status, told["code"]) == (409, "sequence_gap")
                    assert value not in stored
