"""The nodes' log lines around certain moments. Their content is treated as plain text."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from chaos.report import document
from chaos.report.timescale import Timescale

AROUND_NS: Final = 2_000_000_000
LINES_MAX: Final = 16
"""Lines kept of one node around the moments of one violation: the nearest ones."""
LINE_CHARS_MAX: Final = 400

_DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)\s*(?:\[(\w+)\s*\])?\s*")
_SAID_ELSEWHERE = ("timestamp", "level", "node", "event")


def lines_around(
    folder: Path, nodes: Sequence[str], times: Timescale, moments: Sequence[Sequence[int]]
) -> list[list[document.LogLine]]:
    """For each list of moments (monotonic) the lines of all nodes near any of them, by time.

    Reads every log once. Lines without a date, like those of a traceback, have the date of the line before.
    """
    found: list[list[document.LogLine]] = [[] for _ in moments]
    for node in nodes:
        nearest: list[list[tuple[int, int, document.LogLine]]] = [[] for _ in moments]
        for number, (time_ns, level, text) in enumerate(_lines(folder, node, times)):
            for near, wanted in zip(nearest, moments, strict=True):
                away_ns = min((abs(time_ns - each) for each in wanted), default=AROUND_NS + 1)
                if away_ns <= AROUND_NS:
                    line = document.LogLine(at_s=times.seconds(time_ns), node=node, level=level, text=text)
                    heapq.heappush(near, (-away_ns, -number, line))
                    if len(near) > LINES_MAX:
                        heapq.heappop(near)
        for near, lines in zip(nearest, found, strict=True):
            lines.extend(line for *_, line in sorted(near, key=lambda entry: -entry[1]))
    return [sorted(lines, key=lambda line: line.at_s) for lines in found]


def _lines(folder: Path, node: str, times: Timescale) -> Iterator[tuple[int, str, str]]:
    """Time, level and text of every line of a node's log, the older generation first."""
    time_ns: int | None = None
    level = ""
    for path in (folder / f"{node}.log.1", folder / f"{node}.log"):
        if not path.exists():
            continue
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                moment, level_now, text = read_line(line.rstrip("\n"))
                if moment is not None:
                    time_ns, level = times.from_wall(moment), level_now
                if time_ns is not None and text:
                    yield time_ns, level, text[:LINE_CHARS_MAX]


def read_line(line: str) -> tuple[datetime | None, str, str]:
    """Date, level and text of a JSON line or a console line; a line that is neither has no date."""
    try:
        said = msgspec.json.decode(line, type=dict[str, Any])
        moment = datetime.fromisoformat(str(said["timestamp"]))
    except (msgspec.DecodeError, KeyError, ValueError):
        return _read_console_line(line)
    if moment.tzinfo is None:
        return None, "", line
    rest = " ".join(f"{name}={_plain(value)}" for name, value in said.items() if name not in _SAID_ELSEWHERE)
    return moment, str(said.get("level", "")), f"{said.get('event', '')} {rest}".strip()


def _read_console_line(line: str) -> tuple[datetime | None, str, str]:
    match = _DATE.match(line)
    if match is None:
        return None, "", line
    try:
        return datetime.fromisoformat(match[1]), match[2] or "", line[match.end() :]
    except ValueError:
        return None, "", line


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
