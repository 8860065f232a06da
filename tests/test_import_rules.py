"""The import rule of doors: what is not listed is broken, also where it is new."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest

from scripts.import_rules import OnlyListedContract

_SETTINGS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["tool"]["importlinter"]
_CONTRACT: dict[str, Any] = next(each for each in _SETTINGS["contracts"] if each["type"] == "only_listed")


def _wrong(*further: tuple[str, str]) -> list[str]:
    """What the rule says of a node whose door imports all that it may, and these besides."""
    graph = grimp.ImportGraph()
    allowed = [("node.http.door", name) for name in _CONTRACT["allowed_packages"]]
    for importer, imported in (*allowed, *further):
        for name in (importer, imported):
            graph.add_module(name)
        graph.add_import(importer=importer, imported=imported, line_number=7, line_contents="")
    contract = OnlyListedContract(_CONTRACT["name"], {}, _CONTRACT)
    found = contract.check(graph, verbose=False)
    assert found.kept is not bool(found.metadata["wrong"])
    return list(found.metadata["wrong"])


@pytest.mark.parametrize(
    "imported",
    ["node.partition.appender", "node.made_tomorrow", "node", "storage", "consensus.core.group", "cli.start"],
)
def test_a_door_imports_nothing_that_is_not_listed(imported: str) -> None:
    """Also what nobody has thought of, and from any of its modules."""
    assert _wrong(("node.http.new.module", imported)) == [f"node.http.new.module -> {imported} (l.7)"]


def test_a_door_imports_what_is_listed_and_itself_and_others_what_they_like() -> None:
    """Modules below what is listed, and what is not of this project, too."""
    assert not _wrong(
        ("node.http.door", "node.http.app"),
        ("node.http.door", "node.service.new"),
        ("node.http.door", "aiohttp"),
        ("node.http.door", "floodmark.errors"),
        ("node.wiring", "node.partition"),
        ("node.https", "node.partition"),
    )


def test_what_is_listed_in_vain_is_told() -> None:
    """So that no door keeps an arrow that nobody needs."""
    graph = grimp.ImportGraph()
    graph.add_module("node.http.door")
    found = OnlyListedContract(_CONTRACT["name"], {}, _CONTRACT).check(graph, verbose=False)
    assert len(found.metadata["wrong"]) == len(_CONTRACT["allowed_packages"])
