"""What all systems have in common: three servers on loopback, on free ports, with data in one folder."""

from __future__ import annotations

import random
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self, TypeVar

from bench.peers.tools import Tools
from bench.peers.variant import Variant
from bench.peers.work import Job
from bench.processes import Failed, ServerProcess, stop_all
from local.ports import LOOPBACK, pick_ports

J = TypeVar("J", bound=Job)
NODES = 3
_READY_TIMEOUT_S = 60.0
_KILL_TIMEOUT_S = 10.0
_PORTS = range(20_000, 31_000)
"""Below the range that the kernel takes outgoing ports from."""


class Servers:
    """Use it as ``with``: the servers are ready inside, and gone after."""

    variants: ClassVar[tuple[Variant, ...]] = ()
    record_files: ClassVar[str] = ""
    """What the paths of the files have in common that records are written to; "" when nothing else is."""

    def __init__(self, variant: Variant, tools: Tools, folder: Path) -> None:
        self.variant = variant
        self.tools = tools
        self.folder = folder
        self.processes: list[ServerProcess] = []
        self.addresses: list[str] = []
        """What clients connect to."""
        self._started: list[Callable[[], ServerProcess]] = []
        self._ready: list[Callable[[], bool]] = []

    def start(self) -> None:
        """Start all servers, set ``addresses``, and return when they are ready."""
        raise NotImplementedError

    @staticmethod
    def missing(tools: Tools) -> str | None:
        """Why the system cannot be had here; None when it can."""
        raise NotImplementedError

    def job(self, kind: type[J], *, seconds: float) -> J:
        """What all jobs that are done with these have in common; action, topic and the rest are to be set."""
        variant = self.variant
        return kind(variant.system, "", "", self.addresses, variant.options, seconds=seconds)

    def ports(self, count: int) -> list[int]:
        """Free ports."""
        return pick_ports(count, first=random.SystemRandom().choice(_PORTS))

    def node_folder(self, number: int) -> Path:
        """A new folder for one server's data."""
        path = self.folder / f"n{number + 1}"
        path.mkdir(parents=True)
        return path

    def run(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        """Start one server."""
        log = self.folder / f"{name}.log"
        start = partial(ServerProcess, command, log=log, cwd=self.folder, environment=environment)
        self._started.append(start)
        self.processes.append(start())

    def kill(self, number: int) -> None:
        """End one server (from 0) with SIGKILL, and return when it has ended."""
        self.processes[number].signal(signal.SIGKILL)
        if not self.processes[number].wait(_KILL_TIMEOUT_S):
            raise Failed(f"{self.variant.name}: server {number + 1} survived SIGKILL")

    def restart(self, number: int) -> None:
        """Start one that was killed again, and return when it is ready."""
        self.processes[number] = self._started[number]()
        self.wait_until(self._ready[number], f"restart of server {number + 1}")

    def wait_each(self, ready: Sequence[Callable[[], bool]], what: str) -> None:
        """Wait for all servers; ``ready`` tells of each, in their order, now and when it is restarted."""
        self._ready = list(ready)
        for is_ready in self._ready:
            self.wait_until(is_ready, what)

    def wait_until(self, is_ready: Callable[[], bool], what: str) -> None:
        """Ask again and again; raises ``Failed`` when a server ends, or after a minute."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not is_ready():
            for process in self.processes:
                process.check()
            if time.monotonic() > deadline:
                raise Failed(f"{self.variant.name}: {what} did not happen within {_READY_TIMEOUT_S:.0f} s")
            time.sleep(0.1)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            stop_all(self.processes)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop_all(self.processes)


def answers_ok(port: int, path: str) -> bool:
    """Whether an HTTP server on this port answers 200."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
