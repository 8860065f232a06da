"""All measurements of one variant in one round, against servers that have just been started."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from bench.accounting import Usage, usage
from bench.peers.results import Figure
from bench.peers.rounds import in_words
from bench.peers.servers.base import Servers
from bench.peers.work import (
    FLOOD_RECORDS_MAX,
    FULL,
    MANY_CALLERS,
    PACED_LATE_MS_MAX,
    PACED_LEAD_IN_S,
    PACED_RATES,
    PACED_SIZE,
    Job,
    Outcome,
    Scale,
)
from bench.peers.worker_process import WorkerProcess, run_worker
from bench.processes import Failed

WAYS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "floodmark": {
        "waiting": ("client", "http"),
        "flood": ("records", "lists"),
        "read": ("records", "batches"),
    }
}
"""system -> action -> the ways that its client offers; the first is what ratios refer to."""
_IDLE_CORES = 0.15
_IDLE_TRIES = 10


class Session:
    """``rates`` remembers, over the rounds, at which fixed rate a variant could keep up."""

    def __init__(
        self,
        servers: Servers,
        scale: Scale,
        round_number: int,
        rates: dict[str, int],
        note: Callable[[str], None],
    ) -> None:
        """``note``: told of measurements that failed, and why."""
        self._servers = servers
        self._scale = scale
        self._round = round_number
        self._rates = rates
        self._topics = 0
        self._tell = note
        self._job = servers.job(Job, seconds=scale.seconds)

    def run(self) -> Iterator[Figure]:
        """Each figure as soon as it is there."""
        self._warm_up()
        for size in self._scale.sizes:
            for work, callers in (("one", 1), ("many", MANY_CALLERS)):
                topic = self._new_topic()
                for way in self._ways("waiting"):
                    job = self._job.to("waiting", topic, way=way, size=size, callers=callers)
                    yield from self._measure(work, job)
            yield from self._write_and_read(size)
        yield from self._paced()

    def _warm_up(self) -> None:
        """Some of these servers compile while they run: give them each kind of work for some seconds."""
        topic = self._new_topic()
        many = FLOOD_RECORDS_MAX[100]
        self._warm(self._job.to("flood", topic, size=100, count=many, way=self._ways("flood")[0]))
        self._warm(self._job.to("read", topic, size=100, count=many, way=self._ways("read")[0]))
        for callers in (MANY_CALLERS, 1):
            self._warm(
                self._job.to(
                    "waiting",
                    topic,
                    size=100,
                    callers=callers,
                    way=self._ways("waiting")[0],
                )
            )
        self._wait_idle()

    def _wait_idle(self) -> None:
        """Until the servers have compiled and flushed what the warming up gave them to do, or ten seconds."""
        for _ in range(_IDLE_TRIES):
            before = self._usage()
            time.sleep(1)
            if (self._usage() - before).cpu_s < _IDLE_CORES:
                return

    def _warm(self, job: Job) -> None:
        # A quick look at everything warms up less, too.
        seconds = self._servers.variant.warm_up_s * self._scale.seconds / FULL.seconds
        try:
            run_worker(self._servers.tools, replace(job, seconds=seconds))
        except Failed as error:
            self._note(f"warming up: {error}")

    def _write_and_read(self, size: int) -> Iterator[Figure]:
        """What the first way has written is what all ways read."""
        topic, written = "", 0
        for way in self._ways("flood"):
            job = self._job.to(
                "flood",
                self._new_topic(),
                way=way,
                size=size,
                count=FLOOD_RECORDS_MAX[size],
            )
            for figure in self._measure("flood", job):
                yield figure
                if not topic:
                    topic, written = job.topic, figure.records
        for way in self._ways("read") if topic else ():
            for figure in self._measure(
                "read", self._job.to("read", topic, way=way, size=size, count=written)
            ):
                if figure.records < written and figure.seconds < self._scale.seconds:
                    self._note(f"only {figure.records} of {written} acknowledged records could be read")
                else:
                    yield figure

    def _paced(self) -> Iterator[Figure]:
        """At the highest rate at which the variant keeps up; the lowest one counts whether or not it does."""
        name = self._servers.variant.name
        for rate in PACED_RATES:
            if rate > self._rates.get(name, PACED_RATES[0]):
                continue
            self._rates[name] = rate
            try:
                figure = self._pace_once(rate)
            except Failed as error:
                self._note(f"{rate}/s: {error}")
                continue
            late = figure.records < rate * self._scale.seconds or (figure.p99_ms or 0) > PACED_LATE_MS_MAX
            if not late or rate == PACED_RATES[-1]:
                yield figure
                return

    def _pace_once(self, rate: int) -> Figure:
        """One process writes, another one reads."""
        count = int(rate * self._scale.seconds)
        job = self._job.to("follow", self._new_topic(), size=PACED_SIZE, count=count, rate=rate)
        before = self._usage()
        with WorkerProcess(self._servers.tools, job) as follower:
            follower.wait_listening()
            wrote = run_worker(self._servers.tools, replace(job, action="pace"))
            came = follower.outcome()
        # The lead-in took its part of the processor as well.
        counted = job.seconds / (PACED_LEAD_IN_S + job.seconds)
        both = replace(came, client_cpu_s=(came.client_cpu_s + wrote.client_cpu_s) * counted)
        return self._figure("paced", job, both, (self._usage() - before) * counted)

    def _measure(self, work: str, job: Job) -> Iterator[Figure]:
        """One figure, or a note. The others go on: a client that gives up is no reason to know nothing."""
        before = self._usage()
        try:
            outcome = run_worker(self._servers.tools, job)
        except Failed as error:
            self._note(f"{work}, {job.size} B: {error}")
        else:
            yield self._figure(work, job, outcome, self._usage() - before)

    def _figure(self, work: str, job: Job, outcome: Outcome, used: Usage) -> Figure:
        return Figure(
            variant=self._servers.variant.name,
            way=job.way,
            work=work,
            size=job.size,
            round=self._round,
            records=outcome.records,
            seconds=outcome.seconds,
            p50_ms=outcome.p50_ms,
            p99_ms=outcome.p99_ms,
            p999_ms=outcome.p999_ms,
            server_cpu_s=used.cpu_s,
            client_cpu_s=outcome.client_cpu_s,
            written_bytes=used.written_bytes,
            target_rate=job.rate,
        )

    def _note(self, text: str) -> None:
        self._tell(f"{in_words(self._servers.variant, self._round)}: {text}")

    def _usage(self) -> Usage:
        return usage(process.pid for process in self._servers.processes)

    def _new_topic(self) -> str:
        self._topics += 1
        topic = f"t{self._topics}"
        run_worker(self._servers.tools, self._job.to("create", topic))
        return topic

    def _ways(self, action: str) -> tuple[str, ...]:
        return WAYS.get(self._servers.variant.system, {}).get(action, ("",))
