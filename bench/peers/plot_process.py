"""Draw the plot with the Python that has matplotlib."""

from __future__ import annotations

from pathlib import Path

from bench.peers.processes import Failed, run
from bench.peers.rounds import to_stderr
from bench.peers.tools import ROOT, Tools


def draw(tools: Tools, data: Path, picture: Path) -> None:
    """A plot that can not be drawn is no reason to lose the figures."""
    command = [str(tools.python), "-m", "bench.peers.plot", str(data.absolute()), str(picture.absolute())]
    try:
        run(command, seconds=120, cwd=ROOT)
    except Failed as error:
        to_stderr(f"no plot: {error}")
