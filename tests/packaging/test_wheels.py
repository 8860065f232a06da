"""Both distributions build, and install into environments that hold nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command to its end and give its output; a failure shows all of it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _build(source: Path, into: Path) -> Path:
    """Build the wheel of one distribution with the build backend of this environment."""
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", into, source)
    (wheel,) = into.glob("*.whl")
    return wheel


def _empty_environment(path: Path) -> Path:
    venv.create(path, with_pip=True)
    return path / "bin" / "python"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two wheels, built once."""
    base = tmp_path_factory.mktemp("wheels")
    return {
        "floodmark": _build(ROOT / "client", base / "client"),
        "floodmark-server": _build(ROOT, base / "server"),
    }


def test_the_client_wheel_installs_alone_and_holds_no_server(wheels: dict[str, Path], tmp_path: Path) -> None:
    """An application that installs the client gets floodmark and none of the server's rooms."""
    python = _empty_environment(tmp_path / "venv")
    _run(python, "-m", "pip", "install", "--quiet", wheels["floodmark"])
    program = (
        "import importlib.util, floodmark; from floodmark import batch; from floodmark.record import Record;"
        "b = batch.encode([Record(1, b'k', b'v')]); assert batch.decode(b)[0].value == b'v';"
        "assert floodmark.Client is not None;"
        "names = 'node consensus storage local cli chaos'.split();"
        "rooms = [r for r in names if importlib.util.find_spec(r)];"
        "print(rooms)"
    )
    assert _run(python, "-I", "-c", program, cwd=tmp_path).strip() == "[]"


def test_the_server_wheel_installs_a_working_command(wheels: dict[str, Path], tmp_path: Path) -> None:
    """The console script of the server starts from the wheels alone and prints its help."""
    python = _empty_environment(tmp_path / "venv")
    _run(python, "-m", "pip", "install", "--quiet", wheels["floodmark"], wheels["floodmark-server"])
    help_text = _run(tmp_path / "venv" / "bin" / "floodmark", "--help", cwd=tmp_path)
    assert "Usage: floodmark" in help_text
    scenarios = _run(tmp_path / "venv" / "bin" / "floodmark", "chaos", "list", "-o", "name", cwd=tmp_path)
    assert "kill-leader" in scenarios.split()
