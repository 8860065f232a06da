"""A replica whose log holds what only a newer build can read stays closed; all else goes on without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import pytest
import structlog.testing
from floodmark.format.frame import HEADER_BYTES, LEVEL, Frame, FrameKind, crc_of
from msgspec.structs import replace

from consensus.core.checkpoint_format import VERSION
from node.metadata.state import METADATA_GROUP
from node.metadata.this_build import THIS_BUILD
from storage import checkpoint as checkpoints
from storage.errors import LogTooNew
from storage.filesystem import RealFileSystem
from tests.support.damage import frames_in, group_of, hit, segments_of
from tests.support.nodes import NodeCluster, TestNode

COUNT = 20


async def produce(cluster: NodeCluster, url: str, topic: str, count: int = COUNT) -> None:
    """Records one by one."""
    path = f"{url}/v1/topics/{topic}/partitions/0/records"
    for n in range(count):
        async with cluster.session.post(path, json={"records": [{"value": n}]}) as answer:
            assert answer.status == 200, await answer.text()


async def read(cluster: NodeCluster, url: str, topic: str) -> list[int]:
    """All records."""
    async with cluster.session.get(f"{url}/v1/topics/{topic}/partitions/0/records") as answer:
        assert answer.status == 200, await answer.text()
        return [record["value"] for record in (await answer.json())["records"]]


async def reasons(cluster: NodeCluster, node: TestNode) -> list[str]:
    """What /readyz says."""
    async with cluster.session.get(f"{node.url}/readyz") as answer:
        found: list[str] = json.loads(await answer.text()).get("reasons", [])
        return found


def make_strange(node: TestNode, raft_group: int, index: int, **strange: Any) -> Path:
    """Let a frame of a stopped node be of a newer build, checksums and all; its segment."""
    for path in segments_of(node, raft_group):
        for position, header in frames_in(path):
            if header.index == index:
                with path.open("r+b") as file:
                    file.seek(position + HEADER_BYTES)
                    frame = header.with_payload(file.read(header.payload_length))
                    file.seek(position)
                    file.write(replace(frame, **strange).pack_header(header.synced))
                return path
    raise AssertionError(f"{node.node_id} has no frame {index}")


def add_strange(node: TestNode, raft_group: int) -> tuple[Path, int]:
    """Put such a frame behind the last one of a stopped node; its segment and index."""
    path = segments_of(node, raft_group)[-1]
    position, last = frames_in(path)[-1]
    payload = b"what a newer build writes"
    frame = Frame(
        last.index + 1,
        last.term,
        last.next_offset,
        last.append_time,
        1,
        FrameKind.RECORDS,
        payload,
        crc_of(payload),
        level=7,
    )
    with path.open("r+b") as file:
        file.seek(position + last.size)
        file.write(frame.pack_header() + payload)
    return path, frame.index


def contents(node: TestNode, raft_group: int) -> dict[str, bytes]:
    """Every file of a replica."""
    folder = node.data_dir / "groups" / str(raft_group)
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("where", ["middle", "end"])
async def test_a_too_new_replica_stays_closed_and_the_others_serve(tmp_path: Path, where: str) -> None:
    """Its bytes stay as they are, /readyz and the log name the frame, the node's other replicas run."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        await cluster.create("others")
        await produce(cluster, (await cluster.leader("orders")).url, "orders")
        await produce(cluster, (await cluster.leader("others")).url, "others")
        raft_group, other = group_of(cluster, "orders"), group_of(cluster, "others")
        node = cluster["n2"]
        log = node.running.host.group(raft_group).log
        last = cluster.up[0].running.host.group(raft_group).log.last_index
        await cluster.until(lambda: log.durable_index >= last, "all is there")
        await node.stop()
        if where == "middle":
            index = last // 2
            # Behind the checkpoint, as after a crash: what lies before it is not read at a start.
            (node.data_dir / "groups" / str(raft_group) / "checkpoint").unlink()
            path = make_strange(node, raft_group, index, level=7)
        else:
            path, index = add_strange(node, raft_group)
        before = contents(node, raft_group)
        with structlog.testing.capture_logs() as logs:
            node.start()
            await cluster.until(
                lambda: node.parts is not None and node.running.replicas.too_new, "it says that it is too new"
            )
        reason = f"frame {index} of {path} needs feature level 7, this build knows 6: start a newer Floodmark"
        assert [
            (entry["topic"], entry["reason"]) for entry in logs if entry["event"] == "replica_failed"
        ] == [("orders", reason)]
        await cluster.until(lambda: not node.running.replicas.opening, "the others run")
        assert node.running.replicas.too_new == [reason]
        assert reason in await reasons(cluster, node)
        async with cluster.session.get(f"{node.url}/metrics") as answer:
            told = await answer.text()
        assert "floodmark_replicas_too_new 1.0" in told
        assert f"floodmark_feature_level {LEVEL}.0" in told
        assert raft_group not in node.running.replicas.local
        assert other in node.running.replicas.local
        await cluster.ready("n1", "n3")
        await produce(cluster, cluster["n1"].url, "orders", 3)
        for each in cluster.up:
            assert await read(cluster, each.url, "orders") == [*range(COUNT), *range(3)]
            assert await read(cluster, each.url, "others") == list(range(COUNT))
        assert contents(node, raft_group) == before
        await node.stop()
        assert contents(node, raft_group) == before


@pytest.mark.parametrize("is_damaged", [False, True], ids=["sound", "with damage before it"])
async def test_one_met_by_the_scrub_ends_the_replica_and_nothing_is_mended(
    tmp_path: Path, is_damaged: bool
) -> None:
    """It lies before the checkpoint, where a start does not look. The replica is not opened again."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", segment_bytes=4096)
        await produce(cluster, (await cluster.leader("orders")).url, "orders", 60)
        raft_group = group_of(cluster, "orders")
        node = cluster["n3"]
        await node.stop()
        if is_damaged:
            hit(node, raft_group, 5)
        path = make_strange(node, raft_group, 8, kind=9)
        assert len(segments_of(node, raft_group)) > 2
        before = {name: data for name, data in contents(node, raft_group).items() if name.endswith(".log")}
        node.start()
        await cluster.until(
            lambda: node.parts is not None and node.running.replicas.too_new, "the scrub has met it"
        )
        assert node.running.scrub.damage_found == is_damaged
        (reason,) = node.running.replicas.too_new
        assert reason == f"frame 8 of {path} is of kind 9, this build knows 0 to 4: start a newer Floodmark"
        assert reason in await reasons(cluster, node)
        node.running.manager.failed(raft_group)
        await produce(cluster, cluster["n1"].url, "orders", 2)
        assert raft_group not in node.running.replicas.local
        after = contents(node, raft_group)
        assert {name: data for name, data in after.items() if name.endswith(".log")} == before
        assert not [name for name in after if "quarantine" in name or name.endswith("lost")]
        leader = await cluster["n1"].broker.metadata.wait_leader(timeout_s=10)
        await cluster[leader].broker.topics.delete("orders", timeout_s=10)
        await cluster.until(lambda: not Path(path).exists(), "a deleted topic's replica goes all the same")
        await cluster.until(lambda: not node.running.replicas.too_new, "nothing is too new")


async def test_a_checkpoint_with_a_state_of_a_newer_build_stops_that_replica_alone(tmp_path: Path) -> None:
    """It is found when the replica is put together; those that are opened with it run."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        await cluster.create("others")
        await produce(cluster, (await cluster.leader("orders")).url, "orders")
        raft_group, other = group_of(cluster, "orders"), group_of(cluster, "others")
        node = cluster["n2"]
        await node.stop()
        fs, folder = RealFileSystem(), str(node.data_dir / "groups" / str(raft_group))
        stored = checkpoints.load(fs, folder).checkpoint
        assert stored is not None
        state = msgpack.packb([VERSION + 1, *msgpack.unpackb(stored.state)[1:], "more"])
        checkpoints.save(fs, folder, replace(stored, state=state))
        before = contents(node, raft_group)
        before.pop(f"{folder}/synced")  # The log itself was opened: the mark notes that.
        node.start()
        await cluster.until(
            lambda: node.parts is not None and not node.running.replicas.opening, "the others run"
        )
        (reason,) = node.running.replicas.too_new
        assert reason.endswith(
            f"has version {VERSION + 1}, this build knows {VERSION}: start a newer Floodmark"
        )
        assert reason in await reasons(cluster, node)
        assert raft_group not in node.running.replicas.local
        assert other in node.running.replicas.local
        after = contents(node, raft_group)
        assert {name: data for name, data in after.items() if not name.endswith("/synced")} == before


async def test_a_node_whose_metadata_is_too_new_does_not_start(tmp_path: Path) -> None:
    """It knows nothing of the cluster then. Its folder stays as it is, and the other nodes go on."""
    async with NodeCluster.running(tmp_path) as cluster:
        node = cluster["n3"]
        await node.stop()
        path, index = add_strange(node, METADATA_GROUP)
        before = contents(node, METADATA_GROUP)
        node.start()
        reason = (
            f"^frame {index} of {path} needs feature level 7, this build knows 6: start a newer Floodmark$"
        )
        with pytest.raises(LogTooNew, match=reason):
            await node.ended()
        assert contents(node, METADATA_GROUP) == before
        await cluster.create("orders", replicas=2)
        await produce(cluster, (await cluster.leader("orders")).url, "orders", 1)


def test_a_build_has_one_feature_level() -> None:
    """What it can agree on with others is what it can read on its disk."""
    assert THIS_BUILD.highest == LEVEL
