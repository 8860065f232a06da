"""Numbers for producers: each once, at every node, whoever leads and whatever restarts."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import msgspec
from floodmark.errors import Conflict, InvalidRequest
from floodmark.format.frame import Frame, FrameKind, crc_of
from floodmark.format.limits import PRODUCER_EPOCH_MAX

from consensus.host.group_host import GroupHost
from node.metadata import commands
from node.metadata.command import Command
from node.metadata.domains.features import RaiseLevel
from node.metadata.domains.nodes import RegisterNode
from node.metadata.domains.producers import PRODUCER_ID_END, PRODUCER_IDS_MAX, AllocateProducerIds
from node.metadata.levels import NUMBERED_PRODUCERS
from node.metadata.machine import MetadataMachine
from node.metadata.state import METADATA_GROUP
from node.metadata.this_build import THIS_BUILD
from node.partition.producer_ids import BLOCK
from tests.support.newer import lead_metadata
from tests.support.nodes import NodeCluster, TestNode

LEVELS = dataclasses.replace(THIS_BUILD, highest=max(NUMBERED_PRODUCERS, THIS_BUILD.highest))
PATH = "/v1/producers"


async def _post(cluster: NodeCluster, node: TestNode, body: Any = None) -> tuple[int, Any]:
    async with cluster.session.post(node.url + PATH, json=body) as answer:
        return answer.status, await answer.json()


async def _raise(cluster: NodeCluster) -> None:
    body = {"level": NUMBERED_PRODUCERS}
    async with cluster.session.post(cluster["n1"].url + "/v1/cluster/features", json=body) as answer:
        assert answer.status == 200, await answer.text()
    for node in cluster.up:
        await node.broker.catch_up(timeout_s=10)


async def _ids(cluster: NodeCluster, count: int) -> list[int]:
    """From all nodes in turn, all at once."""
    calls = [_post(cluster, cluster.up[number % len(cluster.up)]) for number in range(count)]
    answers = await asyncio.gather(*calls)
    assert {(status, answer.get("producer_epoch")) for status, answer in answers} == {(200, 0)}, answers
    return [answer["producer_id"] for _, answer in answers]


def _blocks(cluster: NodeCluster) -> int:
    """How many were taken from the metadata so far."""
    found = {node.running.metadata.state.next_producer_id for node in cluster.up}
    return (max(found) - 1) // BLOCK


async def test_no_id_is_given_twice_whoever_leads_and_whatever_restarts(tmp_path: Path) -> None:
    """A call costs a block only where there is none left, however many call at once."""
    async with NodeCluster.running(tmp_path, formed_at=1) as cluster:
        for node in cluster.up:
            status, refusal = await _post(cluster, node)
            assert (status, refusal["code"], refusal["needs"]) == (
                409,
                "feature_level_needed",
                NUMBERED_PRODUCERS,
            )
            assert "`floodmark cluster upgrade --finalize 2`" in refusal["detail"]
            assert (await _post(cluster, node, {"producer_id": 1, "producer_epoch": 0}))[0] == 409
        await _raise(cluster)
        given = await _ids(cluster, 150)
        assert sorted(given) == list(range(1, 151))
        assert _blocks(cluster) == 1

        leader = next(node for node in cluster.up if node.running.metadata.leads_here)
        other = next(node for node in cluster.up if node is not leader)
        await lead_metadata(cluster, other.node_id)
        given += await _ids(cluster, 30)
        assert _blocks(cluster) == 2
        await lead_metadata(cluster, leader.node_id)
        given += await _ids(cluster, 30)
        assert _blocks(cluster) == 2, "it goes on with its own"
        for node in list(cluster.nodes.values()):
            await node.stop()
        for node in cluster.nodes.values():
            node.start()
        await cluster.ready()
        given += await _ids(cluster, 30)
        assert _blocks(cluster) == 3
        assert len(set(given)) == len(given)
        assert min(given) > 0


async def test_the_next_epoch_is_told_at_every_node_and_the_last_one_leads_to_a_new_id(
    tmp_path: Path,
) -> None:
    """What was never given out is 404; what is no id or epoch is 400, and says what is wrong."""
    async with NodeCluster.running(tmp_path, formed_at=1) as cluster:
        await _raise(cluster)
        (number,) = await _ids(cluster, 1)
        for node in cluster.up:
            for epoch in (0, 7, PRODUCER_EPOCH_MAX - 1):
                body = {"producer_id": number, "producer_epoch": epoch}
                assert await _post(cluster, node, body) == (
                    200,
                    {"producer_id": number, "producer_epoch": epoch + 1},
                )
            last = {"producer_id": number, "producer_epoch": PRODUCER_EPOCH_MAX}
            status, answer = await _post(cluster, node, last)
            assert (status, answer["producer_epoch"]) == (200, 0)
            assert answer["producer_id"] > number
            status, problem = await _post(cluster, node, {"producer_id": BLOCK + 1, "producer_epoch": 0})
            assert (status, problem["code"], problem["producer_id"]) == (404, "not_found", BLOCK + 1)
            for body, words in (
                ({"producer_id": 0, "producer_epoch": 0}, "producer_id is 1 to"),
                ({"producer_id": 1 << 63, "producer_epoch": 0}, "producer_id is 1 to"),
                ({"producer_id": 1, "producer_epoch": -1}, "producer_epoch is 0 to 32767"),
                ({"producer_id": 1, "producer_epoch": 1 << 15}, "producer_epoch is 0 to 32767"),
                ({"producer_id": 1}, "go together"),
                ({"producer_epoch": 1}, "go together"),
                ({"producer_id": "1", "producer_epoch": 0}, "not what is expected"),
                ({"id": 1}, "not what is expected"),
                ([], "not what is expected"),
            ):
                status, problem = await _post(cluster, node, body)
                assert (status, words in problem["detail"]) == (400, True), (body, problem)


async def test_calls_that_wait_share_one_block_and_a_lost_one_is_not_used(tmp_path: Path) -> None:
    """The answer to a block's command is lost: nobody gets its numbers, and all who ask again get others."""
    async with NodeCluster.running(tmp_path, 1, formed_at=1) as cluster:
        await _raise(cluster)
        host: GroupHost = cluster["n1"].running.host
        before = cluster["n1"].running.metadata.state.applied_index
        machine_outcome = cluster["n1"].running.metadata._machine
        real = machine_outcome.outcome
        machine_outcome.outcome = lambda _index: None  # type: ignore[method-assign]
        answers = await asyncio.gather(*(_post(cluster, cluster["n1"]) for _ in range(20)))
        assert {(status, answer["code"]) for status, answer in answers} == {(503, "unavailable")}
        machine_outcome.outcome = real  # type: ignore[method-assign]
        given = await _ids(cluster, 20)
        assert sorted(given) == list(range(given[0] // BLOCK * BLOCK + 1, given[0] // BLOCK * BLOCK + 21))
        assert min(given) > BLOCK
        assert host.group(METADATA_GROUP).applied_index <= before + 4


def _machine(*given: Command) -> MetadataMachine:
    machine = MetadataMachine(LEVELS)
    for index, command in enumerate(given, start=2):
        payload = commands.encode(command)
        machine.apply(Frame(index, 1, 0, 0, 0, FrameKind.COMMAND, payload, crc_of(payload)))
    return machine


NODE = RegisterNode("n1", "http://n1", "n1:1", "i", levels=(1, NUMBERED_PRODUCERS))


def test_below_the_level_nothing_is_given_out_and_nothing_written() -> None:
    """Also where a defect proposes it: a snapshot of level 1, read by older builds, has no place for it."""
    machine = _machine(NODE, AllocateProducerIds(5))
    assert isinstance(machine.outcome(3), Conflict)
    assert machine.state.next_producer_id == 1
    assert "next_producer_id" not in msgspec.msgpack.decode(machine.snapshot())["state"]
    machine = _machine(NODE, RaiseLevel(NUMBERED_PRODUCERS))
    assert msgspec.msgpack.decode(machine.snapshot())["state"]["next_producer_id"] == 1


def test_blocks_follow_each_other_also_behind_a_snapshot_and_end_with_the_range() -> None:
    """A block is as long as was asked for; what cannot be given changes nothing."""
    machine = _machine(NODE, RaiseLevel(NUMBERED_PRODUCERS), AllocateProducerIds(5), AllocateProducerIds(7))
    assert (machine.outcome(4), machine.outcome(5)) == (1, 6)
    later = MetadataMachine(LEVELS)
    later.restore(machine.snapshot())
    assert later.state.next_producer_id == 13

    def allocate(index: int, count: int) -> object:
        payload = commands.encode(AllocateProducerIds(count))
        later.apply(Frame(index, 1, 0, 0, 0, FrameKind.COMMAND, payload, crc_of(payload)))
        return later.outcome(index)

    for index, count in enumerate((0, -1, PRODUCER_IDS_MAX + 1), start=6):
        assert isinstance(allocate(index, count), InvalidRequest)
    later.state.next_producer_id = PRODUCER_ID_END - 2
    assert isinstance(allocate(9, 3), Conflict)
    assert allocate(10, 2) == PRODUCER_ID_END - 2
    assert isinstance(allocate(11, 1), Conflict)
