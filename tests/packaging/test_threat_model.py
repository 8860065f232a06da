"""Each line of the threat model names a test, and that test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "SECURITY.md"
_NAMED: Final = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def lines_of(text: str) -> list[str]:
    """The rows of the table that has a column of tests."""
    table = text.partition("| shown by |\n")[2].partition("\n\n")[0]
    return table.splitlines()[1:]


def missing(line: str) -> str | None:
    """What is wrong with a row, if anything."""
    named = _NAMED.findall(line.rstrip(" |").rpartition("|")[2])
    if not named:
        return "names no test"
    for path, name in named:
        file = ROOT / path
        if not file.exists():
            return f"there is no {path}"
        tree = ast.parse(file.read_text())
        functions = {
            node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        if name not in functions:
            return f"there is no {name} in {path}"
    return None


@pytest.mark.parametrize("line", lines_of(PAGE.read_text()))
def test_each_line_names_a_test_that_exists(line: str) -> None:
    """Whoever renames or removes one has to say what shows it now."""
    assert missing(line) is None, line


def test_there_are_lines_and_their_lack_is_noticed() -> None:
    """A table of another form would show nothing."""
    assert len(lines_of(PAGE.read_text())) > 20
    assert missing("| a | b | c | soon |") == "names no test"
    assert (
        missing("| a | b | c | `tests/nothing/test_x.py::test_y` |") == "there is no tests/nothing/test_x.py"
    )
    own = "tests/packaging/test_threat_model.py"
    assert missing(f"| a | b | c | `{own}::test_y` |") == f"there is no test_y in {own}"
