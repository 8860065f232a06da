"""What a client holds (an offset, a cursor, an event id, a producer's sequences) belongs to one topic id.

Ids grow and are never reused, so a topic that is deleted and created again under its name is another one.
Every answer about a topic names its id in ``Floodmark-Topic-Id``; a request that names one, in that header or
as ``topic_id=`` (for those who cannot set headers), is served for that topic or refused, at every node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from aiohttp import web
from floodmark.errors import InvalidRequest

from node.http.query import OFFSET_MAX, number

TOPIC_ID: Final = "Floodmark-Topic-Id"
TOPIC_ID_QUERY: Final = "topic_id"
_ASKED: Final = web.RequestKey("floodmark_asked_id", int)


def asked_id(request: web.Request, query: Mapping[str, str], held: int | None = None) -> int | None:
    """The id that a request names; ``held``: the one in its cursor or event id. Raises ``InvalidRequest``."""
    given = {TOPIC_ID: request.headers.get(TOPIC_ID), TOPIC_ID_QUERY: query.get(TOPIC_ID_QUERY)}
    ids = {number(text, name, highest=OFFSET_MAX) for name, text in given.items() if text is not None}
    if held is not None:
        ids.add(held)
    if len(ids) > 1:
        raise InvalidRequest(f"the request belongs to one topic, but names the ids {sorted(ids)}")
    if not ids:
        return None
    request[_ASKED] = ids.pop()
    return request[_ASKED]


def note_ids(request: web.Request, ids: Iterable[int]) -> None:
    """The request's body names these; 0 where it means whatever has the name now."""
    if found := [each for each in ids if each]:
        request[_ASKED] = found[0]


def was_asked(request: web.Request) -> int | None:
    """An id that the request names, as an earlier ``asked_id`` or ``note_ids`` found it, if any."""
    return request.get(_ASKED)
