"""The lines of docs/QUEUES.md, as they are, against a node."""

from __future__ import annotations

import ast
import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import floodmark as floodmark_client
import pytest
from click.testing import CliRunner
from floodmark import Client
from structlog.testing import capture_logs

from cli.main import floodmark
from tests.support.curl import with_curl
from tests.support.nodes import NodeCluster

TEXT = (Path(__file__).parents[2] / "docs" / "QUEUES.md").read_text()


def blocks(language: str) -> list[str]:
    """Those of code."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def lines() -> Iterator[str]:
    """Those that begin with a program, in order."""
    for block in blocks(""):
        yield from (line for line in block.splitlines() if re.match(r"curl |floodmark ", line))


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """Of a node, whose log would be taken for what commands print."""
    with capture_logs():
        async with NodeCluster.running(tmp_path, 1) as cluster:
            yield cluster["n1"].url


async def test_each_line_does_something(url: str, tmp_path: Path) -> None:
    """With receipts and names of dead letters that there are, in place of those that are only shown."""
    environment = with_curl(tmp_path)
    host = url.removeprefix("http://")
    count = 0
    async with Client(url) as client:
        for line in lines():
            count += 1
            changed = (
                re.sub(r"localhost:707\d", host, line).replace("wait=20s", "wait=0").replace("--wait 20s", "")
            )
            if "AQAAAAAA" in line:
                await client.produce("orders", count, key=f"k{count}")
                (record,) = await client.queues.receive("jobs", wait_s=10)
                changed = changed.replace("AQAAAAAA...", record.receipt)
            if "7-0-3" in line:
                changed = changed.replace("7-0-3", await letter(client))
            output = await run_line(changed, url, environment)
            assert '"status":4' not in output, (changed, output)
    assert count > 20


async def test_each_program_in_python_works_off_what_there_is(url: str) -> None:
    """Until there is nothing more; most of them would go on for ever."""
    done: list[object] = []

    async def charge(value: object) -> None:
        done.append(value)

    ran = 0
    async with Client(url) as client:
        await client.topics.create("orders", partitions=1)
        names = {"client": client, "floodmark": floodmark_client, "charge": charge}
        for program in blocks("python"):
            code = compile(
                program.replace("http://localhost:7070", url),
                "QUEUES.md",
                "exec",
                ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            )
            if "floodmark.sync" in program:
                continue  # It would not come back.
            is_worker = "charge" in program
            if is_worker:
                await client.produce("orders", ran)
            running = asyncio.create_task(eval(code, dict(names)))
            async with asyncio.timeout(60):
                while not running.done() and not (is_worker and ran in done):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            running.cancel()
            for ended in await asyncio.gather(running, return_exceptions=True):
                assert ended is None or isinstance(ended, asyncio.CancelledError), (program, ended)
            ran += 1
    assert ran >= 5
    assert [value for value in done if isinstance(value, int)] == sorted(done)


async def letter(client: Client) -> str:
    """A dead letter's name, once there is one."""
    async with asyncio.timeout(60):
        while not (found := [each.id async for each in client.queues.dead("jobs")]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found[0]


async def run_line(line: str, url: str, environment: dict[str, str]) -> str:
    """What it prints; it ends well."""
    if line.startswith("floodmark ") and "|" not in line:
        words = [*shlex.split(line)[1:], "--server", url]
        result = await asyncio.to_thread(CliRunner().invoke, floodmark, words, prog_name="floodmark")
        assert result.exit_code == 0, (line, result.output)
        return result.stdout
    if line.startswith("floodmark "):
        return ""  # A pipe of two commands, which are tried elsewhere.
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", line.replace("curl ", "curl -sS ", 1)),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, (line, output)
    return output
