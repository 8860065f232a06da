"""Data folders that earlier builds left open unchanged, and nothing in them is lost, doubled or moved."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import aiohttp
import floodmark
import pytest
from floodmark.errors import UnknownTopic

from storage.filesystem import RealFileSystem
from storage.verify import verify
from tests.compat.contents import contents
from tests.support.processes import ProcessCluster

_FOLDERS = Path(__file__).parent / "folders-0.1.0"


def _unpacked(name: str, tmp_path: Path) -> Path:
    with tarfile.open(_FOLDERS / f"{name}.tar.xz") as archive:
        archive.extractall(tmp_path)  # our own; not every Python 3.11 knows filters
    return tmp_path / name


async def _repeat(client: aiohttp.ClientSession, sent: dict[str, Any]) -> Any:
    headers = {"Producer-Id": "keeper", "Producer-Seq": str(sent["seq"]), "Content-Type": "application/json"}
    async with client.post(sent["path"], data=sent["body"], headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


@pytest.mark.parametrize(("name", "count"), [("one", 1), ("three", 3)])
async def test_the_data_of_build_0_1_0_opens_and_goes_on(name: str, count: int, tmp_path: Path) -> None:
    """Every record is as it was, retries of what was stored are duplicates, and new records follow behind."""
    folder = _unpacked(name, tmp_path)
    expected = json.loads((_FOLDERS / f"{name}.json").read_text(encoding="utf-8"))
    for number in range(1, count + 1):
        for replica in verify(RealFileSystem(), str(folder / f"n{number}")):
            assert replica.is_sound, replica.findings
    async with (
        ProcessCluster.running(folder, count) as cluster,
        floodmark.Client(cluster.urls) as client,
        aiohttp.ClientSession(cluster.urls[-1]) as session,
    ):
        found = {}
        for place in expected["partitions"]:
            topic, partition = place.split("/")
            found[place] = await contents(client, topic, int(partition))
        assert found == expected["partitions"]
        for sent in expected["producer"]:
            answer = await _repeat(session, sent)
            assert answer["duplicate"] is True
            assert answer["first_offset"] == sent["answer"]["first_offset"]
        end = expected["partitions"]["orders/0"]["records"]
        assert await client.produce("orders", {"n": 1}, partition=0) == (0, end)
        with pytest.raises(UnknownTopic):
            await client.tail("gone", 0)
