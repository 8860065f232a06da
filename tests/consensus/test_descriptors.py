"""Running out of file descriptors (H6): the stock listener would be gone for good."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("tls", ["plain", "tls"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_the_listener_accepts_again_after_descriptors_ran_out(loop: str, tls: str) -> None:
    """H6: connections that stood go on meanwhile, and a new peer gets in once there are descriptors again."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.consensus.descriptors_child", loop, tls),
        cwd=ROOT,
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        async with asyncio.timeout(120):
            said = (await child.communicate())[0].decode()
    except TimeoutError:
        child.kill()
        await child.wait()
        raise
    steps = ("a connection could not be accepted", "links that stood go on", "accepts again")
    missing = [step for step in steps if step not in said.splitlines()]
    assert not missing, said
    assert child.returncode == 0, said
