"""The progress of a run, for a live view or lines on a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from chaos.cluster import ChaosCluster
from chaos.workload.recorder import Tally


class Status:
    """Kept up to date by the run. ``say`` is called with each line of progress."""

    def __init__(self, say: Callable[[str], None] = lambda _line: None) -> None:
        self._say = say
        self._began = time.monotonic()
        self._cluster: ChaosCluster | None = None
        self.is_playing = False
        """Whether the scenario's timeline is under way."""
        self.phase = "starting"
        self.faults: dict[int, str] = {}
        """number -> fault and nodes, of those in force"""
        self.leaders: Mapping[str, str] = {}
        """group -> node"""
        self.tally = Tally()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the timeline began; before that, since the run began."""
        return time.monotonic() - self._began

    def start_timeline(self) -> None:
        """The timeline begins."""
        self._began = time.monotonic()
        self.enter("running")
        self.is_playing = True

    def say(self, line: str) -> None:
        """Something happened."""
        self._say(f"{self.elapsed_s:6.1f} s  {line}")

    def enter(self, phase: str) -> None:
        """Another part of the run begins."""
        self.is_playing = False
        self.phase = phase
        self.say(phase)

    def fault_began(self, number: int, fault: str) -> None:
        """A fault is in force."""
        self.faults[number] = fault
        self.say(f"{fault}")

    def fault_ended(self, number: int) -> None:
        """It is healed."""
        self.say(f"{self.faults.pop(number)} is over")

    def watch(self, cluster: ChaosCluster, leaders: Mapping[str, str], tally: Tally) -> None:
        """What to show from now on."""
        self._cluster, self.leaders, self.tally = cluster, leaders, tally

    def nodes(self) -> dict[str, str]:
        """node -> up, paused or down."""
        cluster = self._cluster
        if cluster is None:
            return {}
        return {name: _state(cluster, name) for name in cluster.names}


def _state(cluster: ChaosCluster, name: str) -> str:
    if cluster.runs(name):
        return "up"
    child = cluster.processes.children.get(name)
    return "paused" if child is not None and child.process.returncode is None else "down"
