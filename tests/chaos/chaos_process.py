"""``floodmark chaos`` as a process, as people run it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

WAIT_S = 200

SHORT = """
name = "{name}"
duration_s = 5.5

[[fault]]
at_s = 1.5
for_s = 3
kind = "{kind}"
target = "leader"
"""


async def chaos(
    *args: str | Path, binary: Path, stderr: int = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    """Start it with the Toxiproxy at ``binary``."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("FLOODMARK_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "cli.main", "chaos", *args),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env={**environment, "TOXIPROXY_SERVER": str(binary)},
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Wait for its end: exit code, stdout, stderr. It is killed when it takes too long."""
    try:
        async with asyncio.timeout(WAIT_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), (err or b"").decode()
