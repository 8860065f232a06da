"""The rounds: every system once in each, in another order each time, against servers just started."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from bench.order import order_of
from bench.peers.servers.base import Servers
from bench.peers.systems import servers_of
from bench.peers.tools import Tools
from bench.peers.variant import Variant
from bench.processes import Failed
from bench.queues.work import AT_ONCE, BATCHES, ORDERS, PROGRAM, WAYS, WORKERS, Job, Outcome, Scale
from bench.queues.worker_process import WorkerProcess

_DELAY_S_MIN: Final = 10.0
_DELAYED_PER_S: Final = 25_000
"""The delay leaves time to write and to read all at this pace."""
_WORKING_S: Final = 900.0
"""For all steps of the delayed records."""
_DELAYED_WORKERS: Final = 16
_DELAYED_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement in one round."""

    variant: str
    work: str
    """``1x16`` (records a turn, workers), ``programx16`` (in hand at once), or a step of the delayed ones."""
    way: str
    by_key: bool
    round: int
    value: float
    """Records a second, but for ``memory`` (MB of all nodes) and ``late`` (ms after the time)."""
    p50_ms: float | None = None
    p99_ms: float | None = None


class Rounds:
    """``figures`` and ``notes`` grow as they go."""

    def __init__(self, tools: Tools, scale: Scale, tell: Callable[[str], None]) -> None:
        self._tools = tools
        self._scale = scale
        self._tell = tell
        self._queues = 0
        self.figures: list[Figure] = []
        self.notes: list[str] = []

    def run(self, variants: Sequence[Variant]) -> None:
        """All rounds."""
        for number in range(self._scale.rounds):
            for variant in order_of(number, variants):
                self._with_servers(variant, number, self._rows)

    def delayed(self, variant: Variant) -> None:
        """Once, on a cluster of its own."""
        self._with_servers(variant, 0, self._delayed)

    def note(self, text: str) -> None:
        """Something that belongs beside the figures."""
        self.notes.append(text)
        self._tell(text)

    def _with_servers(
        self, variant: Variant, number: int, measure: Callable[[Servers, int], Iterator[Figure]]
    ) -> None:
        """A failure is noted, and the others go on."""
        folder = Path(tempfile.mkdtemp(prefix=f"queues-{variant.name}-", dir=self._tools.folder))
        try:
            with servers_of(variant)(variant, self._tools, folder) as servers:
                for figure in measure(servers, number):
                    self.figures.append(figure)
                    self._tell(_line(figure))
        except Failed as error:
            self.note(f"round {number + 1} of {variant.name}: {error}")
        finally:
            shutil.rmtree(folder)

    def _rows(self, servers: Servers, number: int) -> Iterator[Figure]:
        system = servers.variant.system
        for batch in BATCHES:
            for workers in WORKERS:
                for by_key in ORDERS[system]:
                    for way in WAYS[system]:
                        job = self._job(servers, way=way, by_key=by_key, batch=batch, workers=workers)
                        yield from self._measure(servers, job, number)
        for at_once in AT_ONCE:
            for by_key in ORDERS[system]:
                job = self._job(servers, way=PROGRAM, by_key=by_key, batch=1, workers=at_once)
                yield from self._measure(servers, job, number)

    def _measure(self, servers: Servers, job: Job, number: int) -> Iterator[Figure]:
        is_program = job.way == PROGRAM
        work = f"{PROGRAM if is_program else job.batch}x{job.workers}"
        try:
            self._do("create", job)
            self._do("fill", job)
            found = self._do("program" if is_program else "work", job)
        except Failed as error:
            self.note(f"round {number + 1} of {servers.variant.name}, {work} {job.way}: {error}")
            return
        if not found.seconds:
            self.note(f"round {number + 1} of {servers.variant.name}, {work} {job.way}: nothing was settled")
            return
        yield Figure(
            servers.variant.name,
            work,
            job.way,
            job.by_key,
            number,
            found.records / found.seconds,
            found.p50_ms,
            found.p99_ms,
        )

    def _delayed(self, servers: Servers, _number: int) -> Iterator[Figure]:
        """Written at once for one moment; read ahead for workers that wait; worked off when they are due."""
        count, name = self._scale.delayed, servers.variant.name
        delay_s = max(_DELAY_S_MIN, count / _DELAYED_PER_S)
        due_ms = _now_ms() + round(delay_s * 1000)
        job = self._job(servers, batch=_DELAYED_BATCH, workers=_DELAYED_WORKERS, count=count, due_ms=due_ms)
        before = _memory_mb(servers)
        self._do("create", job)
        with WorkerProcess(self._tools, "work", job) as working:
            written = self._do("fill", job)
            yield self._step(name, "write", count / written.seconds)
            while (known := self._do("look", job).delayed) < count and _now_ms() < due_ms:
                time.sleep(0.5)
            if known < count:
                self.note(f"{known} of {count} delayed records were known to the queue when they were due")
            yield self._step(name, "memory", _memory_mb(servers) - before)
            found = working.outcome()
        if found.records < count:
            self.note(f"{found.records} of {count} delayed records were worked off")
        if found.first_ms is not None:
            yield self._step(name, "late", found.first_ms - due_ms)
            yield self._step(name, "deliver", found.records / (found.ended_ms - due_ms) * 1000)

    def _step(self, name: str, work: str, value: float) -> Figure:
        return Figure(name, work, "", by_key=False, round=0, value=value)

    def _job(
        self,
        servers: Servers,
        *,
        batch: int,
        workers: int,
        way: str = "together",
        by_key: bool = False,
        count: int | None = None,
        due_ms: int | None = None,
    ) -> Job:
        self._queues += 1
        return Job(
            system=servers.variant.system,
            action="",
            queue=f"q{self._queues}",
            addresses=servers.addresses,
            way=way,
            by_key=by_key,
            batch=batch,
            workers=workers,
            count=self._scale.fill[batch] if count is None else count,
            seconds=self._scale.seconds if due_ms is None else _WORKING_S,
            deliver_at_ms=due_ms,
            options=servers.variant.options,
        )

    def _do(self, action: str, job: Job) -> Outcome:
        """Raises ``Failed`` with what the worker complained about."""
        with WorkerProcess(self._tools, action, job) as process:
            return process.outcome()


def _memory_mb(servers: Servers) -> float:
    """Resident, of all nodes together."""
    return sum(psutil.Process(process.pid).memory_info().rss for process in servers.processes) / 1e6


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _line(figure: Figure) -> str:
    unit = {"memory": "MB", "late": "ms late"}.get(figure.work, "records/s")
    latency = (
        f"  p50 {figure.p50_ms:.2f} ms  p99 {figure.p99_ms:.2f} ms" if figure.p50_ms and figure.p99_ms else ""
    )
    order = "by key" if figure.by_key else ""
    return (
        f"round {figure.round + 1}  {figure.variant:<13} {figure.work:<7} {figure.way:<9} {order:<7}"
        f"{figure.value:>11,.0f} {unit}{latency}"
    )
