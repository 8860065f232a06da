"""Reading a request's body: bounded, counted against the node's budget, decompressed under the same bound."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import ExitStack
from typing import Final

from aiohttp import web
from floodmark.errors import InvalidRequest, TooLarge, UnsupportedMedia

from node.budget import Account
from node.http.context import HttpContext
from node.http.media import ENCODINGS
from node.service.loop_share import BODY_PIECE_BYTES, BODY_SMALL_BYTES

_AT_ONCE_BYTES: Final = 128 << 10
"""At most this is decompressed on the event loop, in under a millisecond; a few bytes can become megabytes.
"""
_GZIP: Final = 16 + zlib.MAX_WBITS


async def read_body(request: web.Request, context: HttpContext, held: ExitStack) -> bytes:
    """The whole body, decoded. Its bytes are counted as they come, and until ``held`` is closed.

    Raises TooLarge, TooManyRequests, UnsupportedMedia, InvalidRequest, RequestTimeout.
    """
    account = held.enter_context(context.uploads(request))
    return await decode(request, await read_raw(request, context, account), context, account)


async def read_raw(request: web.Request, context: HttpContext, account: Account) -> bytes:
    """The whole body as it comes. Raises TooLarge, TooManyRequests, RequestTimeout."""
    cap = context.settings.body_bytes_max
    if request.content_length is not None:
        check_length(request.content_length, cap)
    content = request.content
    chunks: list[bytes] = []
    total = 0
    number = context.bodies.number()
    while not content.at_eof():
        if total > BODY_SMALL_BYTES:
            await context.bodies.wait(BODY_PIECE_BYTES, number)
        chunk = await content.readany()
        total += len(chunk)
        check_length(total, cap)
        account.take(len(chunk))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def decode(request: web.Request, body: bytes, context: HttpContext, account: Account) -> bytes:
    """Decompress an encoded body. Raises TooLarge, TooManyRequests, UnsupportedMedia, InvalidRequest."""
    encoding = request.headers.get("Content-Encoding")
    if encoding is None:
        return body
    return await _decoded(body, encoding.strip().lower(), context, account)


def check_length(length: int, cap: int) -> None:
    """Raise ``TooLarge`` for a body of more than ``cap`` bytes."""
    if length > cap:
        raise TooLarge(f"a body has at most {cap} bytes here; send several smaller requests", limit=cap)


async def _decoded(body: bytes, encoding: str, context: HttpContext, account: Account) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        raise UnsupportedMedia(
            f"content encoding {encoding[:50]!r} is not supported", supported=list(ENCODINGS)
        )
    inflation = Inflation(body, encoding, context.settings.body_bytes_max)
    raw = inflation.begin(_AT_ONCE_BYTES)
    if raw is None:
        raw = await asyncio.to_thread(inflation.finish)  # zlib releases the interpreter lock.
    account.take(len(raw))
    return raw


class Inflation:
    """A body being decompressed, to at most ``cap`` bytes, whatever it claims."""

    def __init__(self, body: bytes, encoding: str, cap: int) -> None:
        self._encoding = encoding
        self._cap = cap
        # HTTP's "deflate" is zlib; some clients send the bare stream, whose first byte never looks like it.
        bare = encoding == "deflate" and not (body[:1] and body[0] & 0x0F == 8 and body[0] >> 4 <= 7)
        bits = _GZIP if encoding == "gzip" else -zlib.MAX_WBITS if bare else zlib.MAX_WBITS
        self._engine = zlib.decompressobj(bits)
        self._rest = body
        self._made = b""

    def begin(self, most: int) -> bytes | None:
        """The whole body, if it has at most ``most`` bytes; else None, and ``finish`` returns it.

        Both raise ``InvalidRequest``, ``TooLarge``.
        """
        most = min(most, self._cap)
        self._made = self._more(most)
        return self._checked(self._made) if self._engine.eof or len(self._made) < most else None

    def finish(self) -> bytes:
        """The whole."""
        return self._checked(self._made + self._more(self._cap + 1 - len(self._made)))

    def _more(self, most: int) -> bytes:
        try:
            made = self._engine.decompress(self._rest, most)
        except zlib.error as error:
            raise InvalidRequest(f"the body is not valid {self._encoding}: {error}") from error
        self._rest = self._engine.unconsumed_tail
        return made

    def _checked(self, raw: bytes) -> bytes:
        check_length(len(raw), self._cap)
        if not self._engine.eof or self._engine.unused_data:
            raise InvalidRequest(f"the body is not exactly one {self._encoding} stream")
        return raw
