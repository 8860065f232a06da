"""The result of a run and the verdict on it, made from its folder alone, so that it can be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.checker.check import CheckResult, check
from chaos.checker.final_state import read_final_state
from chaos.checker.options import CheckOptions
from chaos.history import Recovered
from chaos.history_file import read_history
from chaos.run_record import CLUSTER_FOLDER, HISTORY_FILE, SCENARIO_FILE, read_record
from chaos.scenario.builtin import read_scenario
from chaos.scenario.model import Scenario
from storage.filesystem import RealFileSystem

PROGRESS_S_MAX: Final = CheckOptions().progress_s_max


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The result of a run. Times are nanoseconds of the machine's monotonic clock, as in the history.

    nodes          all that belonged to the cluster, including those that were removed
    folder         has scenario.toml, history.jsonl, run.json, cluster/ (logs and data of the nodes)
    deaths         node -> exit code of those that ended by themselves, or failed to stop in order
    unready        node -> what it lacked, for those that did not get ready after healing;
                   "the cluster" -> its changes that did not end, although nothing blocked them any more
    healed_ns      when all faults were over and all nodes were started
    began_wall_ns  what time.time_ns() was at began_ns: node logs tell wall-clock times
    notes          what else a reader should know: faults without a target, replicas that stayed behind
    """

    folder: Path
    scenario: Scenario
    seed: int
    nodes: list[str]
    check: CheckResult
    deaths: Mapping[str, int]
    began_ns: int
    healed_ns: int
    ended_ns: int
    began_wall_ns: int
    notes: list[str]
    unready: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Whether no promise was broken, no node died by itself, and all came back."""
        return self.check.is_clean and not self.deaths and not self.unready


def judge(folder: Path) -> RunResult:
    """The verdict on the run in a folder. Raises what reading it raises."""
    record = read_record(folder)
    scenario = read_scenario(folder / SCENARIO_FILE)
    recoveries: list[Recovered] = []
    if any(timed.fault.loses_records for timed in scenario.faults):
        history = read_history(folder / HISTORY_FILE)
        recoveries = [event for event in history if isinstance(event, Recovered)]
    data_dirs = {name: str(folder / CLUSTER_FOLDER / name) for name in record.nodes}
    replicas = {(each.topic, each.partition): frozenset(each.nodes) for each in record.replicas}
    result = check(
        read_history(folder / HISTORY_FILE),
        read_final_state(RealFileSystem(), data_dirs),
        CheckOptions(
            replicas=replicas,
            progress_s_max=PROGRESS_S_MAX,
            gap_s_max=scenario.gap_s_max,
            recoveries=recoveries,
        ),
    )
    return RunResult(
        folder=folder,
        scenario=scenario,
        seed=record.seed,
        nodes=sorted({*record.nodes, *record.gone}),
        check=result,
        deaths=record.deaths,
        unready=record.unready,
        began_ns=record.began_ns,
        healed_ns=record.healed_ns,
        ended_ns=record.ended_ns,
        began_wall_ns=record.began_wall_ns,
        notes=record.notes,
    )
