"""A ``floodmark dev`` that runs as a process, as people run it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from local.ports import PortBlock

STARTED = "Ctrl-C stops the cluster"
_WAIT_S = 90


@dataclass(slots=True)
class DevProcess:
    """The process, and everything that it has said so far."""

    process: asyncio.subprocess.Process
    environment: dict[str, str]
    text: str = ""

    async def says(self, words: str) -> None:
        """Read on until a line holds ``words``."""
        assert self.process.stdout is not None
        async with asyncio.timeout(_WAIT_S):
            while words not in self.text:
                line = await self.process.stdout.readline()
                assert line, f"it ended and never said {words!r}; it said:\n{self.text}"
                self.text += line.decode()

    async def ends(self) -> int:
        """Read on until the end; the exit code."""
        assert self.process.stdout is not None
        async with asyncio.timeout(_WAIT_S):
            self.text += (await self.process.stdout.read()).decode()
            return await self.process.wait()

    @property
    def urls(self) -> list[str]:
        """Where the nodes serve."""
        ready = re.search(r"^ready: (.*)$", self.text, re.MULTILINE)
        assert ready, self.text
        return re.findall(r"https?://\S+", ready[1])

    def nodes(self) -> list[psutil.Process]:
        """The node processes."""
        return psutil.Process(self.process.pid).children()

    def kill(self, name: str) -> None:
        """kill -9 the process that it said to be this node's last."""
        pids = re.findall(rf"^(?:ready:.* )?{name} .*?\(pid (\d+)\)", self.text, re.MULTILINE)
        os.kill(int(pids[-1]), signal.SIGKILL)

    async def floodmark(self, *args: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """Run another command with the same profiles: exit code, stdout, stderr."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "cli.main", *args),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
        )
        async with asyncio.timeout(_WAIT_S):
            out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def dev_process(folder: Path, *args: str) -> AsyncIterator[DevProcess]:
    """Start one with data and profiles in ``folder``; killed if the test leaves it.

    Its ports are its own: nobody else picks them meanwhile, also where a node of it is away.
    """
    environment = {name: text for name, text in os.environ.items() if not name.startswith("FLOODMARK_")}
    environment["FLOODMARK_CONFIG"] = str(folder / "config.toml")
    with PortBlock() as ports:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "cli.main", "dev", "--data", str(folder / "data")),
            *("--http-port", str(ports.first), "--peer-port", str(ports.first + ports.count // 2), *args),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
        )
        try:
            yield DevProcess(process, environment)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
