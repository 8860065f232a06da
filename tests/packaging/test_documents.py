"""What the documents name exists: linked pages and headings, files, modules, make targets and commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from cli.main import floodmark

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = sorted(
    (*ROOT.glob("*.md"), *ROOT.glob("client/*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md"))
)
ROOMS: Final = "client|node|consensus|storage|cli|local|chaos|bench|tests|examples|scripts|docs"
Missing = Iterator[str]


def _headings(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ +(.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def _code(text: str) -> Iterator[str]:
    """The lines of code blocks, and the code within lines."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", text)


def broken_links(page: Path, text: str) -> Missing:
    """Links to files and headings of this project that are not there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if "://" in target:
            continue
        if not file.exists() or (anchor and anchor not in _headings(file.read_text())):
            yield target


def missing_files(_page: Path, text: str) -> Missing:
    """Paths below a room, with ``*`` as in a shell; the client's modules may be named without ``client/``."""
    for path in re.findall(rf"`((?:{ROOMS})/[\w./*-]+)`", text):
        if not any(ROOT.glob(path.rstrip("/"))):
            yield path


def missing_modules(_page: Path, text: str) -> Missing:
    """Dotted names of modules, perhaps with the name of something in it."""
    for name in re.findall(
        r"`((?:floodmark|node|consensus|storage|cli|local|chaos|bench)(?:\.[a-z_]+)+)`", text
    ):
        *parts, last = name.split(".")
        place = ROOT.joinpath("client" if parts[0] == "floodmark" else "", *parts)
        if not (place.with_suffix(".py").exists() or place.is_dir() or (place / f"{last}.py").exists()):
            yield name


def missing_targets(_page: Path, text: str) -> Missing:
    """``make TARGET`` in code."""
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in _code(text):
        if (target := re.match(r"make ([a-z-]+)", line)) and target[1] not in known:
            yield line


def missing_commands(_page: Path, text: str) -> Missing:
    """``floodmark COMMAND SUBCOMMAND`` in code."""
    for line in _code(text):
        if words := re.match(r"(?:\S*/bin/)?floodmark ([a-z-]+(?: [a-z-]+)?)", line):
            command: click.Command | None = floodmark
            for word in words[1].split():
                if isinstance(command, click.Group):
                    command = command.get_command(click.Context(floodmark), word)
            if command is None:
                yield line


@pytest.mark.parametrize(
    "missing", [broken_links, missing_files, missing_modules, missing_targets, missing_commands]
)
def test_what_documents_name_exists(missing: Callable[[Path, str], Missing]) -> None:
    """Nothing is missing; each check finds something to look at (see below)."""
    found = {str(page.relative_to(ROOT)): list(missing(page, page.read_text())) for page in DOCUMENTS}
    assert {page: names for page, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        (broken_links, "[a](no-such-file.md)"),
        (broken_links, "[a](README.md#no-such-heading)"),
        (missing_files, "see `node/no_such_file.py`"),
        (missing_modules, "see `node.no_such.module`"),
        (missing_targets, "run `make no-such-target`"),
        (missing_commands, "run `floodmark topic no-such-command`"),
        (missing_commands, "`.venv/bin/floodmark no-such-command`"),
    ],
)
def test_what_is_missing_is_found(missing: Callable[[Path, str], Missing], text: str) -> None:
    """Each check sees a mistake of its kind."""
    assert len(list(missing(ROOT / "README.md", text))) == 1


def test_the_architecture_can_be_read_in_one_sitting() -> None:
    """Under 250 lines with its two diagrams: figures stand in the decisions, details in docstrings."""
    text = (ROOT / "docs/ARCHITECTURE.md").read_text()
    assert len(text.splitlines()) < 250
    assert text.count("```mermaid") == 2
