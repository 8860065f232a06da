"""All measurements of one system, against servers that have just been started."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import psutil

from bench.peers.rounds import in_words
from bench.peers.servers.base import Servers
from bench.peers.worker_process import WorkerProcess
from bench.processes import Failed
from bench.queues.figures import Figure
from bench.queues.work import (
    AT_ONCE,
    BATCHES,
    ORDERS,
    PROGRAM,
    TOGETHER,
    WAYS,
    WORKERS,
    QueueJob,
    QueueOutcome,
    Scale,
)

_DELAY_S_MIN: Final = 10.0
_DELAYED_PER_S: Final = 25_000
"""The delay leaves time to write and to read all at this pace."""
_WORKING_S: Final = 900.0
"""For all steps of the delayed records."""
_DELAYED_WORKERS: Final = 16
_DELAYED_BATCH: Final = 100


class QueueSession:
    """Of these servers. ``rows`` is what all systems do; ``delayed`` is for ours alone."""

    def __init__(
        self, servers: Servers, scale: Scale, round_number: int, note: Callable[[str], None]
    ) -> None:
        """``note``: told of what failed, and why."""
        self._servers = servers
        self._name = servers.variant.name
        self._scale = scale
        self._round = round_number
        self._note = note
        self._blank = servers.job(QueueJob, seconds=scale.seconds)
        self._queues = 0

    def rows(self) -> Iterator[Figure]:
        """Each figure as soon as it is there. A measurement that fails is noted, and the others go on."""
        system = self._servers.variant.system
        for batch in BATCHES:
            for workers in WORKERS:
                for by_key in ORDERS[system]:
                    for way in WAYS[system]:
                        yield from self._measure("work", way, batch, workers, by_key=by_key)
        for at_once in AT_ONCE:
            for by_key in ORDERS[system]:
                yield from self._measure("program", PROGRAM, 1, at_once, by_key=by_key)

    def _measure(self, action: str, way: str, batch: int, callers: int, *, by_key: bool) -> Iterator[Figure]:
        work = f"{PROGRAM if way == PROGRAM else batch}x{callers}"
        where = f"{in_words(self._servers.variant, self._round)}, {work} {way}"
        count = self._scale.fill[batch]
        job = self._job(way=way, batch=batch, callers=callers, by_key=by_key, count=count)
        try:
            self._do("create", job)
            self._do("fill", job)
            found = self._do(action, job)
        except Failed as error:
            self._note(f"{where}: {error}")
            return
        if not found.seconds:
            self._note(f"{where}: nothing was settled")
            return
        value = found.records / found.seconds
        yield Figure(self._name, work, way, by_key, self._round, value, found.p50_ms, found.p99_ms)

    def delayed(self) -> Iterator[Figure]:
        """Written at once for one moment; read ahead for workers that wait; worked off when they are due."""
        count = self._scale.delayed
        delay_s = max(_DELAY_S_MIN, count / _DELAYED_PER_S)
        due_ms = _now_ms() + round(delay_s * 1000)
        job = self._job(
            way=TOGETHER,
            batch=_DELAYED_BATCH,
            callers=_DELAYED_WORKERS,
            count=count,
            seconds=_WORKING_S,
            deliver_at_ms=due_ms,
        )
        before = self._memory_mb()
        self._do("create", job)
        with WorkerProcess(self._servers.tools, job.to("work", job.topic)) as working:
            written = self._do("fill", job)
            yield self._step("write", count / written.seconds)
            while (known := self._do("look", job).delayed) < count and _now_ms() < due_ms:
                time.sleep(0.5)
            if known < count:
                self._note(f"{known} of {count} delayed records were known to the queue when they were due")
            yield self._step("memory", self._memory_mb() - before)
            found = QueueOutcome(**working.answer())
        if found.records < count:
            self._note(f"{found.records} of {count} delayed records were worked off")
        if found.first_ms is not None:
            yield self._step("late", found.first_ms - due_ms)
            yield self._step("deliver", found.records / (found.ended_ms - due_ms) * 1000)

    def _step(self, work: str, value: float) -> Figure:
        return Figure(self._name, work, "", by_key=False, round=0, value=value)

    def _memory_mb(self) -> float:
        """Resident, of all nodes together."""
        processes = self._servers.processes
        return sum(psutil.Process(process.pid).memory_info().rss for process in processes) / 1e6

    def _job(self, **fields: Any) -> QueueJob:
        """With a queue of its own."""
        self._queues += 1
        return self._blank.to("", f"q{self._queues}", **fields)

    def _do(self, action: str, job: QueueJob) -> QueueOutcome:
        """Raises ``Failed`` with what the worker complained about."""
        with WorkerProcess(self._servers.tools, job.to(action, job.topic)) as process:
            return QueueOutcome(**process.answer())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
