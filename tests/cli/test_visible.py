"""What others have written reaches a terminal without control characters, and a pipe to the byte."""

from __future__ import annotations

import json
import os
import pty
import sys
from collections.abc import Callable

import pytest
from floodmark.format.headers import Headers
from hypothesis import given
from hypothesis import strategies as st

from cli import exits
from cli.format_string import Consumed, compile_format
from cli.visible import visible, visible_bytes, visible_json

_RECORD = Consumed("t", 0, 0, 0, b"k\x1b[2J", b"v\x1b]0;x\x07\xff\xc2\x9b\n\tw", Headers([("h\x1b", b"\r")]))


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes people look at stdout."""
    return lambda: monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


@pytest.mark.usefixtures("capsys")
def test_a_format_string_escapes_what_records_say_only(on_terminal: Callable[[], None]) -> None:
    """The user's own escape sequences are the user's; in a pipe everything stays."""
    line = compile_format(r"\x1b[1m%k|%v|%h\n")
    assert line(_RECORD) == b"".join([b"\x1b[1m", _RECORD.key or b"", b"|", _RECORD.value, b"|h\x1b=\r\n"])
    on_terminal()
    assert line(_RECORD) == (b"\x1b[1mk\\x1b[2J|v\\x1b]0;x\\x07\\xff\\x9b\n\tw|h\\x1b=\\r\n")


def test_an_error_message_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Messages quote what servers and records say."""

    def command() -> None:
        raise exits.Failure("it said \x1b[2J\x9b", hint="\x07")

    assert exits.guard(command, debug=lambda: False) == 1
    assert capsys.readouterr().err == "error: it said \\x1b[2J\\x9b\nhint: \\x07\n"


@given(st.text(), st.binary())
def test_nothing_but_line_breaks_and_tabs_is_left(text: str, data: bytes) -> None:
    """Whatever comes."""
    assert visible(text).isprintable()
    assert visible_bytes(data).decode().translate({9: "", 10: ""}).isprintable()


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_json_says_the_same(text: str) -> None:
    """Escapes stand for what they replace."""
    shown = visible_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(shown) == text
    assert shown.isprintable()


def test_a_real_terminal_is_seen_as_one() -> None:
    """isatty of what a terminal really gives."""
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs, "w") as stream:
            from cli.visible import is_terminal

            assert is_terminal(stream)
    finally:
        os.close(ours)
