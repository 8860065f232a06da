"""From an error answer (RFC 9457) to the exception of the error tree that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from floodmark.errors import (
    FloodmarkError,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServerError,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    error_class,
)

#: What a status of a proxy means, which knows HTTP statuses but not our codes.
_BY_STATUS: Final[dict[int, type[FloodmarkError]]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    413: TooLarge,
    429: TooManyRequests,
    503: Unavailable,
}
_STANDARD_MEMBERS: Final = frozenset({"type", "title", "status", "detail", "code", "cause"})


def error_of(status: int, headers: Mapping[str, str], body: bytes | bytearray) -> FloodmarkError:
    """The exception for an answer of this status."""
    try:
        problem = msgspec.json.decode(body, type=dict[str, Any])
    except (ValueError, RecursionError):  # not one of our answers, so its text is all there is
        problem = {"detail": body[:200].decode(errors="replace") or f"HTTP status {status}"}
    fields = {name: value for name, value in problem.items() if name not in _STANDARD_MEMBERS}
    fields.setdefault("http_status", status)
    retry_after = headers.get("Retry-After", "")
    # A node says it in ``retry_after_s``; the header has whole seconds, which is far too coarse.
    if "code" not in problem and retry_after.replace(".", "", 1).isdigit():
        fields["retry_after_s"] = float(retry_after)
    cls = error_class(str(problem.get("code")), problem.get("cause"))
    if cls is None:
        cls = _BY_STATUS.get(status, ServerError)
        if cls is Unavailable:
            # Proxies send this status too if the connection to a node broke: the node may have got the
            # request.
            fields["sent"] = True
    return cls(str(problem.get("detail") or problem.get("title") or f"HTTP status {status}"), **fields)
