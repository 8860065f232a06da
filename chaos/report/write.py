"""Writes both reports of a run into its folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from chaos.history_file import read_history
from chaos.report.collect import make_report
from chaos.report.page import make_page
from chaos.run import RunResult


def write_report(result: RunResult) -> Path:
    """Make report.json and report.html from the folder of a run; returns the page's path.

    Raises ``HistoryInvalid`` when the run's history cannot be read.
    """
    scenario_toml = (result.folder / "scenario.toml").read_text(encoding="utf-8")
    report = make_report(result, read_history(result.folder / "history.jsonl"), scenario_toml)
    text = msgspec.json.format(msgspec.json.encode(report), indent=1)
    (result.folder / "report.json").write_bytes(text + b"\n")
    page = result.folder / "report.html"
    page.write_text(make_page(report), encoding="utf-8")
    return page
