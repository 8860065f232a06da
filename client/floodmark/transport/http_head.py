"""The head of an HTTP/1.1 answer, if it has the plain form that nodes send."""

from __future__ import annotations

from typing import Final

import msgspec

_VERSION: Final = "HTTP/1.1 "
_CODINGS: Final = ("Transfer-Encoding", "Content-Encoding")


class Head(msgspec.Struct, frozen=True):
    """Header names are in title case. ``length``: bytes of the body; ``closes``: no request may follow."""

    status: int
    headers: dict[str, str]
    length: int
    closes: bool


def parse(data: bytes) -> Head | None:
    """The head in ``data``, which ends before the empty line. None for everything that is not a final answer
    with a ``Content-Length`` and without codings: then a proxy on the way speaks another kind of HTTP, which
    needs a complete HTTP client."""
    first, *rest = data.decode("latin-1").split("\r\n")
    status = first[len(_VERSION) : len(_VERSION) + 3]
    if not first.startswith(_VERSION) or not status.isdecimal() or int(status) < 200:
        return None
    headers: dict[str, str] = {}
    for line in rest:
        name, colon, value = line.partition(":")
        name, value = name.title(), value.strip(" \t")
        if not colon or not name or name != name.strip():
            return None
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    length = headers.get("Content-Length", "")
    if not length.isdecimal() or any(name in headers for name in _CODINGS):
        return None
    return Head(int(status), headers, int(length), headers.get("Connection", "").lower() == "close")
