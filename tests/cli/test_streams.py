"""Standard streams that the shell has closed, output that has no room, and SIGINT in the background."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_COMMAND = f"{sys.executable} -P -m cli.main"


def _shell(line: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FLOODMARK_CONFIG": str(tmp_path / "config.toml")}
    return subprocess.run(
        line, shell=True, capture_output=True, text=True, timeout=60, check=False, env=environment
    )


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", ">&- 2>/dev/null"])
def test_closed_output_is_an_error_of_whoever_prints(closed: str, tmp_path: Path) -> None:
    """Exit code 1 and one line; it is no defect of Floodmark's."""
    done = _shell(f"{_COMMAND} profile list -o json {closed}", tmp_path)
    assert done.returncode == 1
    assert done.stderr == ("" if "2>" in closed else "error: standard output is closed\n")


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_what_is_not_needed_may_be_closed(closed: str, tmp_path: Path) -> None:
    """Nothing that is opened gets the free number."""
    done = _shell(f"{_COMMAND} profile list -o json {closed}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"profiles"' in done.stdout


def test_errors_end_with_their_code_also_when_nobody_can_be_told(tmp_path: Path) -> None:
    """All three streams are closed."""
    assert _shell(f"{_COMMAND} profile use nope <&- >&- 2>&-", tmp_path).returncode == 3


def test_a_full_disk_is_told_once(tmp_path: Path) -> None:
    """Not again, in Python's words and with its exit code, when the interpreter ends."""
    done = _shell(f"{_COMMAND} profile list -o json >/dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_sigint_ends_a_command_in_the_background() -> None:
    """Shells start those with SIGINT ignored."""
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    ours = (
        "from cli import exits, streams; import os, signal; streams.prepare();"
        "raise SystemExit(exits.guard(lambda: os.kill(os.getpid(), signal.SIGINT), debug=lambda: False))"
    )
    inner = [sys.executable, "-P", "-c", ours]
    done = subprocess.run([sys.executable, "-c", ignoring, *inner], check=False, timeout=60)
    assert done.returncode == 130


def test_bare_command_prints_help_as_it_is(tmp_path: Path) -> None:
    """On stderr, with the exit code of a usage error."""
    done = _shell(_COMMAND, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: ")


def test_help_has_no_markup(tmp_path: Path) -> None:
    """The layout marks of the help's source are not shown, and the escapes are."""
    shown = _shell(f"{_COMMAND} consume --help", tmp_path).stdout
    assert "\\b" not in shown
    assert "%% percent  \\n \\t \\r \\0 \\\\ \\xHH" in shown
