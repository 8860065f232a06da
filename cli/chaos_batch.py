"""Many chaos runs, some at the same time, within a bounded time: each a process of its own.

So the verdict over one run does not slow down another one's clients, and a run that hangs can be ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chaos.matrix.refusal import refusal_faults
from chaos.run_record import CLUSTER_FOLDER, HISTORY_FILE
from chaos.scenario.model import Scenario
from chaos.scenario.toml_form import to_toml
from chaos.verdict import judge
from cli.exits import OK, UNAVAILABLE, VIOLATED, Failure
from cli.session import talk

_SURPLUS_S: Final = 400.0
"""What a run may take beyond its timeline: nodes get two minutes to be ready, and two to catch up."""
_END_S: Final = 30.0
_TOLD: Final = 3
"""Lines of a run that did not conclude that are shown."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run to make. ``may_refuse``: see ``chaos.matrix.refusal``."""

    scenario: Scenario
    seed: int
    may_refuse: bool = False

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.scenario.name}-{self.seed}"


class Batch:
    """Runs jobs until all are done or the time is up. ``rows`` has one document for each, as they end."""

    def __init__(self, out: Path, seconds_max: float, *, keep_all: bool = False) -> None:
        self.rows: list[dict[str, Any]] = []
        self._out = out
        self._ends_at = time.monotonic() + seconds_max
        self._keep_all = keep_all

    async def run(self, jobs: Iterable[Job], at_once: int) -> None:
        """One after the other, or some at the same time. Whatever ends this, no process is left."""
        waiting = iter(jobs)
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(self._work(waiting))
        left = deque(itertools.islice(waiting, 1000))
        for job in left:
            self._add(job, "not run", why="the time was up")

    async def _work(self, waiting: Any) -> None:
        while self._ends_at - time.monotonic() > 0:
            job = next(waiting, None)
            if job is None:
                return
            await self._one(job)

    async def _one(self, job: Job) -> None:
        began = time.monotonic()
        file = self._out / f"{job.name}.toml"
        await asyncio.to_thread(file.write_text, to_toml(job.scenario), encoding="utf-8")
        try:
            code, out, err = await self._process(job, file)
        finally:
            file.unlink()
        seconds = round(time.monotonic() - began, 1)
        if code not in (OK, VIOLATED) or not out:
            if code == UNAVAILABLE and "Toxiproxy" in err:
                raise Failure(err.strip(), exit_code=UNAVAILABLE)
            told = " / ".join(err.strip().splitlines()[-_TOLD:])
            self._add(job, "broken", why=f"exit code {code}: {told}", seconds=seconds)
            return
        found = json.loads(out)
        folder = Path(found["folder"])
        verdict, why = "clean", ""
        if not found["clean"]:
            verdict, why = await asyncio.to_thread(_look_again, job, folder, found)
        self._add(job, verdict, why=why, seconds=seconds, found=found)
        if verdict != "violated" and not self._keep_all:
            await asyncio.to_thread(_keep_report, folder)

    async def _process(self, job: Job, file: Path) -> tuple[int, str, str]:
        command = [sys.executable, "-P", "-m", "cli.main", "chaos", "run", str(file)]
        process = await asyncio.create_subprocess_exec(
            *(*command, "--seed", str(job.seed), "--out", str(self._out), "-o", "json"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us; we tell it to end
        )
        left_s = self._ends_at - time.monotonic()
        try:
            async with asyncio.timeout(min(job.scenario.duration_s + _SURPLUS_S, max(left_s, 1.0))):
                out, err = await process.communicate()
        except TimeoutError:
            await _end(process)
            return -signal.SIGTERM, "", "it took too long and was ended"
        except BaseException:
            await _end(process)
            raise
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def _add(
        self, job: Job, verdict: str, *, why: str, seconds: float = 0.0, found: dict[str, Any] | None = None
    ) -> None:
        found = found or {}
        counts: dict[str, int] = found.get("counts", {})
        self.rows.append(
            {
                "scenario": job.scenario.name,
                "nodes": job.scenario.nodes,
                "seed": job.seed,
                "verdict": verdict,
                "records_acknowledged": found.get("records_acknowledged"),
                "records_lost": sum(count for kind, count in counts.items() if kind.startswith("lost_")),
                "longest_gap_s": found.get("longest_gap_s"),
                "recovery_s": found.get("recovery_s"),
                "seconds": seconds,
                "why": why,
                "notes": found.get("notes", []),
                "folder": found.get("folder"),
            }
        )
        if verdict != "not run":
            talk(f"{len(self.rows):4}  {verdict:9} {job.name}" + (f": {why}" if why else ""))


def _look_again(job: Job, folder: Path, found: dict[str, Any]) -> tuple[str, str]:
    """The verdict over a run that is not clean, and why. Blocks."""
    if job.may_refuse:
        wrong = refusal_faults(judge(folder))
        return ("violated", "; ".join(wrong)) if wrong else ("refused", "as it should: " + _in_short(found))
    return "violated", _in_short(found)


def _in_short(found: dict[str, Any]) -> str:
    parts = [f"{kind} {count}" for kind, count in found["counts"].items()]
    parts += [f"{node} ended with {code}" for node, code in found["deaths"].items()]
    parts += [f"{node} did not come back" for node in found["unready"]]
    return ", ".join(parts)


def _keep_report(folder: Path) -> None:
    shutil.rmtree(folder / CLUSTER_FOLDER, ignore_errors=True)
    (folder / HISTORY_FILE).unlink(missing_ok=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    """In order, so that it ends its nodes too; their deaths follow its own in any case."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
