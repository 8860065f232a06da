"""One run: a cluster, a workload, a scenario's faults, healing, and the verdict over all that was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos.checker.check import CheckResult
from chaos.scenario.model import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run came to. Times are nanoseconds of the machine's monotonic clock, as in the history.

    folder         has scenario.toml, history.jsonl, cluster/ (logs and data of the nodes)
    began_wall_ns  what time.time_ns() was at began_ns: node logs tell wall-clock times
    deaths         node -> exit code of those that ended though no fault ended them, or not in order
    healed_ns      when all faults were over and all nodes told to run
    notes          what a reader should know besides: faults that found no target, replicas that stayed behind
    """

    folder: Path
    scenario: Scenario
    seed: int
    nodes: list[str]
    check: CheckResult
    deaths: Mapping[str, int]
    began_ns: int
    began_wall_ns: int
    healed_ns: int
    ended_ns: int
    notes: list[str]

    @property
    def is_clean(self) -> bool:
        """Whether no promise was broken and no node died by itself."""
        return self.check.is_clean and not self.deaths
