"""``floodmark cluster roll``: the nodes of a ``floodmark dev`` restarted in turn."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import floodmark

from local.control import socket_path
from local.health import unhealthy
from tests.cli.conftest import Invoke
from tests.cli.dev_process import STARTED, DevProcess, dev_process
from tests.process.ledger import Ledger

_ASKED = re.compile(r"^(n\d) stopped in order, as requested$", re.MULTILINE)


@contextlib.asynccontextmanager
async def rolling(dev: DevProcess, data: Path) -> AsyncIterator[DevProcess]:
    """A roll that goes on while the body runs, killed if the body leaves it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "cli.main", "cluster", "roll", "--data", str(data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dev.environment,
    )
    try:
        yield DevProcess(process, dev.environment)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_nodes_are_restarted_in_turn_and_an_interrupted_roll_goes_on(tmp_path: Path) -> None:
    """Under a producer at full speed: each node once in all, nothing lost, and no send fails."""
    async with dev_process(tmp_path) as dev:
        await dev.says(STARTED)
        async with floodmark.Client(dev.urls) as client:
            await client.topics.create("numbers", partitions=3, replication_factor=3)
        ledger = Ledger("numbers", 3)
        before = {process.pid for process in dev.nodes()}
        async with ledger.writing(dev.urls):
            await ledger.wait_acknowledged(500)
            async with rolling(dev, tmp_path / "data") as roll:
                await roll.says("hands its leaderships over and stops")
                roll.process.send_signal(signal.SIGINT)
                assert await roll.ends() == 130
                assert "interrupted: run 'floodmark cluster roll' again" in roll.text
                begun = roll.text.count("hands its leaderships over and stops")  # 2 where this test was slow.
            async with rolling(dev, tmp_path / "data") as roll:
                assert await roll.ends() == 0, roll.text
            assert roll.text.startswith("a roll was interrupted: "), roll.text
            assert re.findall(r"^(./3) n\d: all is in sync ", roll.text, re.MULTILINE) == [
                f"{number}/3" for number in range(begun + 1, 4)
            ]
            assert roll.text.endswith("all nodes were restarted\n")
            await ledger.wait_acknowledged(500)
        assert not ledger.unsettled
        await ledger.check(dev.urls)
        assert not before & {process.pid for process in dev.nodes()}
        dev.process.send_signal(signal.SIGINT)
        assert await dev.ends() == 0
        assert sorted(_ASKED.findall(dev.text)) == ["n1", "n2", "n3"]
        assert not (tmp_path / "data" / "control").exists()


async def test_no_node_is_stopped_while_another_one_is_away(tmp_path: Path) -> None:
    """It says who is missed and what lacks a replica, ends with 5, and all is as it was."""
    async with dev_process(tmp_path, "--restart-after", "3600") as dev:
        await dev.says(STARTED)
        async with floodmark.Client(dev.urls) as client:
            await client.topics.create("numbers", partitions=1, replication_factor=3)
        dev.kill("n2")
        await dev.says("n2 is started again in 3600 s")
        before = {process.pid for process in dev.nodes()}
        lacking = "1 partitions have too few replicas in sync: numbers/0"
        async with asyncio.timeout(60):  # The others take a while to hear that it is gone, and who leads now.
            while lacking not in await unhealthy({url: url for url in dev.urls}):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        code, _, said = await dev.floodmark("cluster", "roll", "--data", str(tmp_path / "data"))
        assert (code, said.splitlines()[0][:55]) == (
            5,
            "error: no node is restarted while something is wrong: n",
        )
        assert "node n2 does not answer" in said
        assert lacking in said
        assert {process.pid for process in dev.nodes()} == before
        dev.process.send_signal(signal.SIGINT)
        assert await dev.ends() == 0
        assert not _ASKED.findall(dev.text)


def test_a_folder_where_no_cluster_runs_is_said_to_be_one(tmp_path: Path, invoke: Invoke) -> None:
    """Also where a cluster that was killed left its socket behind, and where the path is long."""
    folder = tmp_path / ("x" * 120)
    for left in ("nothing", "a folder", "a socket"):
        if left == "a folder":
            folder.mkdir()
        if left == "a socket":
            with socket_path(folder) as path, socket.socket(socket.AF_UNIX) as dead:
                dead.bind(path)
        result = invoke("cluster", "roll", "--data", str(folder))
        assert result.exit_code == 1
        assert f"no local cluster runs on {folder}, or it is not ready" in result.stderr
        assert "docs/OPERATIONS.md" in result.stderr
