"""A machine is rolled back to a copy of its disk that was made while its node ran."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import floodmark
import pytest

from tests.support.processes import ProcessCluster


def boot_of(folder: Path) -> int:
    """The boot number that stands in a data folder."""
    number: int = json.loads((folder / "node.json").read_text())["boot"]
    return number


def known_of(folder: Path, node: str) -> int:
    """The highest boot number of a node that the one with this folder has kept."""
    lines = (folder / "registry.log").read_text().split("\n")[:-1]
    boots = [change["boot"] for change in (json.loads(line[9:]) for line in lines) if "boot" in change]
    return max((number for peer, _, number, _ in boots if peer == node), default=0)


async def test_a_disk_that_was_set_back_costs_nothing_that_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are killed, and only the copy and a node that was away have to elect first."""
    monkeypatch.setenv("FLOODMARK_STORAGE_BOOT_INTERVAL_S", "0.3")
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create("t", partitions=1, replication_factor=3)
            for number in range(5):
                await client.produce("t", {"n": number})
            leader = await cluster.leader("t", 0)
            victim, away = sorted(cluster.nodes.keys() - {leader})
            folder, copy = cluster.data_dir(victim), tmp_path / "copy"
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.tmp"))
            async with asyncio.timeout(30):
                while known_of(cluster.data_dir(leader), victim) <= boot_of(copy):  # noqa: ASYNC110 - a file
                    await asyncio.sleep(0.05)
            await cluster.kill(away)
            for number in range(5, 30):
                await client.produce("t", {"n": number})
        await cluster.kill(victim, leader)
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)
        await cluster.start()
        await cluster.ready()
        async with floodmark.Client(cluster.urls) as client:
            assert [record.json()["n"] async for record in client.read("t")] == [*range(30)]
        await cluster.wait_caught_up("t")
        assert cluster.nodes[victim].log.read_text().count("data_folder_set_back") == 1
        sizes = [(cluster.data_dir(name) / "registry.log").stat().st_size for name in cluster.nodes]
        assert max(sizes) < 128 << 10
