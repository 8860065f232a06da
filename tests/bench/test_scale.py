"""The rows of the benchmark of many partitions."""

from __future__ import annotations

from bench.rows import Row


def test_a_goal_is_met_up_to_its_value_and_what_has_none_stands_alone() -> None:
    """The word beside the figure is what the exit code goes by."""
    assert Row("made", 60.0, "s", 60).cells == ["made", "60.0 s", "60 s: met"]
    assert Row("made", 60.1, "s", 60).cells == ["made", "60.1 s", "60 s: MISSED"]
    assert Row("refused", 1, "requests", 0).cells[2] == "0 requests: MISSED"
    assert Row("memory", 1234.5, "MB").cells == ["memory", "1,234.5 MB", ""]
