"""Heads of requests: the fast path beside aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import cache
from typing import TypeVar

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy, RawRequestMessage

from node.http.media import body_media
from node.http.plain_head import AnyHead, Heads, PlainHead, PlainHeads
from node.http.plain_queue_head import PlainQueueHead, PlainQueueHeads
from node.service.authentication import digest_of
from tests.fuzz.target import Target

H = TypeVar("H", bound=AnyHead)

PARSERS: tuple[type[HttpRequestParserPy], ...] = (HttpRequestParser, HttpRequestParserPy)


def check_alike(
    head: AnyHead, data: bytes, parser: type[HttpRequestParserPy], loop: asyncio.AbstractEventLoop
) -> None:
    """That a head, which ends with ``data``, says to aiohttp what the fast path has taken it for."""
    protocol = BaseProtocol(loop)
    try:
        found, _, _ = parser(
            protocol, loop, 1 << 16, max_line_size=8190, max_field_size=8190, auto_decompress=False
        ).feed_data(data)
    except HttpProcessingError as error:
        raise AssertionError(f"aiohttp refuses it: {error}") from error
    ((message, _),) = found
    assert isinstance(message, RawRequestMessage)
    headers = message.headers
    assert (message.method, message.version) == ("POST", (1, 1))
    assert not message.should_close
    assert not message.upgrade
    assert not message.chunked
    assert not message.compression
    assert int(headers["Content-Length"]) == head.content_length
    assert len(headers.getall("Host")) == 1
    given = headers.getall("Authorization", [])
    assert (None if not given else digest_of(given[0].encode())) == head.credential
    assert len(given) < 2, "two credentials, one of which is not looked at"
    topic_id = headers.get("Floodmark-Topic-Id")
    path = message.path.partition("?")[0]
    if isinstance(head, PlainHead):
        assert path == head.path
        assert (None if topic_id is None else int(topic_id)) == head.topic_id
        assert message.url.query.get("timeout") == head.timeout
        assert message.url.query.get("acks", "quorum") == str(head.acks)
        assert body_media(headers.get("Content-Type")) is head.media
    elif isinstance(head, PlainQueueHead):
        assert path == head.path == f"/v1/queues/{head.queue}/{head.action}"
        assert message.url.path == path, "aiohttp would look elsewhere"
        assert dict(message.url.query) == head.query
        assert topic_id is None


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _check(heads: Heads[H], data: bytes) -> None:
    found = heads.read(data)
    if found is None:
        return
    head, begin = found
    assert begin == data.index(b"\r\n\r\n") + 4
    assert heads.read(data) == found, "the same bytes are read as something else the second time"
    for parser in PARSERS:
        check_alike(head, data[:begin], parser, _loop())


def plain(data: bytes) -> None:
    """Any bytes are a plain head or are left to aiohttp, and a plain one means the same to both of its
    parsers: who asks for what, how long the body is, whether the connection stays.
    """
    _check(PlainHeads(lambda _: True, lambda _: False), data)
    _check(PlainQueueHeads(lambda _: True, lambda _: False), data)


def _seeds() -> Iterator[bytes]:
    usual = b"Host: localhost\r\nContent-Length: 5\r\n"
    for query, more in (
        (b"", b""),
        (b"?acks=leader", b"Content-Type: application/json\r\nUser-Agent: curl/8\r\n"),
        (b"?timeout=5s&acks=none", b"Connection: keep-alive\r\nAuthorization: Bearer fmk_a_b\r\n"),
        (b"?", b"Floodmark-Topic-Id: 7\r\nContent-Type: application/octet-stream; charset=utf-8\r\n"),
        (b"", b"Content-Type: application/vnd.floodmark.batch;v=1\r\nX-Forwarded-For: 10.0.0.1\r\n"),
        (b"", b"Transfer-Encoding: chunked\r\nConnection: close\r\n"),
    ):
        yield b"POST /v1/topics/t/partitions/0/records%b HTTP/1.1\r\n%b%b\r\nhello" % (query, usual, more)
    for target in (
        b"receive",
        b"receive?max=1&wait=5s&worker=a-b.c",
        b"ack?timeout=5s",
        b"settle",
        b"../ack",
    ):
        yield b"POST /v1/queues/jobs/%b HTTP/1.1\r\n%b\r\nhello" % (target, usual)


TARGETS = (Target("plain_head", plain, _seeds),)
