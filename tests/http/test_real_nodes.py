"""The examples of docs/HTTP.md, run with curl against three real nodes, each command at another one."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tests.support.curl import with_curl
from tests.support.nodes import NodeCluster

DOCUMENT = Path(__file__).parents[2] / "docs" / "HTTP.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Every command of the document and what it says that comes back."""
    found = []
    for block in BLOCK.findall(DOCUMENT.read_text()):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


async def run(script: str, environment: dict[str, str]) -> str:
    """What it prints."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return (await process.communicate())[0].decode()


async def test_every_example_of_the_document_does_what_it_says(tmp_path: Path) -> None:
    """In order, since later ones build on earlier ones; every third one asks the same node."""
    environment = with_curl(tmp_path)
    async with NodeCluster.running(tmp_path) as cluster:
        urls = [node.url for node in cluster.nodes.values()]
        for number, (command, expected) in enumerate(examples()):
            url = urls[number % len(urls)].removeprefix("http://")
            script = command.replace("localhost:7070", url).replace("curl ", "curl -sS ")
            pattern = re.escape(expected.strip()).replace("…", ".*")
            async with asyncio.timeout(60):
                while True:
                    output = await run(script.replace("--max-time 2 ", "--max-time 60 "), environment)
                    if re.fullmatch(pattern, output.strip(), re.DOTALL):
                        break
                    is_later = '"code":"unavailable"' in output or output.strip() == "503"
                    assert is_later, (command, output)  # A leader changes: nothing was done.
                    await asyncio.sleep(0.2)
    assert len(examples()) > 25
