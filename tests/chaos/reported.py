"""Reports of histories that are told, in folders as a run leaves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from chaos.checker.final_state import ReplicaState
from chaos.report.document import Report
from chaos.report.write import write_report
from chaos.run import RunResult
from chaos.scenario.model import Scenario
from chaos.scenario.toml_form import to_toml
from tests.chaos.story import NODES, Story

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""What the wall clock said when a story began."""


def run_of(
    story: Story,
    folder: Path,
    *final: ReplicaState,
    scenario: Scenario | None = None,
    logs: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> RunResult:
    """The story as a run that is over."""
    scenario = scenario or Scenario(name="a story")
    cluster = folder / "cluster"
    cluster.mkdir()
    for node, text in (logs or {}).items():
        (cluster / f"{node}.log").write_text(text, encoding="utf-8")
    (folder / "scenario.toml").write_text(to_toml(scenario), encoding="utf-8")
    lines = (msgspec.json.encode(event) + b"\n" for event in story.events)
    (folder / "history.jsonl").write_bytes(b"".join(lines))
    return RunResult(
        folder=folder,
        scenario=scenario,
        seed=1,
        nodes=list(NODES),
        check=story.check(*final),
        deaths={},
        unready={},
        began_ns=0,
        began_wall_ns=int(BEGAN.timestamp()) * 1_000_000_000,
        healed_ns=story.now,
        ended_ns=story.now,
        notes=list(notes),
    )


def report_of(result: RunResult) -> Report:
    """report.json as it is written, read with everything unknown refused."""
    write_report(result)
    return msgspec.json.decode((result.folder / "report.json").read_bytes(), type=Report)
