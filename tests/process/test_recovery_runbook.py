"""The runbook for the loss of a majority, run as docs/OPERATIONS.md has it, on real node processes."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import floodmark

from tests.support.processes import ProcessCluster

ROOT = Path(__file__).resolve().parents[2]
HEADING = "### Recovering from the loss of a majority"
SSH = """\
#!{python}
# Does on a node of the test what the command would do on its machine.
import os, socket, sys
host, *words = [word for word in sys.argv[1:] if word != "sudo"]
if words[:2] == ["-u", "floodmark"]:
    words = words[2:]
if words[0] == "floodmark":
    folder = {folders!r} + "/" + host
    words = [folder if word == "/var/lib/floodmark" else word for word in words]
    os.execvp("floodmark", words)
asked = socket.socket(socket.AF_UNIX)
asked.connect({path!r})
asked.sendall((" ".join([host, *words]) + "\\n").encode())
sys.exit(0 if asked.makefile().readline() == "done\\n" else "the test could not do it")
"""


def script() -> str:
    """All shell lines of the runbook."""
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    _, found, section = text.partition(f"\n{HEADING}\n")
    assert found
    blocks = re.findall(r"^```bash\n(.*?)^```", re.split(r"^#{2,4} ", section, flags=re.M)[0], re.S | re.M)
    assert len(blocks) == 2
    return "".join(blocks)


def program(path: Path, text: str) -> None:
    """A command that the shell finds."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


async def test_two_of_five_go_on_as_the_runbook_says(tmp_path: Path) -> None:
    """Three are killed and their disks are gone; what the two have is there, and is added to."""
    async with ProcessCluster.running(tmp_path / "cluster", 5) as cluster:
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create("orders", partitions=3, replication_factor=5)
            for number in range(30):
                await client.produce("orders", {"number": number}, partition=number % 3)
        await cluster.wait_caught_up("orders")
        lost = ("n1", "n2", "n3")
        await cluster.kill(*lost)
        for name in lost:
            shutil.rmtree(cluster.data_dir(name))

        steps: list[str] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked = (await reader.readline()).decode().split()
            steps.append(" ".join(asked))
            await (cluster.stop if asked[2] == "stop" else cluster.start)(asked[0])
            writer.write(b"done\n")
            writer.close()

        programs, path = tmp_path / "bin", f"\0floodmark-recovery-{os.getpid()}"
        program(programs / "floodmark", f'#!/bin/sh\nexec "{sys.executable}" -P -m cli.main "$@"\n')
        program(
            programs / "ssh", SSH.format(python=sys.executable, folders=str(tmp_path / "cluster"), path=path)
        )
        environment = {name: text for name, text in os.environ.items() if not name.startswith("FLOODMARK_")}
        environment |= {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "FLOODMARK_SERVER": cluster.nodes["n4"].url,
            "FLOODMARK_CONFIG": str(tmp_path / "config.toml"),
        }
        async with await asyncio.start_unix_server(answer, path):
            process = await asyncio.create_subprocess_exec(
                *("bash", "-euo", "pipefail", "-c", script()),
                cwd=tmp_path,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            async with asyncio.timeout(120):
                output = (await process.communicate())[0].decode()
        assert process.returncode == 0, output
        left = ("n4", "n5")
        assert steps == [f"{node} systemctl {what} floodmark" for what in ("stop", "start") for node in left]
        assert "left: n4, n5; lost for good: n1, n2, n3" in output
        await cluster.ready(*left)
        picture = await cluster.get_json("/v1/cluster")
        assert picture["cluster_epoch"] == 1
        (told,) = picture["recoveries"]
        assert told["lost_nodes"] == [*lost]
        assert (told["recovered_partitions"], told["emptied_partitions"]) == (3, 0)
        async with floodmark.Client([cluster.nodes[name].url for name in left]) as client:
            for partition in range(3):
                stored = await client.produce("orders", {"number": 99}, partition=partition)
                assert stored.offset == 10
