"""Durations and sizes as people write them: 7d, 90s, 512MiB; ``none`` lifts a limit."""

from __future__ import annotations

import re
from typing import Any

import click

_DURATIONS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SIZES = {
    "": 1,
    "b": 1,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}
NO_LIMIT = "none"


class _Quantity(click.ParamType[int | str]):
    def __init__(self, name: str, units: dict[str, int], example: str, *, or_none: bool = True) -> None:
        self.name = name
        self._or_none = or_none
        self._units = units
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """A number of the smallest unit, or NO_LIMIT."""
        text = str(value).strip().lower()
        if text == NO_LIMIT and self._or_none:
            return NO_LIMIT
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text)
        if match is None or match[2] not in self._units:
            other = f", or {NO_LIMIT}" if self._or_none else ""
            self.fail(f"{value!r} is not valid: write it as in {self._example}{other}", param, ctx)
        return round(float(match[1]) * self._units[match[2]])


DURATION_MS = _Quantity("duration", _DURATIONS_MS, "7d, 36h or 90s")
SPAN_MS = _Quantity("duration", _DURATIONS_MS, "30s, 500ms or 5m", or_none=False)
"""A duration that is never without a limit."""
SIZE_BYTES = _Quantity("size", _SIZES, "512MiB, 10GB or 1048576")
