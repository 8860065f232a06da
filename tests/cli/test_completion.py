"""Completion: the scripts, and the words they get; and a reader that goes away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke


def _floodmark(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "cli.main", *args]
    return subprocess.run(command, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(invoke: Invoke, shell: str) -> None:
    """The script names our command, and the shell itself accepts it where it is installed."""
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_FLOODMARK_COMPLETE" in result.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=result.stdout, text=True, check=True, timeout=30)


def test_words_are_completed(tmp_path: Path) -> None:
    """A subcommand and a profile's name; nothing, and no error, where there is no cluster to ask."""
    config = tmp_path / "config.toml"
    config.write_text('current = "gone"\n[profiles.gone]\nserver = "http://127.0.0.1:1"\n')

    def offered(words: str) -> list[str]:
        environment = {
            **os.environ,
            "FLOODMARK_CONFIG": str(config),
            "_FLOODMARK_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        result = _floodmark(capture_output=True, env=environment)
        assert result.stderr == ""
        return [line.partition(",")[2] for line in result.stdout.splitlines() if line]

    assert offered("floodmark prof") == ["profile"]
    assert offered("floodmark profile use g") == ["gone"]
    assert offered("floodmark consume o") == []


def test_a_reader_that_goes_away_is_no_error() -> None:
    """As in `floodmark ... | head`: silence, and the exit code that a shell expects."""
    reading, writing = os.pipe()
    os.close(reading)
    result = _floodmark("completion", "bash", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (result.returncode, result.stderr) == (141, "")
