"""Heads that the fast path takes mean the same to aiohttp's parsers; what those refuse it leaves."""

from __future__ import annotations

import asyncio
import random

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy, RawRequestMessage

from node.http.plain_head import PlainHeads

_COUNT = 4_000
_PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b":",
    b" ",
    b"\t",
    b"\0",
    b"%20",
    b"/",
    b"..",
    b"?",
    b"&",
    b"=",
    b"#",
    b"\x80",
]
_HEADERS = [
    b"Host: localhost",
    b"Content-Length: 5",
    b"Content-Type: application/json",
    b"Content-Type: application/octet-stream; charset=utf-8",
    b"Connection: keep-alive",
    b"Connection: close",
    b"User-Agent: curl/8",
    b"Accept: */*",
    b"Floodmark-Topic-Id: 7",
    b"X-Forwarded-For: 10.0.0.1, 10.0.0.2",
    b"Transfer-Encoding: chunked",
    b"Content-Length: 4",
    b"Expect: 100-continue",
    b"Upgrade: h2c",
    b"Content-Encoding: gzip",
]
_TARGETS = [
    b"/v1/topics/t/partitions/0/records",
    b"/v1/topics/a.b_c-d/partitions/12/records?acks=leader",
    b"/v1/topics/t/partitions/0/records?timeout=5s&acks=quorum",
    b"/v1/topics/t/partitions/00/records?",
]


def _head(rng: random.Random) -> bytes:
    """Plain for the most part, with something odd in it half of the time."""
    usual = _HEADERS[:2] + rng.sample(_HEADERS[2:10], rng.randint(0, 4))
    if rng.random() < 0.3:
        usual += rng.sample(_HEADERS, rng.randint(1, 2))
    rng.shuffle(usual)
    version = b"HTTP/1.1" if rng.random() < 0.95 else rng.choice([b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2"])
    text = b"\r\n".join([b"POST %b %b" % (rng.choice(_TARGETS), version), *usual])
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(4):
            case 0:
                text = text[:at] + rng.choice(_PIECES) + text[at:]
            case 1:
                text = text[:at] + text[at + 1 :]
            case 2:
                text = text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :]
            case _:
                text = text[:at] + text[at : at + 1].swapcase() + text[at + 1 :]
    return text + b"\r\n\r\n"


@pytest.mark.parametrize("parser", [HttpRequestParser, HttpRequestParserPy], ids=["c", "python"])
async def test_what_is_taken_means_the_same_to_aiohttp(parser: type[HttpRequestParserPy]) -> None:
    """Target, body's length, content type and whether the connection stays: of every head that is taken."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    heads = PlainHeads(lambda _: True, lambda _: False)
    taken = 0
    for number in range(_COUNT):
        data = _head(rng)
        found = heads.read(data)
        if found is None:
            continue
        taken += 1
        head, begin = found
        where = f"seed {seed}, head {number}: {data!r}"
        assert begin == data.index(b"\r\n\r\n") + 4, where
        data = data[:begin]  # An empty line may have come in before the last one.
        protocol = BaseProtocol(loop)
        try:
            messages, _, _ = parser(
                protocol, loop, 1 << 16, max_line_size=8190, max_field_size=8190, auto_decompress=False
            ).feed_data(data)
        except HttpProcessingError as error:
            raise AssertionError(f"aiohttp refuses it: {error}; {where}") from error
        ((message, _),) = messages
        assert isinstance(message, RawRequestMessage), where
        assert (message.method, message.version) == ("POST", (1, 1)), where
        assert message.path.partition("?")[0] == head.path, where
        assert not message.should_close, where
        assert not message.upgrade, where
        assert not message.chunked, where
        assert not message.compression, where
        assert int(message.headers["Content-Length"]) == head.content_length, where
        assert len(message.headers.getall("Host")) == 1, where
        topic_id = message.headers.get("Floodmark-Topic-Id")
        assert (None if topic_id is None else int(topic_id)) == head.topic_id, where
        assert message.url.query.get("timeout") == head.timeout, where
        assert message.url.query.get("acks", "quorum") == str(head.acks), where
    assert taken > _COUNT // 10, f"seed {seed}: only {taken} heads were taken"
