"""``floodmark dev`` with real node processes, without a terminal."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.cli.dev_process import STARTED, dev_process
from tests.support.curl import with_curl

_FLIGHTS = Path(__file__).parents[2] / "examples" / "flights" / "flights-2013-01.csv.gz"


@pytest.fixture
def some_flights(tmp_path: Path) -> Path:
    """The header and the first thousand flights."""
    file = tmp_path / "flights.csv"
    lines = gzip.decompress(_FLIGHTS.read_bytes()).splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:1_001]))
    return file


async def test_a_cluster_loads_the_flights_stops_cleanly_and_finds_them_again(
    tmp_path: Path, some_flights: Path
) -> None:
    """What `make run` does, twice; and the curl lines that it prints work as they stand."""
    environment = with_curl(tmp_path)
    async with dev_process(tmp_path, "--flights", str(some_flights)) as dev:
        await dev.says(STARTED)
        assert "produced 1,000 records" in dev.text
        assert "checked: all 1,000 flights are there" in dev.text
        assert "leaders of flights: 0:n" in dev.text
        assert len(dev.urls) == 3
        for line in [line for line in dev.text.splitlines() if line.startswith("  curl")]:
            done = await asyncio.to_thread(
                subprocess.run,
                f"{line} -s --fail --max-time 20",
                shell=True,
                env=environment,
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, (line, done)
            assert json.loads(done.stdout)
        nodes = dev.nodes()
        dev.process.send_signal(signal.SIGINT)
        assert await dev.ends() == 0
        assert dev.text.endswith("stopped\n")
        assert not any(node.is_running() for node in nodes)
    async with dev_process(tmp_path, "--flights", str(some_flights)) as dev:
        await dev.says(STARTED)
        assert "holds its 1,000 flights: nothing to produce" in dev.text
        assert "checked: all 1,000 flights are there" in dev.text
        dev.process.send_signal(signal.SIGTERM)
        assert await dev.ends() == 0


async def test_no_node_outlives_a_launcher_that_is_killed(tmp_path: Path) -> None:
    """Not even kill -9 of the launcher leaves nodes behind."""
    async with dev_process(tmp_path, "-n", "1") as dev:
        await dev.says(STARTED)
        (node,) = dev.nodes()
        dev.process.kill()
        gone, _ = await asyncio.to_thread(psutil.wait_procs, [node], timeout=30)
        assert gone == [node]


async def test_commands_against_a_real_node(tmp_path: Path) -> None:
    """Every command that talks to a cluster, through the profile that `dev` selected."""
    async with dev_process(tmp_path, "-n", "1") as dev:
        await dev.says(STARTED)

        async def code(*args: str) -> int:
            return (await dev.floodmark(*args))[0]

        async def printed(*args: str, stdin: bytes = b"") -> str:
            exit_code, out, err = await dev.floodmark(*args, stdin=stdin)
            assert exit_code == 0, err
            return out

        assert (
            await printed("topic", "create", "orders", "-p", "2", "--retention", "7d", "-o", "name")
            == "orders\n"
        )
        assert await code("topic", "create", "orders", "-p", "2", "--retention", "7d") == 0
        assert await code("topic", "create", "orders", "-p", "3") == 4
        assert await code("topic", "describe", "nothing") == 3
        assert await code("topic", "alter", "orders", "--retention", "none", "--retention-size", "1GiB") == 0
        config = json.loads(await printed("topic", "describe", "orders", "-o", "json"))["config"]
        assert (config["retention_ms"], config["retention_bytes"]) == (None, 1 << 30)

        lines = "".join(f'{{"id": {number}, "who": "k{number % 5}"}}\n' for number in range(3_000))
        placed = await printed("produce", "orders", "--key-field", "who", "-o", "jsonl", stdin=lines.encode())
        assert len(placed.splitlines()) == 3_000
        consumed = await printed("consume", "orders", "-o", "jsonl")
        ids: dict[str, list[int]] = {}
        for line in consumed.splitlines():
            ids.setdefault(json.loads(line)["key"], []).append(json.loads(line)["value"]["id"])
        assert ids == {f"k{key}": list(range(key, 3_000, 5)) for key in range(5)}
        assert len((await printed("consume", "orders", "-n", "7")).splitlines()) == 7
        assert len((await printed("consume", "orders", "--from", "-2")).splitlines()) == 4
        assert await printed("consume", "orders", "--from", "latest") == ""
        assert await code("consume", "orders", "-p", "9") == 3
        assert await code("consume", "orders", "-p", "0", "--from", "999999") == 3
        exit_code, _, err = await dev.floodmark("produce", "orders", stdin=b"1\nnope\n")
        assert (exit_code, "stdin: line 2" in err, "1 record of 1 bytes stored" in err) == (1, True, True)

        large = b'1\n"' + b"x" * (1 << 20) + b'"\n2\n'
        exit_code, _, err = await dev.floodmark("produce", "orders", stdin=large)
        assert (exit_code, "stdin: line 2: a record has" in err, "1 record of" in err) == (1, True, True), err

        health = json.loads(await printed("cluster", "health", "-o", "json"))
        assert (health["healthy"], health["reasons"], health["nodes"][0]["leads"]) == (True, [], 2)
        assert await code("node", "forget", "n1") == 4
        assert await code("node", "forget", "n9") == 3
        assert json.loads(await printed("cluster", "status", "-o", "json"))["topics"] == 1
        assert await printed("cluster", "leaders", "-o", "name") == "orders/0\norders/1\n"
        assert await printed("node", "list", "-o", "name") == "n1\n"
        assert (await printed("topic", "list")).splitlines()[1].split()[:3] == ["orders", "2", "1"]
        assert await code("topic", "delete", "orders") == 1
        assert (await printed("topic", "delete", "orders", "--yes", "-o", "table")).split() == [
            "NAME",
            "orders",
        ]
        assert await printed("topic", "list", "-o", "name") == ""
        assert await code("consume", "orders") == 3
