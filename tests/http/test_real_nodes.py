"""The examples of docs/HTTP.md, run with curl against three real nodes, each command at another one."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

from tests.support.nodes import NodeCluster

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "HTTP.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Every command of the document and what it says that comes back."""
    found = []
    for block in BLOCK.findall(DOCUMENT.read_text()):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def _curl_on_path(tmp_path: Path) -> dict[str, str]:
    """The environment for the examples; where the machine has no curl, a stand-in comes first on the path."""
    if shutil.which("curl"):
        return dict(os.environ)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "curl"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m tests.support.curl "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}


async def test_every_example_of_the_document_does_what_it_says(tmp_path: Path) -> None:
    """In order, since later ones build on earlier ones; every third one asks the same node."""
    environment = _curl_on_path(tmp_path)
    async with NodeCluster.running(tmp_path) as cluster:
        urls = [node.url for node in cluster.nodes.values()]
        for number, (command, expected) in enumerate(examples()):
            url = urls[number % len(urls)].removeprefix("http://")
            script = command.replace("localhost:7070", url).replace("curl ", "curl -sS ")
            process = await asyncio.create_subprocess_exec(
                *("bash", "-c", script),
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output = (await process.communicate())[0].decode()
            pattern = re.escape(expected.strip()).replace("…", ".*")
            assert re.fullmatch(pattern, output.strip(), re.DOTALL), (command, output)
    assert len(examples()) > 25
