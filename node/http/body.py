"""Reading a request's body: bounded, counted against the node's budget, decompressed under the same bound."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import ExitStack
from typing import Final

from aiohttp import web
from floodmark.errors import InvalidRequest, TooLarge, UnsupportedMedia

from node.http.context import HttpContext
from node.http.media import ENCODINGS

_IN_THREAD_BYTES: Final = 64 << 10
_GZIP: Final = 16 + zlib.MAX_WBITS


async def read_body(request: web.Request, context: HttpContext, held: ExitStack) -> bytes:
    """The whole body. Its bytes stay counted in ``admit_bytes`` until ``held`` is closed.

    Raises TooLarge, TooManyRequests, UnsupportedMedia, InvalidRequest, RequestTimeout.
    """
    cap = context.settings.body_bytes_max
    length = request.content_length
    if length is not None:
        check_length(length, cap)
        held.enter_context(context.broker.admit_bytes(length))
    content = request.content
    chunks: list[bytes] = []
    total = 0
    while not content.at_eof():
        chunk = await content.readany()
        total += len(chunk)
        if length is None:
            check_length(total, cap)
            held.enter_context(context.broker.admit_bytes(len(chunk)))
        chunks.append(chunk)
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    encoding = request.headers.get("Content-Encoding")
    if encoding is None:
        return body
    return await _decoded(body, encoding.strip().lower(), context, held)


def check_length(length: int, cap: int) -> None:
    """Raise ``TooLarge`` for a body of more than ``cap`` bytes."""
    if length > cap:
        raise TooLarge(f"a body has at most {cap} bytes here; send several smaller requests", limit=cap)


async def _decoded(body: bytes, encoding: str, context: HttpContext, held: ExitStack) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        raise UnsupportedMedia(
            f"content encoding {encoding[:50]!r} is not spoken here", supported=list(ENCODINGS)
        )
    cap = context.settings.body_bytes_max
    if len(body) > _IN_THREAD_BYTES:
        raw = await asyncio.to_thread(_inflate, body, encoding, cap)
    else:
        raw = _inflate(body, encoding, cap)
    held.enter_context(context.broker.admit_bytes(len(raw)))
    return raw


def _inflate(body: bytes, encoding: str, cap: int) -> bytes:
    """At most ``cap`` bytes are ever made of ``body``, whatever it claims."""
    # HTTP's "deflate" is zlib; some clients send the bare stream, whose first byte never looks like zlib's.
    bare = encoding == "deflate" and not (body[:1] and body[0] & 0x0F == 8 and body[0] >> 4 <= 7)
    engine = zlib.decompressobj(_GZIP if encoding == "gzip" else -zlib.MAX_WBITS if bare else zlib.MAX_WBITS)
    try:
        raw = engine.decompress(body, cap + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the body is no valid {encoding}: {error}") from error
    check_length(len(raw), cap)
    if not engine.eof or engine.unused_data:
        raise InvalidRequest(f"the body is not exactly one {encoding} stream")
    return raw
