"""What tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import floodmark

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command in this process, with a profiles file of its own and no variables from outside."""
    for name in (
        "FLOODMARK_SERVER",
        "FLOODMARK_PROFILE",
        "FLOODMARK_OUTPUT",
        "FLOODMARK_DEBUG",
        "FLOODMARK_TOKEN",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLOODMARK_CONFIG", str(tmp_path / "config" / "config.toml"))

    def run(*args: str, stdin: bytes | str | None = None) -> Result:
        return CliRunner().invoke(floodmark, [str(arg) for arg in args], input=stdin, prog_name="floodmark")

    return run
