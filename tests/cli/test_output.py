"""The six formats."""

from __future__ import annotations

import json

import pytest
import yaml

from cli.output import View, field, show

_DOCUMENT = {
    "topics": [
        {"name": "a", "partitions": 3, "config": {"retention_ms": None}, "replicas": ["n1", "n2"]},
        {"name": "b[bold]", "partitions": 12, "config": {}, "replicas": []},
    ]
}
_VIEW = View(
    columns=(field("Name"), field("Partitions", right=True), field("Replicas", wide=True), field("Gone")),
    name=lambda item: str(item["name"]),
    items=lambda document: document["topics"],
)


def _printed(output: str | None, capsys: pytest.CaptureFixture[str]) -> str:
    show(_DOCUMENT, _VIEW, output)
    return capsys.readouterr().out


def test_json_and_yaml_are_the_whole_document(capsys: pytest.CaptureFixture[str]) -> None:
    """With the API's keys."""
    assert json.loads(_printed("json", capsys)) == _DOCUMENT
    assert yaml.safe_load(_printed("yaml", capsys)) == _DOCUMENT


def test_jsonl_and_name_are_one_item_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    """For pipes."""
    assert [json.loads(line) for line in _printed("jsonl", capsys).splitlines()] == _DOCUMENT["topics"]
    assert _printed("name", capsys) == "a\nb[bold]\n"


def test_tables_align_and_show_absence_as_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    """No colours and no cutting in a pipe, and text is never taken for markup."""
    assert [line.split() for line in _printed("table", capsys).splitlines()] == [
        ["NAME", "PARTITIONS", "GONE"],
        ["a", "3", "-"],
        ["b[bold]", "12", "-"],
    ]


def test_wide_shows_more(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns that would not fit a terminal."""
    assert _printed("wide", capsys).splitlines()[1].split() == ["a", "3", "n1,n2", "-"]


def test_nothing_is_printed_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """Commands that change something talk on stderr only."""
    assert _printed(None, capsys) == ""
