"""Runs the runbooks of docs/OPERATIONS.md as they are written there, in a shell.

``floodmark`` is this checkout's. ``ssh HOST COMMAND...`` goes to the test, which does on the node HOST what
the command would do on its machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[2]
_BLOCK: Final = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SSH: Final = """\
import json, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect({path!r})
asked.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
said = asked.makefile().readline()
sys.exit(0 if said == "0\\n" else said.strip() or "the test has no answer")
"""

OnHost = Callable[[str, list[str]], Awaitable[None]]
"""Does on a host what a command would, without its ``sudo``. What it raises makes ``ssh`` fail."""


def blocks(heading: str) -> list[str]:
    """The shell lines below a heading of the document, up to the next heading, block by block."""
    text = (_ROOT / "docs" / "OPERATIONS.md").read_text()
    _, found, section = text.partition(f"\n{heading}\n")
    assert found, f"no heading {heading!r}"
    return _BLOCK.findall(re.split(r"^#{2,4} ", section, maxsplit=1, flags=re.MULTILINE)[0])


class Shell:
    """Where runbooks are run, made by ``shell``."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    async def run(self, script: str, *, deadline_s: float = 120) -> str:
        """All that it prints. It has to end well, as each of its lines has."""
        with tempfile.TemporaryFile() as output:
            process = await asyncio.create_subprocess_exec(
                *("bash", "-euo", "pipefail", "-c", script),
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(deadline_s):
                        await process.wait()
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()
            output.seek(0)
            said = output.read().decode()
        assert process.returncode == 0, f"exit code {process.returncode}: {said}"
        return said


@contextlib.asynccontextmanager
async def shell(folder: Path, server: str, on_host: OnHost) -> AsyncIterator[Shell]:
    """``server``: the node that ``floodmark`` asks. ``folder`` is for what this needs; its path is short."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, *command = json.loads(await reader.readline())
        try:
            await on_host(host, [word for word in command if word != "sudo"])
        except Exception as error:  # noqa: BLE001 - the shell shows it, and the test with it
            writer.write(f"ssh {host}: {error!r}\n".encode())
        else:
            writer.write(b"0\n")
        writer.close()

    (programs := folder / "bin").mkdir()
    path = f"\0floodmark-runbook-{os.getpid()}-{id(folder)}"
    _program(programs / "floodmark", f'exec "{sys.executable}" -P -m cli.main "$@"\n')
    script = folder / "ssh.py"
    script.write_text(_SSH.format(path=path))
    _program(programs / "ssh", f'exec "{sys.executable}" "{script}" "$@"\n')
    environment = {name: text for name, text in os.environ.items() if not name.startswith("FLOODMARK_")}
    environment |= {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "FLOODMARK_SERVER": server,
        "FLOODMARK_CONFIG": str(folder / "config.toml"),
    }
    async with await asyncio.start_unix_server(answer, path):
        yield Shell(environment)


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
