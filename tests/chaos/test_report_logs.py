"""What nodes said around a violation: the right lines, at the right times, as text."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from chaos.report.node_logs import LINE_CHARS_MAX, LINES_MAX, lines_around, read_line
from chaos.report.timescale import Timescale
from tests.chaos.reported import BEGAN, report_of, run_of
from tests.chaos.story import Story, replica, vs

SECOND = 1_000_000_000
BEGAN_NS = 500 * SECOND
TIMES = Timescale(BEGAN_NS, BEGAN_NS + 60 * SECOND, int(BEGAN.timestamp()) * SECOND)


def said(at_s: float, event: str, **fields: object) -> str:
    """A JSON line of a node, so many seconds after the beginning."""
    date = (BEGAN + timedelta(seconds=at_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return json.dumps({**fields, "event": event, "level": "info", "timestamp": date, "node": "n1"}) + "\n"


def around(folder: Path, *at_s: float) -> list[tuple[float, str, str]]:
    """The lines near these times."""
    moments = [BEGAN_NS + int(each * SECOND) for each in at_s]
    (lines,) = lines_around(folder, ["n1", "n2"], TIMES, [moments])
    return [(line.at_s, line.node, line.text) for line in lines]


def test_lines_of_all_nodes_within_two_seconds_are_told_in_order(tmp_path: Path) -> None:
    """On the history's time, though logs tell the wall clock's."""
    text = (
        said(7.9, "early") + said(9, "before", term=3) + said(11.5, "after", peer="n3") + said(12.1, "late")
    )
    (tmp_path / "n1.log").write_text(text)
    (tmp_path / "n2.log").write_text(said(10, "meanwhile"))
    assert around(tmp_path, 10) == [
        (9.0, "n1", "before term=3"),
        (10.0, "n2", "meanwhile"),
        (11.5, "n1", "after peer=n3"),
    ]


def test_a_line_without_a_date_is_as_old_as_the_one_before(tmp_path: Path) -> None:
    """Tracebacks on standard error; what comes before any date cannot be placed."""
    text = (
        "no date\n" + said(10, "broken") + "Traceback:\n  ValueError\n" + said(30, "later") + "much later\n"
    )
    (tmp_path / "n1.log").write_text(text)
    assert [line[2] for line in around(tmp_path, 10)] == ["broken", "Traceback:", "  ValueError"]


def test_the_log_that_was_put_aside_is_read_too(tmp_path: Path) -> None:
    """A large log begins anew when its node starts."""
    (tmp_path / "n1.log.1").write_text(said(9, "old"))
    (tmp_path / "n1.log").write_text(said(10, "new"))
    assert [line[2] for line in around(tmp_path, 10)] == ["old", "new"]


def test_only_the_nearest_lines_of_a_flood_are_kept_and_long_ones_are_cut(tmp_path: Path) -> None:
    """So many of each node."""
    flood = "".join(said(9 + number / 100, f"line {number} " + "x" * 1_000) for number in range(200))
    (tmp_path / "n1.log").write_text(flood)
    lines = around(tmp_path, 10)
    assert len(lines) == LINES_MAX
    assert all(abs(at_s - 10) <= 0.085 and len(text) == LINE_CHARS_MAX for at_s, _, text in lines)


def test_console_lines_and_lines_that_are_neither_are_read() -> None:
    """Whatever it is, there is a text."""
    moment, level, text = read_line("2026-01-02T03:04:05.5Z [warning  ] disk_full    [storage] free=0")
    assert (moment, level, text) == (
        BEGAN + timedelta(seconds=0.5),
        "warning",
        "disk_full    [storage] free=0",
    )
    for odd in (
        "",
        "{",
        "[1]",
        '{"timestamp": "soon"}',
        '{"timestamp": "2026-01-01"}',
        "2026-13-45T99:00:00Z x",
    ):
        assert read_line(odd) == (None, "", odd)


def test_a_lost_record_is_told_with_what_the_nodes_said_when_it_was_acknowledged(tmp_path: Path) -> None:
    """The evidence has the time; the second of the kind has its lines as well."""
    story = Story()
    story.wait(20)
    story.produce(vs(0, 1, 2), at=0)
    logs = {"n1": said(1, "long ago") + said(20, "disk_slow"), "n3": said(21, "elected")}
    report = report_of(
        run_of(story, tmp_path, *(replica(each, vs(0)) for each in ("n1", "n2", "n3")), logs=logs)
    )
    for violation in report.violations[:2]:
        assert [(line.node, line.text) for line in violation.log] == [("n1", "disk_slow"), ("n3", "elected")]
