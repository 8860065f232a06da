"""Makes a report from one pass over the history and the checker's result."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from typing import Final, Protocol

from chaos.checker.check import CheckResult
from chaos.checker.violation import Kind
from chaos.history import End, Event, Invoke
from chaos.report import document
from chaos.report.bands import BandMaker
from chaos.report.fault_spans import FaultMaker, gap_of
from chaos.report.findings import show
from chaos.report.latencies import Latencies
from chaos.report.outages import OUTAGE_S_MIN, OutageMaker
from chaos.report.outcomes import ACKNOWLEDGED, FAILED, UNKNOWN, Outcomes
from chaos.report.pauses import PauseMaker
from chaos.report.series import SeriesMaker
from chaos.report.timescale import Timescale
from chaos.run import RunResult

RECOVERIES_MAX: Final = 200
_LOST = (Kind.LOST_PREFIX, Kind.LOST_MIDDLE, Kind.LOST_TAIL, Kind.LOST_ALL)
_COMMAND = "floodmark chaos run scenario.toml"
_NOT_COVERED = [
    "All nodes ran on one machine, with one kernel, clock and disk; several of each were not tested.",
    "The same seed gives the same faults at the same times; what processes do in between differs each time.",
    "What was not written, read or broken here was not checked: the figures say how much there was.",
    "Latencies are of operations that succeeded; failed ones show up as gaps.",
    "acks=leader and acks=none promise nothing that could be broken; a plain poll may show an older end.",
    "The cluster does not protect against nodes that lie to each other.",
]


class _Watcher(Protocol):
    def see(self, event: Event, call: Invoke | None) -> None: ...


class Collector:
    """Collects everything from the history, in memory that grows only with the number of records."""

    def __init__(self, times: Timescale) -> None:
        self.outcomes = Outcomes()
        self.series = SeriesMaker(times)
        self.bands = BandMaker(times)
        self.outages = OutageMaker(times)
        self.faults = FaultMaker(times)
        self.pauses = PauseMaker(times)

    def take(self, history: Iterable[Event]) -> None:
        """Show every event to all, an operation's end with its beginning."""
        watchers: list[_Watcher] = [self.outcomes, self.series, self.bands]
        watchers += [self.outages, self.faults, self.pauses]
        still_open: dict[int, Invoke] = {}
        for event in history:
            call: Invoke | None = None
            if isinstance(event, Invoke):
                still_open[event.op] = event
            elif isinstance(event, End):
                call = still_open.pop(event.op)
            for watcher in watchers:
                watcher.see(event, call)
        self.outcomes.finish(still_open.values())


def make_report(result: RunResult, history: Iterable[Event], scenario_toml: str) -> document.Report:
    """The report of one run."""
    times = Timescale(result.began_ns, result.ended_ns, result.began_wall_ns)
    collector = Collector(times)
    collector.take(history)
    leaders = collector.bands.finish()
    outages = collector.outages.finish()
    pauses = collector.pauses.finish()
    check = result.check
    return document.Report(
        version=document.VERSION,
        scenario=result.scenario.name,
        description=result.scenario.description,
        seed=result.seed,
        nodes=list(result.nodes),
        began=times.began,
        duration_s=times.duration_s,
        healed_s=times.seconds(result.healed_ns),
        machine=_machine(),
        verdict="clean" if result.is_clean else "violated",
        figures=_figures(check, collector.outcomes, times),
        violation_counts={kind.value: check.counts[kind] for kind in Kind if kind in check.counts},
        violations=show(check.violations, times, result.folder / "cluster", result.nodes),
        deaths=dict(result.deaths),
        unready=dict(result.unready),
        faults=collector.faults.finish(check.gaps),
        faults_left_out=collector.faults.left_out,
        outage_s_min=OUTAGE_S_MIN,
        outages=outages,
        outages_left_out=collector.outages.left_out,
        pauses=pauses,
        pauses_left_out=collector.pauses.left_out,
        leaders=leaders,
        leaders_left_out=collector.bands.left_out,
        series=collector.series.finish(),
        notes=list(result.notes),
        repeat=document.Repeat(command=_COMMAND, scenario_toml=scenario_toml),
        not_covered=_NOT_COVERED,
    )


def _figures(check: CheckResult, outcomes: Outcomes, times: Timescale) -> document.Figures:
    slowest = sorted(check.recoveries, key=lambda each: -each.seconds)[:RECOVERIES_MAX]
    slowest.sort(key=lambda each: (each.healed_ns, each.topic, each.partition))
    return document.Figures(
        records_sent=check.figures.records_sent,
        records_acknowledged=outcomes.counts[ACKNOWLEDGED],
        records_unknown=outcomes.counts[UNKNOWN],
        records_failed=outcomes.counts[FAILED],
        records_lost=sum(check.counts.get(kind, 0) for kind in _LOST),
        records_read=outcomes.records_read,
        reads=outcomes.reads,
        reads_failed=outcomes.reads_failed,
        metadata_operations=check.figures.metadata_operations,
        conditional_operations=check.figures.conditional_operations,
        replicas_checked=check.figures.replicas,
        longest_gap=next((gap_of(gap, times) for gap in check.gaps if gap.fault is None), None),
        recoveries=[
            document.Recovery(
                topic=each.topic,
                partition=each.partition,
                healed_s=times.seconds(each.healed_ns),
                seconds=round(each.seconds, 4),
            )
            for each in slowest
        ],
        recoveries_left_out=len(check.recoveries) - len(slowest),
        produce=_latency(outcomes.produce),
        read=_latency(outcomes.read),
    )


def _latency(latencies: Latencies) -> document.Latency:
    return document.Latency(
        count=latencies.count,
        p50_ms=latencies.quantile_ms(0.5),
        p99_ms=latencies.quantile_ms(0.99),
        max_ms=latencies.max_ms,
    )


def _machine() -> document.Machine:
    return document.Machine(
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        system=platform.system(),
        kernel=platform.release(),
        architecture=platform.machine(),
    )
