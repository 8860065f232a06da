"""The checker on real nodes: what clients recorded, and the data folders they leave behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import floodmark
import pytest
from floodmark.errors import FloodmarkError

from chaos.checker.check import check
from chaos.checker.final_state import read_final_state
from chaos.checker.options import CheckOptions
from chaos.checker.violation import Kind
from chaos.history import Bounds, Page, Produce, Produced, Read, Run, Tail
from chaos.history_file import HistoryWriter, read_history
from chaos.record_value import FOREIGN, decode, encode, value_id
from local.cluster import LocalCluster
from storage.filesystem import RealFileSystem
from tests.chaos.lateness import broken

TOPIC = "orders"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    """Three nodes; whatever runs still is stopped in the end."""
    cluster = LocalCluster(tmp_path / "nodes")
    try:
        await cluster.start()
        await cluster.ready()
        yield cluster
    finally:
        await cluster.stop()
        cluster.close()


async def write(client: floodmark.Client, history: HistoryWriter, first: int, count: int) -> None:
    """Records one after the other, each an operation."""
    for number in range(first, first + count):
        value = value_id(1, number)
        op = history.invoke("p1", Produce(TOPIC, 0, [value]))
        try:
            stored = await client.produce(TOPIC, encode(value, TOPIC, 0, size_bytes=100), partition=0)
        except FloodmarkError as error:
            history.unknown(op, error.code)
        else:
            history.ok(op, Produced(stored.offset))


async def read_all(client: floodmark.Client, history: HistoryWriter) -> None:
    """A tail, and one poll for every batch up to there."""
    op = history.invoke("c1", Tail(TOPIC, 0))
    tail = await client.tail(TOPIC, 0)
    history.ok(op, Bounds(tail.log_start_offset, tail.high_watermark))
    op = history.invoke("c1", Read(TOPIC, 0, 0))
    values = []
    async for record in client.read(TOPIC, 0):
        told = decode(record.value)
        values.append(FOREIGN if told is None else told.value)
    history.ok(op, Page([Run(0, values)], len(values), len(values)))


async def test_a_run_with_a_killed_node_is_clean_until_a_replica_is_tampered_with(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """Acknowledgements, reads and three data folders agree; a flipped bit in one of them is reported."""
    urls = [node.url for node in cluster.nodes.values()]
    path = tmp_path / "history.jsonl"
    with HistoryWriter(path) as history:
        history.producer(1, "p1", idempotent=False)
        async with floodmark.Client(urls) as client:
            await client.topics.create(TOPIC, partitions=1)
            await write(client, history, 0, 40)
            fault = history.fault_began("kill", ["n1"])
            await cluster.kill("n1")
            await write(client, history, 40, 40)
            history.fault_ended(fault)
            await cluster.start("n1")
            await cluster.ready("n1")
            history.healed()
            await write(client, history, 80, 40)
            await read_all(client, history)
            async with asyncio.timeout(30):
                # A node tells nobody when replicas have caught up; it has to be asked.
                while len((await client.topics.describe(TOPIC)).partitions[0].in_sync) < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    await cluster.stop()
    data_dirs = {name: str(cluster.data_dir(name)) for name in cluster.nodes}
    options = CheckOptions(replicas={(TOPIC, 0): frozenset(data_dirs)})
    result = check(read_history(path), read_final_state(RealFileSystem(), data_dirs), options)
    assert broken(result) == []
    assert (result.figures.records_sent, result.figures.replicas) == (120, 3)
    assert result.figures.records_acknowledged >= 118
    assert [gap.name for gap in result.gaps] == ["", "kill"]
    assert len(result.recoveries) == 1

    segment = max((cluster.data_dir("n2") / "groups").rglob("*.log"), key=lambda file: file.stat().st_size)
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    segment.write_bytes(damaged)
    found = check(read_history(path), read_final_state(RealFileSystem(), data_dirs), options)
    assert dict(found.counts) == {**result.counts, Kind.REPLICA_DAMAGED: 1}
