"""Entity tags of pages: two pages with the same tag are the same bytes.

A tag consists of the topic's id, the partition, the range of offsets, the media type, and a checksum of the
body: the same range may come in other bytes (bounds in a document move; replicas' frames differ in
``synced``). Caches must revalidate every page: records can be removed at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import google_crc32c
from aiohttp import web

from node.http.media import Media

_TAGS: Final = re.compile(r'\s*(?:W/)?("[^"]*")\s*')
_KEPT: Final = "private, no-cache"


def caching(
    request: web.Request,
    topic_id: int,
    number: int,
    media: Media,
    offsets: tuple[int, ...],
    pieces: Iterable[bytes],
) -> tuple[dict[str, str], bool]:
    """The headers for a page of ``offsets`` whose body is ``pieces``, and whether the client already has it.

    With ``Cache-Control: no-store`` there is no tag: making one means reading the whole page.
    """
    if "no-store" in request.headers.get("Cache-Control", ""):
        return {"Cache-Control": "no-store"}, False
    crc, size = 0, 0
    for piece in pieces:
        crc = google_crc32c.extend(crc, piece)
        size += len(piece)
    where = "-".join(map(str, offsets))
    tag = f'"{topic_id:x}-{number}-{where}-{media.name.lower()}-{size:x}-{crc:08x}"'
    headers = {"Cache-Control": _KEPT, "ETag": tag}
    return headers, matches(request.headers.getall("If-None-Match", ()), tag)


def matches(if_none_match: Iterable[str], tag: str) -> bool:
    """Whether one of the client's tags is ``tag`` or ``*``."""
    return any(
        line.strip() == "*" or tag in (found[1] for found in _TAGS.finditer(line)) for line in if_none_match
    )
