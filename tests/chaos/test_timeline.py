"""What the history says of a fault's time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from chaos.cluster import ChaosCluster
from chaos.faults.aim import Aim
from chaos.faults.fault import Fault, Scene
from chaos.history import FaultBegan, FaultEnded
from chaos.history_file import HistoryWriter, read_history
from chaos.scenario.model import Scenario, TimedFault
from chaos.scenario.timeline import Timeline
from chaos.status import Status
from chaos.toxiproxy.server import ToxiproxyServer


def faults_in(path: Path) -> list[FaultBegan | FaultEnded]:
    """The beginnings and ends of faults."""
    return [event for event in read_history(path) if isinstance(event, FaultBegan | FaultEnded)]


def looking(path: Path, history: HistoryWriter, seen: list[FaultBegan | FaultEnded], *, fails: bool) -> Fault:
    """A fault that notes what the history says by the time that it is applied; then it fails, perhaps."""

    class Looking(Fault):  # Not known by name, so that no scenario of another test has it.
        kind: ClassVar[str] = "looking"

        async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
            history.flush()
            seen.extend(faults_in(path))
            if fails:
                raise OSError("halfway")

    return Looking(aim=Aim(node="n2"))


@contextmanager
def cluster_that_rests(folder: Path, binary: Path) -> Iterator[ChaosCluster]:
    """Nodes with names and proxies, and no processes."""
    with ToxiproxyServer(folder / "toxiproxy.log", binary=binary) as toxiproxy:
        cluster = ChaosCluster(folder / "cluster", toxiproxy)
        try:
            yield cluster
        finally:
            cluster.processes.close()


@pytest.mark.parametrize("fails", [False, True])
async def test_a_faults_time_begins_before_anything_is_broken(
    *, fails: bool, toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """Ending nodes in order takes seconds: they belong to the fault. What fails halfway ends as well."""
    path = tmp_path / "history.jsonl"
    seen: list[FaultBegan | FaultEnded] = []
    with cluster_that_rests(tmp_path, toxiproxy_binary) as cluster, HistoryWriter(path) as history:
        timed = TimedFault(at_s=0, for_s=0, fault=looking(path, history, seen, fails=fails))
        scenario = Scenario(name="one", duration_s=0.01, faults=(timed,))
        timeline = Timeline(cluster, history, Status())
        if fails:
            with pytest.raises(ExceptionGroup, match="TaskGroup"):
                await timeline.play(scenario, seed=1)
        else:
            await timeline.play(scenario, seed=1)
    assert [(type(event), event.fault) for event in seen] == [(FaultBegan, 1)]
    began, ended = faults_in(path)
    assert isinstance(began, FaultBegan)
    assert (began.name, began.nodes) == ("looking on one", ["n2"])
    assert isinstance(ended, FaultEnded)
