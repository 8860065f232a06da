"""Query parameters and numeric headers: strict about form, lenient about size where a cap is harmless."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from floodmark.errors import InvalidRequest
from floodmark.format.names import check_name

from node.broker import Acks

if TYPE_CHECKING:  # The process that decodes large bodies uses this module, and must not import aiohttp.
    from aiohttp import web

OFFSET_MAX: Final = (1 << 63) - 1
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,15})(ms|s|m|h)", re.ASCII)
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NONE: Final[Mapping[str, str]] = {}
_ACKS: Final = {str(acks): acks for acks in Acks}


def query_of(request: web.Request, known: frozenset[str]) -> Mapping[str, str]:
    """The query: each parameter at most once, none unknown."""
    if not request.rel_url.raw_query_string:
        return _NONE
    found: dict[str, str] = {}
    for name, value in request.rel_url.query.items():
        if name not in known:
            raise InvalidRequest(
                f"unknown query parameter {name[:100]!r}; known are {', '.join(sorted(known))}"
            )
        if name in found:
            raise InvalidRequest(f"the query parameter {name!r} is given twice")
        found[name] = value
    return found


def topic_name(request: web.Request) -> str:
    """The topic in the path. Raises ``InvalidName``."""
    return check_name(request.match_info["topic"])


def partition_number(request: web.Request) -> int:
    """The partition in the path."""
    return number(request.match_info["partition"], "partition", highest=OFFSET_MAX)


def number(text: str, name: str, *, highest: int, lowest: int = 0) -> int:
    """A decimal number in the given range."""
    value = int(text) if _NUMBER.fullmatch(text) else -1
    if not lowest <= value <= highest:
        raise InvalidRequest(f"{name} is a number from {lowest} to {highest}, not {text[:100]!r}")
    return value


def capped(query: Mapping[str, str], name: str, *, default: int, cap: int) -> int:
    """A positive number, lowered to ``cap``."""
    text = query.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and text.strip("0"):
        return min(int(text), cap) if len(text) < 20 else cap
    raise InvalidRequest(f"{name} is a positive number, not {text[:100]!r}")


def duration_s(text: str, name: str, *, cap: float) -> float:
    """``500ms``, ``10s``, ``2m``, ``1h`` or ``0``, in seconds, at most ``cap``."""
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"{name} is a duration such as 500ms, 10s or 2m, not {text[:100]!r}")
    return min(int(match[1]) * _UNIT_S[match[2]], cap)


def flag(query: Mapping[str, str], name: str) -> bool:
    """``true`` or ``false``; false when absent."""
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise InvalidRequest(f"{name} is true or false, not {text[:100]!r}")
    return text == "true"


def is_copy(query: Mapping[str, str]) -> bool:
    """``mode=copy``: the body is what was read, to be stored as the same records."""
    text = query.get("mode")
    if text is not None and text != "copy":
        raise InvalidRequest(f"mode is copy, not {text[:100]!r}")
    return text is not None


def acks_of(query: Mapping[str, str]) -> Acks:
    """When to answer a produce."""
    text = query.get("acks")
    if text is None:
        return Acks.QUORUM
    acks = _ACKS.get(text)
    if acks is None:
        raise InvalidRequest(f"acks is quorum, leader or none, not {text[:100]!r}")
    return acks
