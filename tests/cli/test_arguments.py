"""What people type: positions, durations, sizes; and the usage errors they get."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
import pytest

from cli.dev_overview import curl_lines
from cli.positions import Position
from cli.units import DURATION_MS, NO_LIMIT, SIZE_BYTES
from tests.cli.conftest import Invoke


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("earliest", "earliest"),
        ("latest", "latest"),
        ("42", 42),
        ("-10", -10),
        ("@2013-01-31T10:00Z", datetime(2013, 1, 31, 10, tzinfo=UTC)),
        ("@1357035300000", datetime(2013, 1, 1, 10, 15, tzinfo=UTC)),
    ],
)
def test_positions(text: str, expected: Any) -> None:
    """Every form that the HTTP API takes."""
    assert Position().convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["", "first", "1.5", "@", "@yesterday", "@99999999999999999999"])
def test_what_is_no_position(text: str) -> None:
    """The message lists what is."""
    with pytest.raises(click.BadParameter, match="use earliest, latest"):
        Position().convert(text, None, None)


def test_durations_and_sizes() -> None:
    """With units; a bare number is milliseconds or bytes only where that is plain."""
    assert DURATION_MS.convert("7d", None, None) == 604_800_000
    assert DURATION_MS.convert("1.5h", None, None) == 5_400_000
    assert SIZE_BYTES.convert("10GiB", None, None) == 10 << 30
    assert SIZE_BYTES.convert("1048576", None, None) == 1 << 20
    assert SIZE_BYTES.convert("None", None, None) == NO_LIMIT
    for wrong in ("7", "d", "-1d", "7 years"):
        with pytest.raises(click.BadParameter, match="write it as in"):
            DURATION_MS.convert(wrong, None, None)


@pytest.mark.parametrize(
    "args",
    [
        ["topic", "create"],
        ["topic", "create", "t", "-p", "0"],
        ["topic", "create", "t", "-c", "retention_ms"],
        ["topic", "alter", "t"],
        ["produce", "t", "-H", "novalue", "1"],
        ["consume", "t", "-f", "%q"],
        ["consume", "t", "-f", "%v", "-o", "json"],
        ["consume", "t", "--from", "yesterday"],
        ["start", "--set", "nonsense"],
        ["start"],
        ["--server", "ftp://x", "node", "list"],
    ],
)
def test_usage_errors(invoke: Invoke, args: list[str]) -> None:
    """Exit code 2 before anything is sent, and nothing on stdout."""
    result = invoke(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize(
    "args", [["node", "list"], ["produce", "t", "1"], ["consume", "t"], ["topic", "list"]]
)
def test_no_node_there(invoke: Invoke, args: list[str]) -> None:
    """Exit code 5 at once, with the address that was tried and what to do."""
    result = invoke(*args, "--server", "http://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (5, "")
    error, hint = result.stderr.splitlines()[-2:]
    assert error.startswith("error: no connection to http://127.0.0.1:1")
    assert hint.startswith("hint: is a node running there?")


def test_deleting_without_a_person_needs_yes(invoke: Invoke) -> None:
    """A script does not delete by accident."""
    result = invoke("topic", "delete", "orders", "--server", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "hint: --yes confirms" in result.stderr


def test_each_curl_line_asks_another_node() -> None:
    """As many as there are."""
    lines = curl_lines(["http://a", "http://b", "http://c"], flights_partition=4)
    assert ["http://a/" in lines[0], "http://b/" in lines[1], "http://c/" in lines[2]] == [True] * 3
    assert all("http://a/" in line for line in curl_lines(["http://a"], flights_partition=None))
