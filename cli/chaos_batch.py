"""Many chaos runs, several at a time, within a bounded time; each is a process of its own.

So judging one run does not slow down the clients of another, and a run that hangs can be killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from chaos.run_record import CLUSTER_FOLDER, HISTORY_FILE
from chaos.scenario.toml_form import to_toml
from cli.chaos_row import FINE, Job, Watch, row_of, verdict_of
from cli.exits import OK, UNAVAILABLE, VIOLATED, Failure
from cli.session import talk

_SURPLUS_S: Final = 400.0
"""Time allowed beyond a run's timeline: nodes get two minutes to be ready, and two to catch up."""
STOPPED: Final = -signal.SIGTERM
_END_S: Final = 30.0
_TOLD: Final = 3
"""Lines of output shown for a run that did not conclude."""


class Batch:
    """Runs jobs until all are done or the time is up. ``rows`` gets one document per job, as they end."""

    def __init__(self, out: Path, seconds_max: float, *, keep_all: bool = False) -> None:
        self.rows: list[dict[str, Any]] = []
        self._out = out
        self._ends_at = time.monotonic() + seconds_max
        self._keep_all = keep_all
        self._late: list[tuple[Job, dict[str, Any]]] = []

    async def run(self, jobs: Iterable[Job], at_once: int) -> None:
        """Run the jobs, ``at_once`` at a time. However this ends, no process is left.

        Runs that were only late because the machine was overloaded are repeated at the end, alone.
        """
        waiting = iter(jobs)
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(self._work(waiting))
        for job in waiting:
            self._add(row_of(job, "not run", "the time was up"))
        for job, row in self._late:
            again = await self._one(job, is_again=True) if self._left_s() > 0 else None
            if again is None or again["verdict"] not in FINE:
                row["verdict"] = "violated"

    def _left_s(self) -> float:
        return self._ends_at - time.monotonic()

    async def _work(self, waiting: Iterator[Job]) -> None:
        while self._left_s() > 0:
            job = next(waiting, None)
            if job is None:
                return
            await self._one(job)

    async def _one(self, job: Job, *, is_again: bool = False) -> dict[str, Any]:
        """Make one run and return its row."""
        watch = Watch()
        file = self._out / f"{job.name}.toml"
        await asyncio.to_thread(file.write_text, to_toml(job.scenario), encoding="utf-8")
        try:
            code, out, err = await self._process(job, file)
        finally:
            file.unlink()
        if code == STOPPED and self._left_s() <= 0:
            return self._add(row_of(job, "not run", "the time was up before it ended", watch))
        if code not in (OK, VIOLATED) or not out:
            if code == UNAVAILABLE and "Toxiproxy" in err:
                raise Failure(err.strip(), exit_code=UNAVAILABLE)
            told = " / ".join(err.strip().splitlines()[-_TOLD:])
            return self._add(row_of(job, "broken", f"exit code {code}: {told}", watch))
        found = json.loads(out)
        busy = 0.0 if is_again else watch.busy()
        verdict, why = await asyncio.to_thread(verdict_of, job, found, busy)
        row = self._add(row_of(job, verdict, why, watch, found))
        if verdict == "late":
            self._late.append((job, row))
        if verdict in ("clean", "refused") and not self._keep_all:
            await asyncio.to_thread(_keep_report, Path(found["folder"]))
        return row

    def _add(self, row: dict[str, Any]) -> dict[str, Any]:
        self.rows.append(row)
        why = f": {row['why']}" if row["why"] else ""
        talk(f"{len(self.rows):4}  {row['verdict']:9} {row['scenario']}-{row['seed']}{why}")
        return row

    async def _process(self, job: Job, file: Path) -> tuple[int, str, str]:
        command = [sys.executable, "-P", "-m", "cli.main", "chaos", "run", str(file)]
        process = await asyncio.create_subprocess_exec(
            *(*command, "--seed", str(job.seed), "--out", str(self._out), "-o", "json"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches only us; we end the run
        )
        try:
            async with asyncio.timeout(min(job.scenario.duration_s + _SURPLUS_S, max(self._left_s(), 1.0))):
                out, err = await process.communicate()
        except TimeoutError:
            await _end(process)
            return STOPPED, "", "it took too long and was stopped"
        except BaseException:
            await _end(process)
            raise
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


def _keep_report(folder: Path) -> None:
    shutil.rmtree(folder / CLUSTER_FOLDER, ignore_errors=True)
    (folder / HISTORY_FILE).unlink(missing_ok=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM first, so that it stops its nodes; if it is killed its nodes end as well."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
