"""Data folders that earlier builds left open unchanged, and nothing in them is lost, doubled or moved.

``folders-0.1.0`` is from before there were feature levels, ``folders-level-1`` of the last build of level 1.
They go on at level 1, and are raised to what this build knows when their operator says so.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import aiohttp
import floodmark
import pytest
from floodmark import TOMBSTONE
from floodmark.errors import UnknownTopic

from node.metadata.this_build import THIS_BUILD
from storage.filesystem import RealFileSystem
from storage.verify import verify
from tests.compat.contents import contents
from tests.support.processes import ProcessCluster

_HERE = Path(__file__).parent


def _unpacked(archive_of: Path, tmp_path: Path) -> Path:
    with tarfile.open(archive_of.with_suffix(".tar.xz")) as archive:
        archive.extractall(tmp_path)  # our own; not every Python 3.11 knows filters
    return tmp_path / archive_of.name


async def _repeat(client: aiohttp.ClientSession, sent: dict[str, Any]) -> Any:
    headers = {"Producer-Id": "keeper", "Producer-Seq": str(sent["seq"]), "Content-Type": "application/json"}
    async with client.post(sent["path"], data=sent["body"], headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


def _is_sound(folder: Path, count: int) -> bool:
    nodes = [str(folder / f"n{number}") for number in range(1, count + 1)]
    return all(replica.is_sound for node in nodes for replica in verify(RealFileSystem(), node))


async def _finalize(session: aiohttp.ClientSession) -> tuple[int, int]:
    """The feature level before, and the one after raising it."""
    async with session.get("/v1/cluster/features") as answer:
        before = (await answer.json())["level"]
    async with session.post("/v1/cluster/features", json={"level": THIS_BUILD.highest}) as answer:
        assert answer.status == 200, await answer.text()
        return before, (await answer.json())["level"]


async def _check_stored(
    expected: dict[str, Any], client: floodmark.Client, session: aiohttp.ClientSession
) -> None:
    """Every record of before is as it was, and retries of it are duplicates."""
    for place, content in expected["partitions"].items():
        topic, partition = place.split("/")
        assert await contents(client, topic, int(partition), content["records"]) == content, place
    for sent in expected["producer"]:
        answer = await _repeat(session, sent)
        assert answer["duplicate"] is True
        assert answer["first_offset"] == sent["answer"]["first_offset"]


@pytest.mark.parametrize("of", ["folders-0.1.0", "folders-level-1"])
@pytest.mark.parametrize(("name", "count"), [("one", 1), ("three", 3)])
async def test_the_data_of_an_earlier_build_open_go_on_and_are_upgraded(
    of: str, name: str, count: int, tmp_path: Path
) -> None:
    """At level 1 first, where new records follow; then at this build's, where those follow that need it."""
    folder = _unpacked(_HERE / of / name, tmp_path)
    expected = json.loads((_HERE / of / f"{name}.json").read_text(encoding="utf-8"))
    end = expected["partitions"]["orders/0"]["records"]
    assert _is_sound(folder, count)
    async with (
        ProcessCluster.running(folder, count) as cluster,
        floodmark.Client(cluster.urls) as client,
        aiohttp.ClientSession(cluster.urls[-1]) as session,
    ):
        await _check_stored(expected, client, session)
        assert await client.produce("orders", {"n": 1}, partition=0) == (0, end)
        with pytest.raises(UnknownTopic):
            await client.tail("gone", 0)

        assert await _finalize(session) == (1, THIS_BUILD.highest)
        await _check_stored(expected, client, session)
        async with client.producer("orders") as producer:
            ack = await producer.send(TOMBSTONE, key="a", partition=0, headers=[("h", "1"), ("h", b"\xff")])
            assert (await ack).offset == end + 1
        await cluster.stop()
        await cluster.start()
        await cluster.ready()
        await _check_stored(expected, client, session)
        found = [record async for record in client.read("orders", 0, start=end)]
        assert [(record.offset, record.tombstone) for record in found] == [(end, False), (end + 1, True)]
        assert found[1].headers.pairs == [("h", b"1"), ("h", b"\xff")]
    assert _is_sound(folder, count)
