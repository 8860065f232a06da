"""Request documents of administration: small, in JSON, of a known form."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final, TypeVar

import msgspec
from aiohttp import web
from floodmark.errors import InvalidRequest

from node.http.body import read_body
from node.http.context import HttpContext
from node.http.doubled import check_document
from node.http.json_guard import check_text

T = TypeVar("T")
_WHY_CHARACTERS_MAX: Final = 500
"""Names of unknown members are repeated, however long they are."""


async def read_document(
    request: web.Request,
    context: HttpContext,
    decoder: msgspec.json.Decoder[T],
    example: str,
    *,
    may_be_missing: bool = False,
) -> tuple[T, int]:
    """The request's body, and its size in bytes. Raises as ``read_body`` and ``decoded`` do.

    ``may_be_missing``: no body says as much as a document without members.
    """
    with ExitStack() as held:
        body = await read_body(request, context, held)
    text = body or b"{}" if may_be_missing else body
    return decoded(text, decoder, example), len(body)


def decoded(body: bytes, decoder: msgspec.json.Decoder[T], example: str) -> T:
    """Decode a document. Raises ``InvalidRequest`` with an ``example`` of what is expected, or for a member
    that is given twice."""
    check_text(body)
    try:
        found = decoder.decode(body)
        check_document(body)
    except (msgspec.DecodeError, RecursionError) as error:
        why = str(error)[:_WHY_CHARACTERS_MAX]
        raise InvalidRequest(f"the body is not what is expected here, such as {example}: {why}") from error
    return found
