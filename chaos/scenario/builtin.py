"""The scenarios that come with Floodmark: chaos/scenarios/*.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from chaos.scenario.model import Scenario
from chaos.scenario.toml_form import parse_scenario

_FOLDER: Final = Path(__file__).resolve().parents[1] / "scenarios"


def builtin_names() -> list[str]:
    """Their names, in order: those of the files."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def builtin_scenario(name: str) -> Scenario:
    """One of them. Raises ``KeyError`` for an unknown name."""
    if name not in builtin_names():
        raise KeyError(name)
    return read_scenario(_FOLDER / f"{name}.toml")


def read_scenario(path: Path) -> Scenario:
    """The scenario in a file. Raises ``ScenarioInvalid`` and ``OSError``."""
    return parse_scenario(path.read_text(encoding="utf-8"), source=str(path))
