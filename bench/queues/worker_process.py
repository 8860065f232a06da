"""Worker processes from the outside: start one, wait for its answer."""

from __future__ import annotations

import json
import os
import subprocess
from types import TracebackType
from typing import Final, Self

from bench.paths import ROOT
from bench.peers.tools import Tools
from bench.processes import Failed, die_with_parent
from bench.queues.work import Job, Outcome

_BESIDES_S: Final = 180.0
"""What a worker may take besides its own time bound: to connect, to fill."""
_LAST_LINES: Final = 4


class WorkerProcess:
    """One action under way. Use it as ``with``: it is gone after."""

    def __init__(self, tools: Tools, action: str, job: Job) -> None:
        self._what = f"{action} with {job.system}"
        self._timeout_s = job.seconds + _BESIDES_S
        self._process = subprocess.Popen(
            [str(tools.python), "-m", "bench.queues.worker", json.dumps(job.as_dict() | {"action": action})],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            preexec_fn=die_with_parent,  # noqa: PLW1509 - the benchmark has one thread
        )

    def outcome(self) -> Outcome:
        """Wait for its end. Raises ``Failed`` with what it complained about."""
        try:
            out, complaint = self._process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self._what} did not end") from error
        if self._process.returncode:
            raise Failed(f"{self._what} failed: {' '.join(complaint.strip().splitlines()[-_LAST_LINES:])}")
        return Outcome(**json.loads(out.splitlines()[-1]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
