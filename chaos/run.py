"""One run: a cluster, a workload, a scenario's faults, healing, and the verdict on the history."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import floodmark

from chaos.checker.final_state import DEAD_SUFFIX
from chaos.checker.options import Place
from chaos.cluster import ChaosCluster
from chaos.history_file import HistoryWriter
from chaos.recovery import unready_nodes, wait_caught_up, wait_moved, wait_scrubbed
from chaos.run_record import (
    CLUSTER_FOLDER,
    HISTORY_FILE,
    SCENARIO_FILE,
    ReplicasOf,
    RunRecord,
    write_record,
)
from chaos.scenario.model import RACES_TOPIC, Scenario
from chaos.scenario.timeline import Timeline
from chaos.scenario.toml_form import to_toml
from chaos.status import Status
from chaos.verdict import PROGRESS_S_MAX, RunResult, judge
from chaos.workload.downstream import Break, Downstream, plan_breaks
from chaos.workload.pauses import Pauses, plan_pauses
from chaos.workload.recorder import Recorder, Tally
from chaos.workload.sampler import Sampler
from chaos.workload.site import Site
from chaos.workload.workload import working

__all__ = ["RunResult", "judge", "run_scenario"]

_PROGRESS_MARGIN_S: Final = 1.0
"""Writing goes on for longer than progress may take: otherwise the history would end before the limit."""
_HEALED_S_MIN: Final = 2.0
_LOOK_AGAIN_S: Final = 0.1
_CREATE_TIMEOUT_S: Final = 30.0
_END: Final = "end of the run"
_THE_CLUSTER: Final = "the cluster"
"""Stands in for a node that does not come back: changes that do not end."""


async def run_scenario(
    scenario: Scenario, folder: Path, seed: int, *, status: Status | None = None, binary: Path | None = None
) -> RunResult:
    """Run it in ``folder``, which is new, and judge it. However this ends, no process is left.

    Raises ``ToxiproxyMissing``, ``LocalClusterError`` if the cluster does not start, ``FloodmarkError`` if
    the topics cannot be created, and ``FileExistsError`` if the folder already holds a run.
    """
    status = status or Status()
    with _begin(folder, scenario, seed) as history:
        status.enter(f"starting {scenario.nodes} nodes")
        async with ChaosCluster.running(
            folder / CLUSTER_FOLDER,
            scenario.nodes,
            further=scenario.further,
            binary=binary,
            scrub_interval_s=scenario.scrub_interval_s,
            secure=scenario.secure,
        ) as cluster:
            record = await _Run(scenario, seed, cluster, history, status).run()
    write_record(folder, record)
    status.enter("checking")
    return await asyncio.to_thread(judge, folder)


def _begin(folder: Path, scenario: Scenario, seed: int) -> HistoryWriter:
    folder.mkdir(parents=True, exist_ok=True)
    history = HistoryWriter(folder / HISTORY_FILE, seed=seed)
    (folder / SCENARIO_FILE).write_text(to_toml(replace(scenario, seed=seed)), encoding="utf-8")
    return history


class _Run:
    """The part of a run in which nodes run."""

    def __init__(
        self, scenario: Scenario, seed: int, cluster: ChaosCluster, history: HistoryWriter, status: Status
    ) -> None:
        self._scenario = scenario
        self._seed = seed
        self._cluster = cluster
        self._history = history
        self._status = status
        self._places = tuple(
            (topic, number) for topic in scenario.topics for number in range(scenario.partitions)
        )
        self._race: Place | None = (RACES_TOPIC, 0) if scenario.workload.racers else None
        self._topics = dict.fromkeys(scenario.topics, scenario.partitions)
        """All that records are written to, with their partitions."""
        if self._race is not None:
            self._topics[RACES_TOPIC] = 1
        if scenario.workload.queue_workers:
            self._topics[scenario.topics[0] + DEAD_SUFFIX] = scenario.partitions
        self._written = self._places if self._race is None else (*self._places, self._race)
        self._pauses = Pauses(plan_pauses(scenario, self._written, seed))

    async def run(self) -> RunRecord:
        """From the topics to the last node's end."""
        replicas = await self._make_topics()
        recorder = Recorder(self._history)
        sampler = Sampler(self._cluster, self._history, list(self._topics))
        self._status.watch(self._cluster, sampler.leaders, recorder.tally)
        site = Site(
            tuple(self._cluster.urls),
            self._places,
            self._scenario.workload,
            recorder,
            self._seed,
            access=self._cluster.access,
            race=self._race,
            pauses=self._pauses,
            downstream=Downstream(self._breaks()),
        )
        self._cluster.when_recovered = self._history.recovered
        timeline = Timeline(self._cluster, self._history, self._status)
        began_ns, began_wall_ns = time.monotonic_ns(), time.time_ns()
        async with working(site, sampler, replication=self._scenario.replication):
            self._status.start_timeline()
            await timeline.play(self._scenario, self._seed)
            healed_ns = self._history.healed()
            self._status.enter("healed; writing goes on")
            unready, _ = await asyncio.gather(
                unready_nodes(self._cluster, self._scenario.ready_s_max),
                self._wait_progress(recorder.tally, healed_ns),
            )
            if not unready:
                # Nodes may have been ready only now: what is late is told apart from what never comes.
                await self._wait_stored(recorder.tally, healed_ns, PROGRESS_S_MAX + _PROGRESS_MARGIN_S)
            self._status.enter("ending the workload")
        recorder.tally.end()
        unfinished = list(self._cluster.unfinished)
        if any(timed.fault.moves_replicas for timed in self._scenario.faults):
            self._status.enter("waiting until no replica is moving")
            unfinished += await wait_moved(self._cluster, self._scenario.ready_s_max)
            replicas = await self._replicas_now()
        if unfinished:
            unready[_THE_CLUSTER] = "; ".join(unfinished)
        self._status.enter("waiting until all replicas are read and equal")
        ready = [name for name in self._cluster.names if name not in unready]
        behind = await wait_scrubbed(self._cluster, ready, self._scenario.ready_s_max)
        behind += await wait_caught_up(self._cluster, list(self._topics), self._scenario.ready_s_max)
        self._status.enter("stopping the nodes")
        await self._cluster.hold_down(_END, *self._cluster.names, gently=True)
        return RunRecord(
            seed=self._seed,
            nodes=self._cluster.names,
            replicas=replicas,
            deaths=self._cluster.died(),
            unready=unready,
            began_ns=began_ns,
            healed_ns=healed_ns,
            ended_ns=time.monotonic_ns(),
            began_wall_ns=began_wall_ns,
            notes=[*timeline.notes, *(f"behind at the end: {each}" for each in behind)],
            gone=sorted(self._cluster.gone),
        )

    def _breaks(self) -> list[Break]:
        workload = self._scenario.workload
        every_s = workload.broken_every_s if workload.queue_workers else 0.0
        return plan_breaks(self._scenario.duration_s, every_s, self._seed)

    async def _make_topics(self) -> list[ReplicasOf]:
        """Create the topics, wait until every partition has a leader; returns which nodes hold them."""
        scenario = self._scenario
        found: list[ReplicasOf] = []
        async with self._client() as client:
            for topic, partitions in self._topics.items():
                made = await client.topics.create(
                    topic, partitions=partitions, replication_factor=scenario.replication
                )
                for partition in made.partitions:
                    await self._cluster.view.leader(topic, partition.partition)
                    found.append(ReplicasOf(topic, partition.partition, partition.replicas))
        return found

    def _client(self) -> floodmark.Client:
        access = self._cluster.access
        return floodmark.Client(
            self._cluster.urls, timeout_s=_CREATE_TIMEOUT_S, tls=access.ca, token=access.token
        )

    async def _replicas_now(self) -> list[ReplicasOf]:
        """Which nodes hold the partitions at the end, according to the metadata."""
        async with self._client() as client:
            return [
                ReplicasOf(topic, partition.partition, list(partition.replicas))
                for topic in self._topics
                for partition in (await client.topics.describe(topic)).partitions
            ]

    async def _wait_progress(self, tally: Tally, healed_ns: int) -> None:
        """Wait until every partition has stored what was sent after healing; if one does not, for longer than
        it may take."""
        await asyncio.sleep(_HEALED_S_MIN)
        await self._wait_stored(tally, healed_ns, PROGRESS_S_MAX + _PROGRESS_MARGIN_S - _HEALED_S_MIN)

    async def _wait_stored(self, tally: Tally, healed_ns: int, within_s: float) -> None:
        """The same, for so long."""
        looks = int(within_s / _LOOK_AGAIN_S)
        while looks and not tally.is_stored_since(self._written, healed_ns):
            await asyncio.sleep(_LOOK_AGAIN_S)
            # Nothing is stored in a pause, so it does not count.
            looks -= not any(map(self._pauses.has, self._written))
