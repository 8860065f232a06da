"""Where to begin reading: ``earliest``, ``latest``, an offset, ``-10`` for the last ten, ``@time``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
from floodmark.consumer.fetcher import Start

from cli.produce_input import timestamp_ms

_NAMED: dict[str, Start] = {"earliest": "earliest", "latest": "latest"}


class Position(click.ParamType[Start]):
    """The type of ``--from``."""

    name = "position"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Start:
        """The text as the client's ``start``."""
        text = str(value)
        if text in _NAMED:
            return _NAMED[text]
        try:
            if text.startswith("@"):
                return datetime.fromtimestamp(timestamp_ms(text[1:]) / 1000, UTC)
            return int(text)
        except (ValueError, OverflowError, OSError):
            self.fail(
                f"{text!r} is not a position: use earliest, latest, an offset, -10 for the last ten, or "
                "@2026-01-31T10:00Z",
                param,
                ctx,
            )
