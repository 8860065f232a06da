"""Turns another node's problem document back into its exception."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from floodmark.errors import FloodmarkError, Unavailable, error_class

_STANDARD: Final = frozenset(
    {"type", "title", "status", "detail", "code", "cause", "retriable", "request_id"}
)
_DECODER = msgspec.json.Decoder(dict[str, Any])


def error_of(status: int, body: bytes) -> FloodmarkError:
    """The error; ``Unavailable`` for anything but a problem document."""
    try:
        problem = _DECODER.decode(body)
        cls = error_class(problem["code"], problem.get("cause"))
        detail = str(problem["detail"])
    except (ValueError, TypeError, KeyError):
        cls, detail = None, ""
    if cls is None:
        return Unavailable(f"a node answered {status} without a problem document")
    return cls(detail, **{name: value for name, value in problem.items() if name not in _STANDARD})
