"""Both distributions build, and install into environments that hold nothing else."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from chaos.testing.toxiproxy import toxiproxy_or_skip

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = """
name = "wheel"
nodes = 1
replication = 1
duration_s = 2

[[fault]]
at_s = 0.5
for_s = 0.5
kind = "pause"
"""
USERS_TEST = """
from chaos.faults import Kill


def test_a_record_survives(floodmark_cluster, floodmark_client, floodmark_faults):
    floodmark_client.topics.create("mine", partitions=1, replication_factor=1)
    floodmark_client.produce("mine", "record")
    with floodmark_faults.inject(Kill()):
        assert not floodmark_cluster.runs("n1")
    floodmark_cluster.wait_ready()
    assert [record.json() for record in floodmark_client.read("mine")] == ["record"]
"""


def _run(*command: str | Path, cwd: Path | None = None, **variables: str) -> str:
    """Run a command to its end and give its output; a failure shows all of it."""
    of_ours = ("PYTHON", "PYTEST", "FLOODMARK_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(of_ours)}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, **variables},
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
    """Not even pip is in it, which would take some seconds: this environment's installs there."""
    venv.create(path, with_pip=False)
    return path / "bin" / "python"


def _install(python: Path, *wanted: Path | str) -> None:
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", *wanted)


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
    _install(python, wheels["floodmark"])
    program = (
        "import importlib.util, floodmark; from floodmark.format import batch;"
        "from floodmark.format.record import Record;"
        "b = batch.encode([Record(1, b'k', b'v')]); assert batch.decode(b)[0].value == b'v';"
        "assert floodmark.Client is not None;"
        "names = 'node consensus storage local cli chaos'.split();"
        "rooms = [r for r in names if importlib.util.find_spec(r)];"
        "print(rooms)"
    )
    assert _run(python, "-I", "-c", program, cwd=tmp_path).strip() == "[]"


def _link_dependencies(python: Path, wanted: list[Requirement]) -> None:
    """Bring in what is required, and what that requires, from this environment; and nothing else of it."""
    (folder,) = python.parent.parent.glob("lib/python*/site-packages")
    found = {"floodmark", "floodmark-server"}
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name in found or not (
            requirement.marker is None or requirement.marker.evaluate({"extra": "chaos"})
        ):
            continue
        found.add(name)
        there = distribution(name)
        assert requirement.specifier.contains(there.version), requirement
        wanted += [Requirement(line) for line in there.requires or () if "extra ==" not in line]
        for top in {file.parts[0] for file in there.files or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(there.locate_file(top))


def _required_by(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(file.read(name))
    return [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]


@pytest.fixture(
    scope="module", params=["linked", pytest.param("from the index", marks=pytest.mark.long)], ids=str
)
def server(
    wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """The commands of an environment that holds the server's wheel, what it says it needs, and pytest."""
    python = _empty_environment(tmp_path_factory.mktemp("server") / "venv")
    if request.param == "linked":
        _install(python, "--no-deps", *wheels.values())
        needed = [each for wheel in wheels.values() for each in _required_by(wheel)]
        _link_dependencies(python, [*needed, Requirement("pytest")])
    else:
        server = f"floodmark-server[chaos] @ {wheels['floodmark-server'].as_uri()}"
        _install(python, wheels["floodmark"], server, f"pytest=={pytest.__version__}")
    return python.parent


def test_the_server_wheel_installs_a_working_command(server: Path, tmp_path: Path) -> None:
    """The console script of the server starts from the wheels alone and prints its help."""
    help_text = _run(server / "floodmark", "--help", cwd=tmp_path)
    assert "Usage: floodmark" in help_text


def test_chaos_runs_from_the_wheel(server: Path, tmp_path: Path) -> None:
    """All scenarios are in it, and a run ends with a verdict and a report to look at."""
    listed = _run(server / "floodmark", "chaos", "list", "-o", "name", cwd=tmp_path).split()
    assert listed == sorted(path.stem for path in (ROOT / "chaos" / "scenarios").glob("*.toml"))
    (tmp_path / "wheel.toml").write_text(SCENARIO)
    command = (server / "floodmark", "chaos", "run", "wheel.toml", "--seed", "1", "-o", "name")
    folder = _run(*command, cwd=tmp_path, TOXIPROXY_SERVER=str(toxiproxy_or_skip())).strip()
    assert "<script" in (tmp_path / folder / "report.html").read_text()


def test_the_pytest_fixtures_are_found_in_the_wheel(server: Path, tmp_path: Path) -> None:
    """A user's test that names them runs, with nothing to import or to configure."""
    (tmp_path / "test_mine.py").write_text(USERS_TEST)
    command = (
        server / "python",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
        "--floodmark-nodes",
        "1",
    )
    said = _run(*command, cwd=tmp_path, TOXIPROXY_SERVER=str(toxiproxy_or_skip()))
    assert "plugins: floodmark-server" in said
    assert "1 passed" in said
