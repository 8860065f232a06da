"""Exit codes and messages: errors are told in one place, in one or two lines."""

from __future__ import annotations

import pytest
from floodmark import errors

from cli.exits import Failure, guard
from local.errors import FolderInUse, NodesEnded, NoFreePorts, NotReady, OtherSize
from tests.cli.conftest import Invoke


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnknownTopic("x"), 3),
        (errors.OffsetPastEnd("x"), 3),
        (errors.TopicExists("x"), 4),
        (errors.OffsetMismatch("x"), 4),
        (errors.Unavailable("x"), 5),
        (errors.OutcomeUnknown("x"), 5),
        (errors.TransportError("x"), 5),
        (errors.InvalidRequest("x"), 1),
        (errors.ServerError("x"), 1),
        (errors.TooNew("x"), 7),
        (Failure("x", exit_code=4), 4),
        (FolderInUse("x"), 4),
        (OtherSize("x", hint="y"), 4),
        (NotReady("x", hint="y"), 5),
        (NoFreePorts("x"), 1),
        (NodesEnded("x"), 1),
        (FileNotFoundError(2, "No such file or directory", "x"), 1),
        (ZeroDivisionError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """What scripts rely on; no error prints more than two lines, and none a traceback."""

    def command() -> None:
        raise error

    assert guard(command, debug=lambda: False) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) <= 2
    assert "Traceback" not in said.err


def test_debug_shows_where_it_happened(capsys: pytest.CaptureFixture[str]) -> None:
    """And the exit code stays."""
    assert guard(lambda: 1 / 0, debug=lambda: True) == 1
    assert "Traceback" in capsys.readouterr().err


def test_usage_errors_are_two_lines(invoke: Invoke) -> None:
    """What is wrong, and where help is."""
    result = invoke("profile", "create")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: Missing argument 'NAME'.\nhint: 'floodmark profile create --help' explains this command\n"
    )


def test_an_unknown_command_is_a_usage_error(invoke: Invoke) -> None:
    """Exit code 2."""
    assert invoke("nonsense").exit_code == 2
    assert invoke("profile", "list", "-o", "xml").exit_code == 2


def test_help_and_version_are_fine(invoke: Invoke) -> None:
    """Asked for, they are data: on stdout, exit code 0."""
    assert "floodmark" in invoke("--version").stdout
    for args in (["-h"], ["profile", "--help"]):
        result = invoke(*args)
        assert (result.exit_code, result.stderr) == (0, "")
