"""Times in requests and answers: ISO 8601 in UTC with milliseconds, or milliseconds since the Unix epoch."""

from __future__ import annotations

import datetime as dt
import functools
import re
from typing import Final

from floodmark.errors import InvalidRequest

_FIRST_MS: Final = -62_135_596_800_000
"""The start of the year 1."""
_LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999."""
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_PLUS = re.compile(r"T.* [0-9]{2}:?[0-9]{2}$")
_MILLISECONDS = re.compile(r"-?[0-9]{1,15}", re.ASCII)


def parse(value: int | str) -> int:
    """Milliseconds since the Unix epoch. A time without a zone is UTC. Raises ``InvalidRequest``."""
    if isinstance(value, str):
        if _MILLISECONDS.fullmatch(value):
            return parse(int(value))
        try:
            moment = dt.datetime.fromisoformat(value)
            aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
            return (aware - _EPOCH) // dt.timedelta(milliseconds=1)
        except (ValueError, OverflowError) as error:
            raise InvalidRequest(
                f"a time looks like 2026-01-31T10:00:00Z, or is milliseconds since 1970, not {value[:50]!r}"
            ) from error
    if not _FIRST_MS <= value <= _LAST_MS:
        raise InvalidRequest(f"invalid time {value} ms: it is outside the years 1 to 9999")
    return value


def of_query(value: str) -> int:
    """As ``parse``; an unescaped plus sign of a time zone arrives as a space."""
    return parse(value.replace(" ", "+") if _PLUS.search(value) else value)


def text(timestamp_ms: int) -> str | int:
    """As answers show it; a time outside the calendar (a producer may send any number) stays a number."""
    if not _FIRST_MS <= timestamp_ms <= _LAST_MS:
        return timestamp_ms
    seconds, rest = divmod(timestamp_ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@functools.lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return (_EPOCH + dt.timedelta(seconds=seconds)).replace(tzinfo=None).isoformat(timespec="seconds")
