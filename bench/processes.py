"""Processes of the benchmark: each in a process group of its own; none outlives the benchmark."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_STOP_TIMEOUT_S = 15.0
_LAST_LINES = 12
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A process ended, or was too slow. The message is for people."""


def die_with_parent() -> None:
    """To run in a child before its program: the kernel ends it when the benchmark is killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def exit_on_sigterm() -> None:
    """So that what was started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class ServerProcess:
    """One server; its output goes to ``log``."""

    def __init__(
        self, command: Sequence[str], *, log: Path, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - the benchmark has one thread
            )

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's as well."""
        return self._process.pid

    def check(self) -> None:
        """Raise ``Failed`` when it has ended."""
        if (code := self._process.poll()) is not None:
            lines = self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
            raise Failed(f"{self._process.args!r} ended with {code}: " + "\n".join(lines))

    def signal(self, number: signal.Signals) -> None:
        """Send to its whole process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def wait(self, seconds: float) -> bool:
        """Whether it ended in time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def stop_all(processes: Sequence[ServerProcess]) -> None:
    """SIGTERM to all, and SIGKILL to those that take too long."""
    for process in processes:
        process.signal(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    for process in processes:
        if not process.wait(max(0.1, deadline - time.monotonic())):
            process.signal(signal.SIGKILL)
            process.wait(_STOP_TIMEOUT_S)


def run(command: Sequence[str], *, seconds: float, cwd: Path | None = None, both: bool = False) -> str:
    """Run a command to its end and answer what it printed (``both``: on either stream).

    Raises ``Failed`` with what it complained about."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=cwd,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise Failed(f"there is no {command[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]} took longer than {seconds:.0f} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Failed(f"{Path(command[0]).name} ended with {done.returncode}: " + " ".join(said[-3:]))
    return done.stdout + done.stderr if both else done.stdout
