"""Cells of the fault matrix that would each find another defect, with real processes."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from chaos.matrix.cells import cells
from chaos.matrix.refusal import refusal_faults
from chaos.run import run_scenario
from chaos.scenario.model import Scenario
from tests.chaos.chaos_process import chaos, ended
from tests.chaos.lateness import broken


def _long(name: str) -> ParameterSet:
    return pytest.param(name, marks=pytest.mark.long)


CELLS = {cell.name: cell for cell in cells()}
REPRESENTATIVE = [
    "power-loss-on-all",  # what was acknowledged and not synced
    "sync-error-on-leader",  # what a failed sync left unsynced
    "cut-in-on-leader",  # a leader that is heard and hears nothing
    "wiped-folder-on-one",  # votes of a node that has forgotten them
    _long("pause-on-leader"),  # one that wakes up and believes to lead
    _long("reset-on-all"),  # retries of what may be stored already
    _long("flipped-bit-on-majority"),  # damage that cannot be mended; test_disk_at_rest.py has it as well
]


def _sooner(scenario: Scenario) -> Scenario:
    """Half of the time before the fault is enough for what has to be stored by then."""
    earlier = min(fault.at_s for fault in scenario.faults) / 2
    return replace(
        scenario,
        duration_s=scenario.duration_s - earlier,
        faults=tuple(replace(fault, at_s=fault.at_s - earlier) for fault in scenario.faults),
    )


@pytest.mark.parametrize("name", REPRESENTATIVE)
async def test_a_cell_is_clean_or_refuses(name: str, toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Nothing is lost or wrong, all nodes come back; data of a majority gone, the partition says so."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with the failure
    cell = CELLS[name]
    scenario = _sooner(cell.scenario())
    if cell.may_refuse:
        # What it says is said within seconds, and waiting for what cannot come shows nothing.
        scenario = replace(scenario, ready_s_max=8.0)
    result = await run_scenario(scenario, tmp_path / "run", seed, binary=toxiproxy_binary)
    assert not result.notes or cell.may_refuse, result.notes
    assert result.check.figures.records_acknowledged > 100
    if cell.may_refuse and result.unready:
        assert refusal_faults(result) == []
        return
    assert (result.deaths, result.unready) == ({}, {})
    assert broken(result.check) == []


async def test_many_runs_end_in_one_table(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """The command goes through those asked for; clean ones keep their report and nothing of the nodes."""
    args = ("matrix", "--only", "clock-back-on-*e", "--seed", "4", "--out", tmp_path, "-o", "json")
    code, out, err = await ended(await chaos(*args, binary=toxiproxy_binary))
    runs = json.loads(out)["runs"]
    assert [run["scenario"] for run in runs] == ["clock-back-on-one"]
    assert (code, runs[0]["verdict"]) in [(0, "clean"), (0, "late"), (6, "violated")], err
    folder = Path(runs[0]["folder"])
    assert (folder / "report.html").exists()
    assert (folder / "history.jsonl").exists() is (runs[0]["verdict"] != "clean")
    assert "seed 4" in err


async def test_seeds_are_run_one_after_the_other(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """From the first one on, as many as asked for; each row has its seed."""
    args = (
        "seeds",
        "--first-seed",
        "9",
        "--count",
        "1",
        "--nodes",
        "3",
        "--duration",
        "5s",
        "--out",
        tmp_path,
    )
    code, out, err = await ended(await chaos(*args, "-o", "json", binary=toxiproxy_binary))
    (run,) = json.loads(out)["runs"]
    assert (run["scenario"], run["seed"], run["nodes"]) == ("random", 9, 3)
    assert (code, run["verdict"]) in [(0, "clean"), (0, "late"), (6, "violated")], err
    assert (Path(run["folder"]) / "report.html").exists()


async def test_what_there_is_no_time_for_is_told(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """The time is up while the first one runs: it is ended with its nodes, and listed with the others."""
    args = (
        "matrix",
        "--only",
        "kill-on-*",
        "--jobs",
        "1",
        "--seconds-max",
        "2",
        "--out",
        tmp_path,
        "-o",
        "json",
    )
    code, out, err = await ended(await chaos(*args, binary=toxiproxy_binary))
    verdicts = [run["verdict"] for run in json.loads(out)["runs"]]
    assert (code, sorted(verdicts)) == (1, ["not run"] * 5), err


async def test_a_name_that_is_no_runs_is_told(tmp_path: Path) -> None:
    """Not found, with how to see which there are."""
    code, _, err = await ended(await chaos("matrix", "--only", "no-such", binary=tmp_path))
    assert code == 3
    assert "--list" in err
