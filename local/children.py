"""Node processes of a local cluster: start them, and stop them all.

A child must not outlive this process, however that ends: each has the reading end of a pipe as its stdin and
stops when the operating system closes the other end (``start --stop-with-stdin``).
Children are in sessions of their own, so that Ctrl-C reaches only this process, which then stops them
in order. (A process group would do, but uvloop cannot make one, and a test's loop may be uvloop's.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local.private import private

STOP_TIMEOUT_S = 10.0
"""A node hands over and drains within this time after SIGTERM."""
_LAST_LINES = 12
_OF_ONE_NODE = tuple(f"FLOODMARK_{section}_" for section in ("NODE", "HTTP", "PEER", "CLUSTER"))
"""Variables that identify a single node are not passed on; others, like FLOODMARK_LOG_LEVEL, reach all."""


@dataclass(slots=True)
class Child:
    """One node process. Its output goes to ``log``."""

    name: str
    log: Path
    process: asyncio.subprocess.Process

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    def last_lines(self) -> str:
        """The end of the log, to show why a node ended."""
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            return "".join(f"  {self.name}: {line.rstrip()}\n" for line in deque(lines, _LAST_LINES))


async def start_child(name: str, *, config: Path, log: Path, code: Path | None = None) -> Child:
    """Start the node that ``config`` describes, with the Python that runs us.

    ``code``: a folder with the packages of another build, which come before those that run us.
    ``-P`` keeps the current folder off the module path: it may have a folder named ``cli``.
    """
    environment = {name: text for name, text in os.environ.items() if not name.startswith(_OF_ONE_NODE)}
    if code is not None:
        environment["PYTHONPATH"] = str(code)
    with open(log, "ab", opener=private) as out:  # noqa: ASYNC230 - a local file, opened once
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "cli.main", "start", "--config", str(config), "--stop-with-stdin"),
            stdin=asyncio.subprocess.PIPE,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env=environment,
        )
    return Child(name, log, process)


async def stop_children(children: Sequence[Child]) -> list[Child]:
    """Send SIGTERM to all that still run, and SIGKILL to those that take too long, which are returned."""
    for child in children:
        _signal(child, signal.SIGTERM)
    waits = {asyncio.ensure_future(child.process.wait()): child for child in children}
    if not waits:
        return []
    _, late = await asyncio.wait(waits, timeout=STOP_TIMEOUT_S)
    for wait in late:
        _signal(waits[wait], signal.SIGKILL)
        await wait
    return [waits[wait] for wait in late]


def _signal(child: Child, number: signal.Signals) -> None:
    if child.runs:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(number)
