"""The table of nodes."""

from __future__ import annotations

from typing import Any

import pytest

from cli.node_view import NODES, size_text
from cli.output import show

_THERE = {
    "node_id": "n1",
    "http": "http://127.0.0.1:7070",
    "peer": "127.0.0.1:7170",
    "alive": True,
    "incarnation": "abc",
    "leads": 2,
    "replicas": 5,
    "number": 1,
    "state": "ready",
    "reasons": [],
    "rack": "a",
    "version": "0.1.0",
    "data_bytes": 12_345_678,
    "disk_free_bytes": 45_000_000_000,
    "disk_total_bytes": 100_000_000_000,
    "last_seen_ms": 1_000,
}
_GONE = _THERE | {
    "node_id": "n2",
    "alive": False,
    "leads": 0,
    "state": "silent",
    "rack": "",
    "version": None,
    "data_bytes": None,
    "disk_free_bytes": None,
    "disk_total_bytes": None,
}


def _cells(nodes: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    show({"nodes": nodes}, NODES, "table")
    return [line.split() for line in capsys.readouterr().out.splitlines()[1:]]


def test_a_node_that_is_away_has_dashes_and_when_it_was_heard(capsys: pytest.CaptureFixture[str]) -> None:
    """One that answers was seen now."""
    http = "http://127.0.0.1:7070"
    gone = _GONE | {"last_seen_ms": None}
    assert _cells([_THERE, _GONE, gone], capsys) == [
        ["n1", "ready", "2", "5", "12.3", "MB", "45.0", "GB", "(45%)", "now", "0.1.0", "a", http],
        ["n2", "silent", "0", "5", "-", "-", "1970-01-01T00:00:01.000Z", "-", "-", http],
        ["n2", "silent", "0", "5", "-", "-", "-", "-", "-", http],
    ]


def test_a_node_that_is_drained_says_so_beside_its_state(capsys: pytest.CaptureFixture[str]) -> None:
    """It may be silent as well."""
    rows = [each | {"draining": True} for each in (_THERE, _GONE)]
    assert [row[1:3] for row in _cells(rows, capsys)] == [["ready,", "draining"], ["silent,", "draining"]]


def test_a_node_of_an_older_build_may_say_less(capsys: pytest.CaptureFixture[str]) -> None:
    """It answers with what nodes were listed with before."""
    old = {name: _THERE[name] for name in ("node_id", "http", "peer", "alive", "leads", "replicas")}
    assert _cells([old], capsys)[0][:2] == ["n1", "-"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (99_949, "99.9 KB"),
        (999_499, "999 KB"),
        (999_500, "1.0 MB"),
    ],
    ids=["none", "bytes", "first-kb", "decimals", "last-kb", "first-mb"],
)
def test_sizes_have_three_digits(count: int, text: str) -> None:
    """Also where rounding makes one more."""
    assert size_text(count) == text
