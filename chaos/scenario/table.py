"""Reads a TOML table strictly: every member has the right type and range, and unknown ones are errors."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable
from typing import Any, Final, Literal, TypeVar

import msgspec

T = TypeVar("T")
REQUIRED: Final[Any] = object()
"""In place of a default."""

_NAMES: Final[dict[object, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
}


class Table:
    """One table; what is wrong with it goes to ``problems``, and reading goes on with the default."""

    def __init__(self, values: dict[str, Any], where: str, problems: list[str]) -> None:
        self._values = values
        self._where = where
        self._problems = problems
        self._known: list[str] = []

    def take(
        self, name: str, kind: Any, default: Any, *, low: float | None = None, high: float | None = None
    ) -> Any:
        """The member ``name`` of type ``kind``, or its default if it is missing or wrong."""
        self._known.append(name)
        if name not in self._values:
            if default is REQUIRED:
                self.wrong(f"{name!r} is missing: {_description(kind, low, high)}")
            return default
        value = self._values[name]
        try:
            found = msgspec.convert(value, kind, strict=True)
        except msgspec.ValidationError:
            self.wrong(f"{name!r} must be {_description(kind, low, high)}, not {value!r}")
            return default
        if isinstance(found, int | float) and not (_is_at_least(found, low) and _is_at_most(found, high)):
            self.wrong(f"{name!r} must be {_description(kind, low, high)}, not {value!r}")
            return default
        return found

    def wrong(self, what: str) -> None:
        """Add a problem of this table."""
        self._problems.append(f"{self._where}{what}")

    def finish(self, *, besides: Iterable[str] = ()) -> None:
        """Report members that were not taken as mistakes."""
        known = [*self._known, *besides]
        for name in self._values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
                self.wrong(f"{name!r} is not known here; {hint}")


def _is_at_least(value: float, low: float | None) -> bool:
    return low is None or value >= low


def _is_at_most(value: float, high: float | None) -> bool:
    return high is None or value <= high


def _description(kind: Any, low: float | None, high: float | None) -> str:
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return "a list, each of it " + _description(typing.get_args(kind)[0], None, None)
    name = _NAMES.get(kind, getattr(kind, "__name__", str(kind)))
    if low is not None and high is not None:
        return f"{name} from {low:g} to {high:g}"
    if low is not None:
        return f"{name}, at least {low:g}"
    return name
