"""Media types: those of request bodies, and the one that a client prefers for its answer."""

from __future__ import annotations

import enum
import functools
import re
from typing import Final

from aiohttp import web
from floodmark.errors import InvalidRequest, NotAcceptable, UnsupportedMedia


class Media(enum.StrEnum):
    """The supported media types."""

    JSON = "application/json"
    NDJSON = "application/x-ndjson"
    MSGPACK = "application/vnd.msgpack"
    BYTES = "application/octet-stream"
    BATCH = "application/vnd.floodmark.batch;v=1"
    EVENTS = "text/event-stream"


BODIES: Final = (Media.JSON, Media.NDJSON, Media.MSGPACK, Media.BYTES, Media.BATCH)
ANSWERS: Final = (Media.JSON, Media.NDJSON, Media.MSGPACK, Media.BATCH, Media.EVENTS)
ENCODINGS: Final = ("identity", "gzip", "deflate")
_ALIASES: Final = {
    "application/json": Media.JSON,
    "text/json": Media.JSON,
    "application/x-ndjson": Media.NDJSON,
    "application/ndjson": Media.NDJSON,
    "application/jsonl": Media.NDJSON,
    "application/vnd.msgpack": Media.MSGPACK,
    "application/msgpack": Media.MSGPACK,
    "application/x-msgpack": Media.MSGPACK,
    "application/octet-stream": Media.BYTES,
    "application/vnd.floodmark.batch": Media.BATCH,
    "text/event-stream": Media.EVENTS,
}
_TEXT: Final = (Media.JSON, Media.NDJSON)
_FORM: Final = "application/x-www-form-urlencoded"
_CHARSETS: Final = ("utf-8", "utf8", "us-ascii", "ascii")
_WEIGHT = re.compile(r"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)", re.ASCII)


@functools.lru_cache(maxsize=256)
def body_media(content_type: str | None) -> Media:
    """A body's media type. JSON when none is given, and for curl's default, which is never meant."""
    if not content_type:
        return Media.JSON
    name, parameters = _split(content_type)
    if name == _FORM:
        return Media.JSON
    media = _ALIASES.get(name)
    if media not in BODIES or (media is Media.BATCH and parameters.get("v", "1") != "1"):
        raise UnsupportedMedia(
            f"a body cannot be {content_type[:100]!r} here", supported=[str(known) for known in BODIES]
        )
    charset = parameters.get("charset", "utf-8").lower()
    if media in _TEXT and charset not in _CHARSETS:
        raise UnsupportedMedia(f"charset {charset[:50]!r} is not supported; use UTF-8", supported=["utf-8"])
    return media


def is_form(content_type: str | None) -> bool:
    """Whether a body is declared a form: curl does so by default, and any web page can send one."""
    return content_type is not None and _split(content_type)[0] == _FORM


def accepted(request: web.Request) -> str | None:
    """``Accept``, which may be split over several lines."""
    return ",".join(request.headers.getall("Accept", ())) or None


@functools.lru_cache(maxsize=256)
def answer_media(accept: str | None, offered: tuple[Media, ...] = ANSWERS) -> Media:
    """The media type that the client weighs highest, the first among equals, JSON for ``*/*``."""
    if not accept or accept == "*/*":
        return offered[0]
    best: tuple[float, Media] | None = None
    for part in accept.split(","):
        name, parameters = _split(part)
        weight = parameters.get("q", "1")
        if _WEIGHT.fullmatch(weight) is None:
            raise InvalidRequest(f"a weight in Accept is 0 to 1, not {weight[:20]!r}")
        media = _offered(name, parameters, offered)
        if media is not None and float(weight) > (best[0] if best else 0.0):
            best = float(weight), media
    if best is None:
        raise NotAcceptable(
            f"none of {accept[:200]!r} can be answered here", supported=[str(media) for media in offered]
        )
    return best[1]


def _offered(name: str, parameters: dict[str, str], offered: tuple[Media, ...]) -> Media | None:
    if name in ("*/*", "application/*"):
        return offered[0]
    media = Media.EVENTS if name == "text/*" else _ALIASES.get(name)
    if media is Media.BATCH and parameters.get("v", "1") != "1":
        return None
    return media if media in offered else None


def _split(text: str) -> tuple[str, dict[str, str]]:
    name, *rest = text.split(";")
    parameters = {}
    for parameter in rest:
        key, _, value = parameter.partition("=")
        parameters[key.strip().lower()] = value.strip().strip('"')
    return name.strip().lower(), parameters
