"""Consumed records in every format, printed one by one."""

from __future__ import annotations

import json
import sys

import pytest
import yaml
from floodmark.consumer.consumed import ConsumedRecord

from cli.record_document import COLUMNS, document_of, name_of
from cli.stream_output import StreamPrinter

_RECORDS = [
    ConsumedRecord(0, 41, 1357035300000, 1357035300001, b"UA", b'{"a":\n 1.10}', True, {"h": "v"}),
    ConsumedRecord(1, 7, -(1 << 62), 0, b"\xff", b"\x00\x1b[2J", False, None),
]


def _printed(output: str, records: list[ConsumedRecord], capsys: pytest.CaptureFixture[str]) -> str:
    with StreamPrinter(output, COLUMNS, name_of) as printer:
        for record in records:
            printer.write(document_of(record))
    return capsys.readouterr().out


def test_json_lines_keep_values_to_the_letter(capsys: pytest.CaptureFixture[str]) -> None:
    """1.10 stays 1.10, and a line break in a value does not break the line."""
    lines = _printed("jsonl", _RECORDS, capsys).splitlines()
    assert lines[0] == (
        '{"partition":0,"offset":41,"timestamp":"2013-01-01T10:15:00.000Z",'
        '"append_time":"2013-01-01T10:15:00.001Z","key":"UA","value":{"a":  1.10},"headers":{"h":"v"}}'
    )
    assert json.loads(lines[1]) == {
        "partition": 1,
        "offset": 7,
        "timestamp": -(1 << 62),
        "append_time": "1970-01-01T00:00:00.000Z",
        "key_b64": "/w==",
        "value_b64": "ABtbMko=",
    }


@pytest.mark.parametrize("count", [0, 1, 2])
def test_json_and_yaml_are_whole_documents(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    """With no record, with one, with more."""
    as_json = json.loads(_printed("json", _RECORDS[:count], capsys))
    as_yaml = yaml.safe_load(_printed("yaml", _RECORDS[:count], capsys))
    assert as_json == as_yaml
    assert [record["offset"] for record in as_json["records"]] == [41, 7][:count]


def test_the_document_is_closed_when_reading_is_broken_off(capsys: pytest.CaptureFixture[str]) -> None:
    """What was printed before Ctrl-C is still a document."""

    def interrupted() -> None:
        with StreamPrinter("json", COLUMNS, name_of) as printer:
            printer.write(document_of(_RECORDS[0]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(json.loads(capsys.readouterr().out)["records"]) == 1


_ODD = [b"1e400", b"nope", b'"\xff"', b"[" * 3000 + b"]" * 3000, b"1" * 5000, b'"\\ud800"', b""]


@pytest.mark.parametrize("output", ["json", "jsonl", "yaml", "table", "wide", "name"])
def test_no_value_ends_the_printing(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no JSON although its producer said so is shown as bytes; numbers may be of any size."""
    records = [ConsumedRecord(0, n, 0, 0, b"k", value, True, None) for n, value in enumerate(_ODD)]
    text = _printed(output, records, capsys)
    if output == "json":
        text = text.replace("1" * 5000, "1")  # more than Python reads
        shown = json.loads(text)["records"]
        assert [("value" in each) for each in shown] == [True, False, False, False, True, False, False]
    elif output == "yaml":
        assert "    value: 1.0e+400\n" in text
        assert f"    value: {'1' * 5000}\n" in text
        assert [int(each["offset"]) for each in yaml.load(text, yaml.BaseLoader)["records"]] == list(
            range(len(_ODD))
        )
    elif output in ("jsonl", "name"):
        assert len(text.splitlines()) == len(_ODD)


def test_a_terminal_gets_no_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text of JSON may hold DEL and the C1 codes, of which one begins escape sequences. It says the same."""
    record = ConsumedRecord(
        0, 0, 0, 0, "\x9b2J".encode(), '"\x7f\x9b\U000e0001"'.encode(), True, {"\x1b": "\x07"}
    )
    before = [_printed(output, [record], capsys) for output in ("json", "jsonl", "yaml")]
    assert "\x9b" in before[0]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for output, piped in zip(("json", "jsonl", "yaml"), before, strict=True):
        text = _printed(output, [record], capsys)
        assert text.replace("\n", "").isprintable()
        assert yaml.safe_load(text.replace("\\udb40\\udc01", "\\U000e0001")) == yaml.safe_load(
            piped.replace("\x7f", "\\x7f").replace("\x9b", "\\x9b")
        )


def test_names_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal's control characters are shown, not obeyed."""
    assert _printed("name", _RECORDS, capsys) == "0/41\n1/7\n"
    table = _printed("table", _RECORDS, capsys).splitlines()
    assert table[0].split() == ["PARTITION", "OFFSET", "TIMESTAMP", "KEY", "VALUE"]
    assert table[1].split() == ["0", "41", "2013-01-01T10:15:00.000Z", "UA", '{"a":', "1.10}"]
    assert "\\x1b[2J" in table[2]
