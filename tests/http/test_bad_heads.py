"""Request heads that are no HTTP, or too much of it: answered, closed, and nothing is smuggled."""

from __future__ import annotations

import json
import re

import pytest

from tests.http.conftest import MARK, Harness

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/topics/t/records HTTP/1.1\r\nHost: localhost\r\n"
SMUGGLED = b"DELETE /v1/topics/t HTTP/1.1\r\nHost: localhost\r\n\r\n"

BAD_HEADS = {
    "a length and chunks": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks and a length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    "the same length twice": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    "a list of lengths": (POST + b"Content-Length: 5, 5\r\n\r\nhello", 400),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a length with a sign": (POST + b"Content-Length: +5\r\n\r\nhello", 400),
    "a hexadecimal length": (POST + b"Content-Length: 0x5\r\n\r\nhello", 400),
    "a length above 2^64": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
    "an unknown transfer encoding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "a bare line feed": (b"GET /healthz HTTP/1.1\nHost: x\n\n", 400),
    "a folded header": (GET + b"A: b\r\n c\r\n\r\n", 400),
    "a space before the colon": (GET + b"A : b\r\n\r\n", 400),
    "a NUL in a header": (GET + b"A: b\x00c\r\n\r\n", 400),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET + b"Host: 127.0.0.1\r\n\r\n", 400),
    "other codings below chunks": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "a header that is not UTF-8": (GET + b"Connection: close\r\nA: Gen\xe8ve\r\n\r\n", 400),
    "no version": (b"GET /healthz\r\n\r\n", 400),
    "HTTP/3.0 by text": (b"GET /healthz HTTP/3.0\r\nHost: localhost\r\n\r\n", 400),
    "no method": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 / HTTP/1.1\r\n\r\n", 400),
    "a method of nobody": (b"FROB /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "129 headers": (GET + b"".join(b"A%d: b\r\n" % n for n in range(129)) + b"\r\n", 431),
    "a header of 9 KB": (GET + b"A: " + b"b" * 9000 + b"\r\n\r\n", 431),
    "a header name of 9 KB": (GET + b"A" * 9000 + b": b\r\n\r\n", 431),
    "a target of 9 KB": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "a target that is none": (b"GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a tunnel": (b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
}


@pytest.mark.parametrize("name", BAD_HEADS)
async def test_a_bad_head_is_refused_and_the_connection_closed(http: Harness, name: str) -> None:
    """One problem document, and what follows on the connection is not looked at."""
    await http.make_topic()
    head, status = BAD_HEADS[name]
    answer = await http.raw(head + SMUGGLED)
    assert len(re.findall(rb"^HTTP/1\.", answer, re.MULTILINE)) == 1, answer
    assert answer.split(b" ")[1] == b"%d" % status, answer
    if status != 404:
        problem = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert problem["status"] == status
        assert b"Connection: close" in answer.partition(b"\r\n\r\n")[0]
    assert (await http.call("GET", "/v1/topics/t")).status == 200


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\n", b"-1\r\n", b"5\r\nhelloX\r\n", b"ffffffffffffffffff\r\n"],
)
async def test_bad_chunks_are_400(http: Harness, chunks: bytes) -> None:
    """After the head was taken already."""
    await http.make_topic()
    head = POST + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer = await http.raw(head + chunks)
    assert answer.split(b" ")[1] == b"400", answer
    assert (await http.call("GET", "/v1/topics/t/partitions/0/records")).json["high_watermark"] == 0


REASONS = {
    "chunks and a length": "Content-Length can't be present with Transfer-Encoding: b'Content-Length: 5'",
    "two lengths": "Duplicate Content-Length: b'Content-Length: 6'",
    "a list of lengths": "Invalid character in Content-Length: b'Content-Length: 5, 5'",
    "a space before the colon": "Invalid header token: b'A : b'",
    "a NUL in a header": r"Invalid header value char: b'A: b\x00c'",
    "no host": "Missing 'Host' header in request.",
    "HTTP/3.0 by text": "Bad status line: Invalid HTTP version: b'GET /healthz HTTP/3.0'",
    "a method of nobody": "Invalid method encountered: b'FROB /healthz HTTP/1.1'",
}


@pytest.mark.parametrize("name", REASONS)
async def test_the_answer_says_what_is_wrong(http: Harness, name: str) -> None:
    """With the bytes in question, in one line."""
    answer = await http.raw(BAD_HEADS[name][0])
    detail = json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]
    assert detail == f"malformed request: {REASONS[name]}"


async def test_a_target_without_a_version_is_refused(http: Harness) -> None:
    """HTTP/0.9 has no headers, so nothing that could be judged."""
    answer = await http.raw(b"GET /healthz\r\n\r\n")
    assert b" 400 " in answer.partition(b"\r\n")[0], answer


async def test_what_is_passed_on_may_have_some_headers_more(http: Harness) -> None:
    """A node that passes a request on adds to it what a client has no use for, and says its mark."""
    head = GET + b"".join(b"A%d: b\r\n" % n for n in range(126)) + b"Connection: close\r\n"
    for more, status in ((MARK, b"200"), ("1", b"431"), ("", b"431")):
        marked = head.replace(b"A0: b", b"Floodmark-Forwarded: " + more.encode()) + b"A: b\r\n\r\n"
        assert (await http.raw(marked)).split()[1] == status
