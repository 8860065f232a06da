"""Plots are drawn by a process of its own, whose Python has matplotlib: nothing else here needs that."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from bench.console import to_stderr
from bench.paths import ROOT, TOOLS
from bench.processes import Failed, run

_MATPLOTLIB = "matplotlib==3.11.2"
_VENV = TOOLS / "plot" / "venv"
_READY = TOOLS / "plot" / "ready"


def draw(module: str, data: Path, picture: Path) -> None:
    """``python -m module DATA PICTURE``. If a plot cannot be drawn the figures are kept all the same."""
    try:
        _install()
        command = [str(_VENV / "bin" / "python"), "-m", module, str(data.absolute()), str(picture.absolute())]
        run(command, seconds=120, cwd=ROOT)
    except Failed as error:
        to_stderr(f"no plot: {error}")


def _install() -> None:
    if _READY.exists() and _READY.read_text() == _MATPLOTLIB:
        return
    to_stderr(f"installing {_MATPLOTLIB} into {_VENV.parent} ...")
    shutil.rmtree(_VENV, ignore_errors=True)
    _VENV.parent.mkdir(parents=True, exist_ok=True)
    run([sys.executable, "-m", "venv", str(_VENV)], seconds=120)
    run([str(_VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", _MATPLOTLIB], seconds=600)
    _READY.write_text(_MATPLOTLIB)
