"""Worker processes from the outside: start one, wait for its answer."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from types import TracebackType
from typing import Any, Self

from bench.paths import ROOT
from bench.peers.tools import Tools
from bench.peers.work import Job, Outcome
from bench.processes import Failed, die_with_parent

_LAST_BYTES = 2_000
_LAST_LINES = 4


class WorkerProcess:
    """One measurement under way. Use it as ``with``: it is gone after."""

    def __init__(self, tools: Tools, job: Job) -> None:
        self._job = job
        self._process = subprocess.Popen(
            [str(tools.python), "-m", f"{job.package}.worker", json.dumps(job.as_dict())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - the benchmark has one thread
        )

    def wait_listening(self, seconds: float = 30.0) -> None:
        """Until a follower has said that it is ready."""
        while self.said(seconds) != "ready":
            pass

    def said(self, seconds: float = 30.0) -> str:
        """The next line that it prints before its answer. Raises ``Failed`` when none comes."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        said = b""
        while not said.endswith(b"\n"):
            readable, _, _ = select.select(
                [self._process.stdout], [], [], max(0.0, deadline - time.monotonic())
            )
            more = os.read(self._process.stdout.fileno(), 1) if readable else b""
            if not more:
                raise Failed(f"the follower of {self._job.system} is not ready: {self._complaint()}")
            said += more
        return said.decode().strip()

    def outcome(self) -> Outcome:
        """Wait for its end. Raises ``Failed`` with what it complained about."""
        return Outcome(**self.answer())

    def answer(self) -> dict[str, Any]:
        """The same, of a worker whose answer is no ``Outcome``."""
        try:
            out, complaint = self._process.communicate(timeout=self._job.seconds + self._job.besides_s)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self._job.action} with {self._job.system} did not end") from error
        if self._process.returncode:
            text = complaint.decode(errors="replace").strip()[-_LAST_BYTES:].splitlines()[-_LAST_LINES:]
            raise Failed(f"{self._job.action} with {self._job.system} failed: {' '.join(text)}")
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found

    def _complaint(self) -> str:
        self._kill()
        assert self._process.stderr is not None
        return self._process.stderr.read().decode(errors="replace")[-_LAST_BYTES:]

    def _kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


def run_worker(tools: Tools, job: Job) -> Outcome:
    """From start to end."""
    with WorkerProcess(tools, job) as worker:
        return worker.outcome()
